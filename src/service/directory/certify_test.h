/* certify - for tests: a client's certificate that says it is of this name (has_uri: as URI; else
 * it names nobody), and the hash of its key. What signs it is for TLS to judge. */
#ifndef SERVICE_DIRECTORY_CERTIFY_TEST_H
#define SERVICE_DIRECTORY_CERTIFY_TEST_H

#include "security/crypto/x509.h"
#include "security/identity/identity.h"

static void certify(const char *name, bool has_uri, int64_t now_wall_ms, struct buf *ret_der,
                    struct digest *ret_spki)
{
    struct random_source random = random_system();
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(key_autofree) struct key *ca_key = NULL;
    AUTO(x509_autofree) struct x509 *ca = NULL;
    AUTO(x509_autofree) struct x509 *x = NULL;
    char uri[sizeof IDENTITY_URI_PREFIX + IDENTITY_NAME_MAX];
    (void)snprintf(uri, sizeof uri, IDENTITY_URI_PREFIX "%s", name);
    struct x509_san san = {X509_SAN_URI, slice_text(uri)};
    assert_int_equal(key_generate(&key), OK);
    assert_int_equal(key_generate(&ca_key), OK);
    struct x509_order o = {.kind = X509_KIND_ROOT,
                           .common_name = slice_text("root"),
                           .subject = ca_key,
                           .issuer_key = ca_key,
                           .now_wall_ms = now_wall_ms};
    assert_int_equal(x509_issue(&o, &random, &ca), OK);
    o = (struct x509_order){.kind = X509_KIND_CLIENT,
                            .common_name = slice_text("-"),
                            .sans = &san,
                            .n_sans = has_uri ? 1 : 0,
                            .subject = key,
                            .issuer = ca,
                            .issuer_key = ca_key,
                            .now_wall_ms = now_wall_ms};
    assert_int_equal(x509_issue(&o, &random, &x), OK);
    assert_int_equal(x509_to_der(x, ret_der), OK);
    *ret_spki = x509_info(x)->spki;
}

#endif
