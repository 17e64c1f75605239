#include <assert.h>

#include "security/crypto/x509_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What is read stays within what was given, and its key is one that can be used. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    AUTO(x509_request_autofree) struct x509_request *r = NULL;
    if (x509_request_from_der(slice_of(data, n), &r) == OK) {
        AUTO(key_autofree) struct key *key = NULL;
        const struct x509_request_info *info = x509_request_info(r);
        assert(info->n_sans <= X509_SANS_MAX);
        enum err err = key_from_spki(info->spki_der, &key);
        assert(err == OK);
        AUTO(x509_request_autofree) struct x509_request *wish = NULL;
        err = x509_request_wish_from_der(slice_of(data, n), &wish);
        assert(err == OK && x509_request_info(wish)->spki_der.n == 0);
    } else if (x509_request_wish_from_der(slice_of(data, n), &r) == OK) {
        assert(x509_request_info(r)->n_sans <= X509_SANS_MAX);
    }
    return 0;
}
