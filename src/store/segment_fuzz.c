/* A segment of batches that the first bytes choose, then garbled by the rest: bits flipped, pieces
 * copied, zeroed and cut. A scan ends without an error and gives nothing but what was written, in
 * its order. */
#include "base/rd.h"
#include "store/segment_made_private.h"

enum { CHANGES_MAX = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void build(struct made *m, struct rd *r)
{
    unsigned n_batches = rd_u8(r) % 5;
    for (unsigned i = 0; i < n_batches; i++) {
        size_t sizes[8];
        uint64_t owners[8];
        size_t n = 1 + rd_u8(r) % 8U;
        for (size_t k = 0; k < n; k++) {
            sizes[k] = rd_u8(r);
            owners[k] = sizes[k] % 6;
        }
        made_batch(m, n, sizes, owners);
    }
}

static void garble(struct buf *file, struct rd *r)
{
    for (unsigned i = 0; i < CHANGES_MAX && rd_left(r) >= 6 && file->n > 0; i++) {
        uint8_t op = rd_u8(r);
        size_t at = rd_u16(r) % file->n;
        size_t from = rd_u16(r) % file->n;
        size_t size = rd_u8(r) * (size_t)4;
        size = size < file->n - at ? size : file->n - at;
        size = size < file->n - from ? size : file->n - from;
        switch (op % 8) {
        case 0:
            memset(file->p + at, 0, size);
            break;
        case 1:
            memmove(file->p + at, file->p + from, size);
            break;
        case 2:
            file->n = at;
            break;
        default:
            file->p[at] ^= (uint8_t)(1 + op / 8);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint64_t seed = 1;
    struct made m;
    struct met met;
    struct rd r = rd_from(slice_of(data, n));
    made_init(&m, random_seeded(&seed));
    build(&m, &r);
    struct batch_link later = {.segment = rd_u8(&r) % 2 + MADE_NUMBER, .offset = made_end(&m)};
    garble(&m.file->bytes, &r);
    for (int told = 0; told < 2; told++) {
        enum err e = made_scan(&m, told ? &later : NULL, &met);
        bool is_opened = e != ERR_CRYPTO && e != ERR_TRUNCATED && e != ERR_UNSUPPORTED;
        assert(!is_opened || e == OK);
        assert(met.n_strange == 0);
        assert(!is_opened || met.end.offset >= SEGMENT_HEAD_BYTES);
        assert(met.end.offset <= MADE_BYTES && met.end.last_number <= m.number);
    }
    made_done(&m);
    return 0;
}
