#include <assert.h>

#include "service/pki/signer_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void request(struct slice bytes)
{
    struct signer_request q;
    AUTO(buf_done) struct buf again = {0};
    if (signer_request_decode(bytes, &q) == OK) {
        enum err err = signer_request_encode(&q, &again);
        assert(err == OK && slice_equal(buf_slice(&again), bytes));
    }
}

static void answer(enum signer_request_type t, struct slice bytes)
{
    AUTO(signer_answer_done) struct signer_answer a = {.err = OK};
    AUTO(buf_done) struct buf again = {0};
    if (signer_answer_decode(t, bytes, &a) == OK) {
        enum err err = signer_answer_encode(t, &a, &again);
        assert(err == OK && slice_equal(buf_slice(&again), bytes));
    }
}

/* What is read can be written, as it was. The first byte says what it is: 0 a request, else the
 * answer to one of that type. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    struct slice bytes = slice_of(data + 1, n - 1);
    struct signer_piece piece;
    if (data[0] == 0) {
        request(bytes);
    } else {
        answer((enum signer_request_type)(1 + data[0] % (SIGNER_TYPES - 1)), bytes);
    }
    (void)!signer_piece_decode(bytes, &piece);
    return 0;
}
