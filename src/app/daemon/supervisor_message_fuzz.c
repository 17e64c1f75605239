#include <assert.h>

#include "app/daemon/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What decodes encodes to the same bytes again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct message m;
    if (n > MESSAGE_BYTES_MAX || message_decode(slice_of(data, n), &m) != OK) {
        return 0;
    }
    uint8_t again[MESSAGE_BYTES_MAX];
    size_t n_again;
    assert(message_encode(&m, again, sizeof again, &n_again) == OK);
    assert(slice_equal(slice_of(again, n_again), slice_of(data, n)));
    return 0;
}
