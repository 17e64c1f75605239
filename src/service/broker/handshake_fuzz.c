/* First bytes of strangers, and what a refused certificate holds: no bytes make a reason without an
 * end, and nobody is named who was not claimed. */
#include <assert.h>

#include "service/broker/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice bytes = slice_of(data, n);
    struct tls_refusal r = {.failure = TLS_FAILED_CERTIFICATE,
                            .verify = TLS_VERIFY_EXPIRED,
                            .cert = bytes,
                            .text = "x"};
    struct event e = event_make(EVENT_tls_reject);
    handshake_explain_foreign(bytes, &e);
    assert(memchr(e.reason, 0, sizeof e.reason) != NULL && e.reason[0] != '\0');
    assert(e.is_claimed == (e.principal[0] != '\0'));
    e = event_make(EVENT_tls_reject);
    handshake_explain(&r, 0, &e);
    assert(memchr(e.reason, 0, sizeof e.reason) != NULL && e.reason[0] != '\0');
    assert(e.is_claimed == (e.principal[0] != '\0'));
    return 0;
}
