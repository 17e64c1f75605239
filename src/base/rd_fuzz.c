#include "base/rd.h"

#include <assert.h>

#include "base/wr.h"

/* The first byte of each pair says which read, the second how much; the rest is what is read. What
 * was read is written again: the copy must be a prefix of the input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { COPY_BYTES = 4096 };

static void read_and_copy(struct rd *r, struct wr *w, unsigned kind, size_t much)
{
    struct slice s = {0};
    struct rd inner = {0};
    switch (kind) {
    case 0:
        wr_be(w, rd_be(r, much % 9), much % 9);
        break;
    case 1:
        s = rd_block16(r);
        if (rd_ok(r)) {
            wr_block16(w, s);
        }
        break;
    case 2:
        inner = rd_sub(r, much);
        wr_bytes(w, rd_rest(&inner));
        assert(rd_finish(&inner) == r->err);
        break;
    default:
        wr_bytes(w, rd_bytes(r, much));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t copy[COPY_BYTES];
    size_t n_ops = n / 3 / 2 * 2;
    struct slice ops = slice_of(data, n_ops);
    struct slice input = slice_head(slice_from(slice_of(data, n), n_ops), COPY_BYTES);
    struct rd r = rd_from(input);
    struct wr w = wr_into(copy, sizeof copy);
    for (size_t i = 0; i + 1 < ops.n && rd_ok(&r); i += 2) {
        size_t before = r.at;
        read_and_copy(&r, &w, ops.p[i] % 4, ops.p[i + 1]);
        assert(r.at >= before && r.at <= input.n);
        assert(rd_left(&r) == (rd_ok(&r) ? input.n - r.at : 0));
    }
    if (rd_ok(&r)) {
        assert(wr_ok(&w) && w.at == r.at);
        assert(slice_equal(wr_slice(&w), slice_head(input, r.at)));
        assert(rd_finish(&r) == (r.at == input.n ? OK : ERR_TRAILING));
    }
    return 0;
}
