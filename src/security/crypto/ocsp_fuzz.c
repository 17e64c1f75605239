#include <assert.h>
#include <stdlib.h>

#include "security/crypto/authority_test.h"
#include "security/crypto/ocsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum err look(void *ctx, struct slice serial, struct ocsp_status *ret)
{
    (void)ctx;
    assert(serial.n > 0 && serial.n <= OCSP_REQUEST_MAX);
    *ret = (struct ocsp_status){.standing = serial.p[0] % 2 == 0 ? OCSP_GOOD : OCSP_REVOKED};
    return OK;
}

/* Whatever is asked, there is one answer, and it is bounded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct test_authority a;
    if (a.cert == NULL && test_authority_make("ours", &a) != OK) {
        abort();
    }
    struct ocsp_signer s = {.issuer = a.cert,
                            .issuer_key = a.key,
                            .now_wall_ms = AUTHORITY_NOW,
                            .next_update_wall_ms = AUTHORITY_NOW + AUTHORITY_DAY,
                            .look = look};
    AUTO(buf_done) struct buf answer = {0};
    struct ocsp_status status;
    int64_t next = 0;
    assert(ocsp_answer(&s, slice_of(data, n), &answer) == OK);
    assert(answer.n >= 5 && answer.n <= OCSP_RESPONSE_MAX);
    (void)!ocsp_read(slice_of(data, n), a.leaf, a.cert, AUTHORITY_NOW, &status, &next);
    return 0;
}
