#include <assert.h>

#include "security/crypto/crl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A list, and behind a zero byte who may have signed it. Nothing that nobody signed is taken. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice whole = slice_of(data, n);
    size_t cut = slice_find(whole, 0);
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    struct slice authorities = slice_from(whole, cut + 1);
    if (crl_set_new(slice_head(whole, cut), authorities, 1795000000000, &s, &why) == OK) {
        struct digest none = {{0}};
        assert(authorities.n > 0 && crl_set_count(s) <= CRL_ENTRIES_MAX);
        (void)crl_set_lists(s, &none);
        crl_set_unref(s);
    }
    return 0;
}
