#include <assert.h>

#include "security/password/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Both messages of a client, cut at a zero byte. Nobody proves anything without keys. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    bool more = false;
    struct slice last = slice_of(data, n);
    struct slice first = slice_cut(&last, 0, &more);
    AUTO(scram_autofree) struct scram *s = NULL;
    struct scram_salt salt;
    uint8_t out[SCRAM_ANSWER_MAX];
    if (scram_new(first, &s) != OK) {
        return 0;
    }
    enum err err = scram_salt_of(slice_text("key"), slice_text(scram_name(s)), &salt);
    assert(err == OK);
    struct wr w = wr_into(out, sizeof out);
    err = scram_challenge(s, &salt, NULL, 0, slice_text("0123456789abcdefghijklmn"), &w);
    assert(err == OK && w.at > 0);
    w = wr_into(out, sizeof out);
    err = scram_finish(s, last, NULL, &w);
    assert(err != OK && w.at == 0);
    return 0;
}
