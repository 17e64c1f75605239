#include <assert.h>

#include "service/courier/courier_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What decodes encodes to the same bytes again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct courier_message m;
    uint8_t again[COURIER_MESSAGE_BYTES_MAX];
    size_t n_again;
    if (n > COURIER_MESSAGE_BYTES_MAX || courier_message_decode(slice_of(data, n), &m) != OK) {
        return 0;
    }
    assert(courier_message_encode(&m, again, sizeof again, &n_again) == OK);
    assert(slice_equal(slice_of(again, n_again), slice_of(data, n)));
    return 0;
}
