/* pki_private - the authority's inside, shared by the files of this folder. */
#ifndef SERVICE_PKI_PKI_PRIVATE_H
#define SERVICE_PKI_PKI_PRIVATE_H

#include "security/crypto/x509.h"
#include "service/pki/pki.h"

/* The sealed files are what the daemon trusts; ca.pem and server.pem are copies for people. */
#define PKI_FILE_ROOT         "pki/root.sealed"
#define PKI_FILE_NEXT_ROOT    "pki/next-root.sealed"   /* of a roll-over that is prepared */
#define PKI_FILE_FORMER_ROOT  "pki/former-root.sealed" /* until it is finished */
#define PKI_FILE_SWITCHED     "pki/switched"           /* when, in milliseconds; likewise */
#define PKI_FILE_INTERMEDIATE "pki/intermediate.sealed"
#define PKI_FILE_CA_COPY      "pki/ca.pem"
#define PKI_FILE_SERVER       "pki/server.sealed"
#define PKI_FILE_SERVER_COPY  "pki/server.pem"

#define PKI_PURPOSE_ROOT         "pki root" /* of all three */
#define PKI_PURPOSE_INTERMEDIATE "pki intermediate"
#define PKI_PURPOSE_SERVER       "pki server"

/* Of pki_open: without intermediate_key; intermediate is the one that is shown. Of
 * pki_open_signing: without the server's. */
struct pki {
    struct buf ca_pem, roots_pem, server_pem, server_key_pem;
    struct buf shown_pem; /* the intermediate as it is shown to peers */
    struct x509 *intermediate, *server;
    struct key *intermediate_key;
    struct pki_roll roll;
    char url[X509_URL_MAX + 1]; /* empty: none */
};

struct pki_address {
    uint8_t bytes[16];
    size_t n; /* 4 or 16 */
};

/* pki_host_address - host as an IP address; false when it is none. */
bool pki_host_address(const char *host, struct pki_address *ret);

/* One sealed file, cut into key and certificates, which borrow from plain. */
struct pki_sealed {
    struct buf plain;
    struct slice key_pem, certs_pem;
};
void pki_sealed_done(struct pki_sealed *s);
/* pki_load - *why names file and fix. Errors as pki_open. */
MUST_USE enum err pki_load(struct disk *disk, const char *path, struct slice seal,
                           const char *purpose, struct pki_sealed *ret, struct why *why);
/* pki_save - a key and its certificates in one file, so that no crash leaves a key beside the
 * certificate of another. */
MUST_USE enum err pki_save(struct disk *disk, const char *path, struct slice seal,
                           const char *purpose, const struct random_source *random,
                           struct slice key_pem, struct slice certs_pem);
MUST_USE enum err pki_save_authority(struct disk *disk, const char *path, struct slice seal,
                                     const char *purpose, const struct random_source *random,
                                     const struct key *key, struct slice certs_pem);
/* pki_make_root - a new one, which signs itself. */
MUST_USE enum err pki_make_root(const struct random_source *random, int64_t now_wall_ms,
                                struct key **ret_key, struct x509 **ret);
/* pki_make_intermediate - for this key, signed by this root. */
MUST_USE enum err pki_make_intermediate(const struct key *key, const char *name,
                                        const struct x509 *root, const struct key *root_key,
                                        const struct random_source *random, int64_t now_wall_ms,
                                        struct x509 **ret);

enum { PKI_AUTHORITY_NAME_BYTES = 64 };
/* pki_authority_name - "Sallyport KIND CA 1a2b3c4d": two fortresses are two names in a list. */
void pki_authority_name(const char *kind, const struct random_source *random,
                        char ret[PKI_AUTHORITY_NAME_BYTES]);
/* pki_is_root - it signed itself. */
bool pki_is_root(const struct x509 *x);
/* pki_make_chain - a leaf and the intermediate behind it: what a peer must be shown; appended. */
MUST_USE enum err pki_make_chain(const struct x509 *leaf, struct slice intermediate_pem,
                                 struct buf *ret);
/* pki_save_server - the server's key, its chain, and behind that who is trusted: all that who
 * serves needs. */
MUST_USE enum err pki_save_server(struct disk *disk, struct slice root,
                                  const struct random_source *random, struct slice key_pem,
                                  struct slice chain_pem, struct slice trusted_pem);
/* pki_switched_at - when the present intermediate took over; began: its own beginning, in whole
 * seconds. */
int64_t pki_switched_at(struct disk *disk, int64_t began);

/* Alternative names, each once; those of hosts borrow from the struct. */
struct pki_sans {
    size_t n;
    struct x509_san san[PKI_HOSTS_MAX];
    struct pki_address addresses[PKI_HOSTS_MAX];
};
MUST_USE enum err pki_sans_add(struct pki_sans *s, const struct x509_san *san);
/* pki_sans_add_hosts - hosts outlives s, which takes the names of one call. */
MUST_USE enum err pki_sans_add_hosts(struct pki_sans *s, const struct pki_hosts *hosts);
struct slice pki_server_common_name(struct slice host);

struct pki_signing_key {
    uint8_t bytes[PKI_SIGNING_KEY_BYTES];
};
void pki_signing_key_wipe(struct pki_signing_key *k);

/* pki_began - when it was made; its validity begins an hour earlier. */
int64_t pki_began(const struct x509 *x);

#endif
