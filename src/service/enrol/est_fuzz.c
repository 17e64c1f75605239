/* A path, an Authorization field and a body, out of the data up to NUL bytes. */
#include <assert.h>

#include "base/mem.h"
#include "security/crypto/x509_certs.h"
#include "service/enrol/est.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = slice_of(data, n);
    bool more;
    enum est_operation o = EST_OPERATIONS;
    const char *why;
    char user[ENROLMENT_NAME_BYTES], secret[ENROLMENT_SECRET_MAX + 1];
    struct slice path = slice_cut(&rest, 0, &more), field = slice_cut(&rest, 0, &more);
    struct http1_request r = {.n_fields = 1, .fields = {{slice_text("Authorization"), field}}};
    AUTO(buf_done) struct buf der = {0};
    AUTO(buf_done) struct buf pem = {0};
    enum err err = est_find(path, &o, &why);
    assert(err != OK || (o < EST_OPERATIONS && est_method(o) != NULL));
    const struct est_short *named = est_short_find(path);
    assert(named == NULL || strlen(named->name) == path.n);
    err = est_basic(&r, user, secret);
    assert(err != OK || strlen(user) + strlen(secret) < field.n);
    if (est_body(rest, ENROLMENT_CSR_MAX, &der) == OK) {
        assert(der.n <= ENROLMENT_CSR_MAX);
        (void)!x509_certs_read(buf_slice(&der), &pem);
    }
    return 0;
}
