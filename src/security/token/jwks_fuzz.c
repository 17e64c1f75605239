#include <assert.h>

#include "security/token/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A set that is taken has keys that can be used; one that is not says why. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct jwks *j = NULL;
    struct why why = {.text = ""};
    enum err err = jwks_parse(slice_of(data, n), &why, &j);
    if (err != OK) {
        assert(j == NULL && why.text[0] != '\0');
        return 0;
    }
    assert(jwks_count(j) > 0 && jwks_count(j) <= JWKS_KEYS_MAX);
    assert((jwks_find(j, false, (struct slice){0}) != NULL) == (jwks_count(j) == 1));
    jwks_unref(j);
    return 0;
}
