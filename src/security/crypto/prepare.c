#include "security/crypto/prepare.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

enum err crypto_prepare(void)
{
    unsigned char byte;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_CIPHERS |
                                OPENSSL_INIT_ADD_ALL_DIGESTS,
                            NULL) != 1 ||
        RAND_bytes(&byte, 1) != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}
