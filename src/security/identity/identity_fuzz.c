#include <assert.h>

#include "security/identity/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A name that comes out is always a valid one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    if (x509_from_der(slice_of(data, n), &x) != OK) {
        return 0;
    }
    for (unsigned rule = 0; rule <= IDENTITY_ANY; rule++) {
        char name[IDENTITY_NAME_BYTES];
        if (identity_from_x509(x, rule, name) == OK) {
            assert(identity_name_ok(slice_text(name)));
        }
    }
    return 0;
}
