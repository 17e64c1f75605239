/* pki_private - the authority's inside, shared by the files of this folder. */
#ifndef SERVICE_PKI_PKI_PRIVATE_H
#define SERVICE_PKI_PKI_PRIVATE_H

#include "security/crypto/x509.h"
#include "service/pki/pki.h"

struct pki {
    struct buf ca_pem, intermediate_pem, server_pem, server_key_pem;
    struct x509 *intermediate, *server;
    struct key *intermediate_key;
    char url[X509_URL_MAX + 1]; /* empty: none */
};

struct pki_address {
    uint8_t bytes[16];
    size_t n; /* 4 or 16 */
};

/* pki_host_address - host as an IP address; false when it is none. */
bool pki_host_address(const char *host, struct pki_address *ret);

#endif
