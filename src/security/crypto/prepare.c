#include "security/crypto/prepare.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/mem.h"

/* The library's memory is counted with ours: most of what a TLS connection costs is there. It is
 * never refused for the ceiling's sake: not every path of the library survives that. */
static void *take(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return n > 0 ? mem_alloc_foreign(n) : NULL;
}

static void *grow(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return n > 0 ? mem_grow_foreign(p, n) : mem_free(p);
}

static void give(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    mem_free(p);
}

enum err crypto_prepare(void)
{
    unsigned char byte;
    (void)CRYPTO_set_mem_functions(take, grow, give); /* refused when it has allocated already */
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_ADD_ALL_CIPHERS |
                                OPENSSL_INIT_ADD_ALL_DIGESTS,
                            NULL) != 1 ||
        RAND_bytes(&byte, 1) != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}
