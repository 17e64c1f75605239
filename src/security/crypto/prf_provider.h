/*
 * prf_provider - the PRF of TLS 1.2 for the library's own handshakes, by hmac.h.
 *
 * The library makes its PRF of objects that it fetches, copies and frees, some 250 allocations a
 * handshake. Who makes an SSL_CTX with PRF_PROVIDER_FIRST has this one instead, where it is loaded,
 * and else the library's; the bytes are the same. Everything else in the context is the library's.
 * SPEC: RFC5246 5.
 */
#ifndef SECURITY_CRYPTO_PRF_PROVIDER_H
#define SECURITY_CRYPTO_PRF_PROVIDER_H

#include "base/err.h"

#define PRF_PROVIDER_NAME  "sallyport"
#define PRF_PROVIDER_FIRST "?provider=" PRF_PROVIDER_NAME

/* prf_provider_load - once, before other threads run; the library's own algorithms stay as they
 * are. ERR_CRYPTO. */
MUST_USE enum err prf_provider_load(void);

#endif
