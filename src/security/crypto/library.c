#include "security/crypto/library.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

struct crypto_library crypto_library(void)
{
    const char *place = OpenSSL_version(OPENSSL_DIR); /* OPENSSLDIR: "/usr/lib/ssl" */
    struct crypto_library l = {.major = OPENSSL_version_major(),
                               .minor = OPENSSL_version_minor(),
                               .is_of_debian =
                                   place != NULL && strstr(place, "\"/usr/lib/ssl\"") != NULL};
    (void)snprintf(l.version, sizeof l.version, "%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    return l;
}
