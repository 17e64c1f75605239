/* An anchor that somebody made up: it is refused, or comes back as it was read. */
#include <assert.h>
#include <string.h>

#include "service/watch/anchor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    AUTO(buf_done) struct buf text = {0};
    struct anchor a, again;
    if (anchor_decode(slice_of(data, n), &a) != OK) {
        return 0;
    }
    enum err err = anchor_encode(&a, &text);
    assert(err == OK);
    err = anchor_decode(buf_slice(&text), &again);
    assert(err == OK && memcmp(&a, &again, sizeof a) == 0);
    err = anchor_verify(&a);
    return err == ERR_NOMEM;
}
