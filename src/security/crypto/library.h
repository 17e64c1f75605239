/* library - the crypto library that runs, which may be newer than the one we were built with. */
#ifndef SECURITY_CRYPTO_LIBRARY_H
#define SECURITY_CRYPTO_LIBRARY_H

#include <stdbool.h>

struct crypto_library {
    unsigned major, minor;
    char version[32];  /* "3.0.17" */
    bool is_of_debian; /* its own files lie where Debian's packages put them */
};

/* crypto_library - asks it. */
struct crypto_library crypto_library(void);

#endif
