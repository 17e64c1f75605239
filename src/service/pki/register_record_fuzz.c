#include <assert.h>

#include "service/pki/register_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read can be written, as it was. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t again[REGISTER_ENTRY_MAX];
    struct rd r = rd_from(slice_of(data, n));
    while (rd_left(&r) > 0) {
        size_t from = r.at;
        size_t written = 0;
        struct register_entry e;
        if (register_entry_decode(&r, &e) != OK) {
            return 0;
        }
        struct wr w = wr_into(again, sizeof again);
        register_entry_encode(&e, &w);
        enum err err = wr_done(&w, &written);
        assert(err == OK);
        assert(slice_equal(slice_of(again, written), slice_of(data + from, r.at - from)));
    }
    return 0;
}
