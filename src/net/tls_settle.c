/* What stays of a handshake for as long as its connection lasts. A certificate is 4 KiB and more as
 * the library holds it, its key with the curve's numbers in it: thousands of connections would each
 * have their own copy of the same authorities. */
#include <time.h>

#include "net/tls_private.h"

enum { MS = 1000 };

/* INT64_MIN where a time does not read: then what lasts as long as it is worth nothing. */
static int64_t end_of(const X509 *cert)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1) {
        return INT64_MIN;
    }
    return (int64_t)timegm(&tm) * MS;
}

static int64_t end_of_chain(SSL *ssl)
{
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    int64_t end = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t of_one = end_of(sk_X509_value(chain, i));
        end = of_one < end ? of_one : end;
    }
    /* Without the chain nobody knows how long it lasts. */
    return sk_X509_num(chain) <= 0 && SSL_get0_peer_certificate(ssl) != NULL ? INT64_MIN : end;
}

int64_t tls_chain_end(SSL *ssl, const struct tls_note *note)
{
    return note->is_settled ? note->chain_ends_wall_ms : end_of_chain(ssl);
}

/* The stack stays: it is the library's. */
static void forget(STACK_OF(X509) * certs)
{
    while (sk_X509_num(certs) > 0) {
        X509_free(sk_X509_pop(certs));
    }
}

void tls_settle(SSL *ssl, struct tls_note *note)
{
    note->chain_ends_wall_ms = end_of_chain(ssl);
    note->is_settled = true;
    forget(SSL_get_peer_cert_chain(ssl));
    forget(SSL_get0_verified_chain(ssl));
}
