/* An entry and a checkpoint out of any bytes: refused, or the same bytes again. */
#include <assert.h>

#include "service/watch/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t bytes[CHAIN_FRONT_BYTES + 4096];
    struct slice s = slice_of(data, n);
    struct chain_entry e;
    struct chain_checkpoint c;
    struct digest leaf;
    if (n > sizeof bytes || chain_entry_decode(s, &e) != OK) {
        return 0;
    }
    struct wr w = wr_into(bytes, sizeof bytes);
    chain_entry_encode(&e, &w);
    assert(slice_equal(wr_slice(&w), s));
    enum err err = chain_leaf(s, &leaf);
    assert(err == OK);
    if (e.kind != CHAIN_CHECKPOINT || chain_checkpoint_decode(e.body, &c) != OK) {
        return 0;
    }
    assert(chain_reason_name(c.reason) != NULL);
    w = wr_into(bytes, sizeof bytes);
    chain_checkpoint_encode(&c, &w);
    assert(slice_equal(wr_slice(&w), e.body));
    /* A key of small order takes signatures of zeros: whose key it is, is what is judged. */
    err = chain_checkpoint_verify(&c, &e);
    return err == ERR_NOMEM;
}
