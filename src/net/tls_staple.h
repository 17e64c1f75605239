/*
 * tls_staple - the authority's word that a server's certificate is good, shown in the handshake to
 * clients that ask for it (status_request), so that they need not ask the authority themselves.
 *
 * One for all listeners; another word is set while they serve, and connections that are there do
 * not notice. A word is of one certificate: a context that shows another one staples nothing. Any
 * thread. SPEC: RFC6066 8, RFC8446 4.4.2.1.
 */
#ifndef NET_TLS_STAPLE_H
#define NET_TLS_STAPLE_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"
#include "security/crypto/digest.h"

struct tls_staple;

enum { TLS_STAPLE_MAX = 8 * 1024 };

/* tls_staple_new - with nothing to say. ERR_NOMEM. */
MUST_USE enum err tls_staple_new(struct tls_staple **ret);
struct tls_staple *tls_staple_ref(struct tls_staple *s);
struct tls_staple *tls_staple_free(struct tls_staple *s); /* a reference; NULL is fine */
AUTOFREE(tls_staple, tls_staple_free)

/* tls_staple_set - an OCSPResponse (copied; empty: nothing any more) about the certificate with
 * this id (x509_info.id). ERR_TOO_LARGE: what was there stays. */
MUST_USE enum err tls_staple_set(struct tls_staple *s, const struct digest *certificate,
                                 struct slice response_der);
/* tls_staple_copy - the word about this certificate into dst; its length, 0: there is none. */
size_t tls_staple_copy(struct tls_staple *s, const struct digest *certificate,
                       uint8_t dst[TLS_STAPLE_MAX]);

#endif
