#include <assert.h>

#include "base/differ.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Two texts, and where one ends: what was written is read as it was. And bytes that nobody wrote
 * are read or refused. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t packed[2 * DIFFER_TEXT_MAX], back[DIFFER_TEXT_MAX];
    struct rd r = rd_from(slice_of(data, n));
    struct slice like = rd_bytes(&r, rd_u16(&r) % DIFFER_TEXT_MAX), text = rd_rest(&r);
    if (!rd_ok(&r) || text.n == 0 || text.n > DIFFER_TEXT_MAX) {
        return 0;
    }
    struct wr w = wr_into(packed, differ_most(text.n));
    differ_write(&w, like, text);
    assert(wr_ok(&w));
    enum err err = differ_read(wr_slice(&w), like, back, text.n);
    assert(err == OK && slice_equal(slice_of(back, text.n), text));
    err = differ_read(text, like, back, text.p[0] * 4U);
    (void)err;
    return 0;
}
