/*
 * pki - the fortress's own certificate authority: root, intermediate, server and device
 * certificates.
 *
 * Files in DIR/pki, all 0600, each a private key and its certificates: server.sealed, under the
 * keyring's root key, for who serves; root.sealed and intermediate.sealed, under a key derived from
 * that, for who signs (the signer process). These alone are trusted. ca.pem (the root) and
 * server.pem (leaf, then intermediate) are copies for people. No private key of the fortress is in
 * the clear on disk, and the root's is opened for a roll-over alone: root.sealed may be elsewhere.
 */
#ifndef SERVICE_PKI_PKI_H
#define SERVICE_PKI_PKI_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/key.h"
#include "security/crypto/x509.h"
#include "service/pki/authority.h"

enum { PKI_FILE_MAX = 64 * 1024, PKI_HOSTS_MAX = 60, PKI_HOST_BYTES = 254 };

struct pki;

/* Names and addresses of this server, as text. */
struct pki_hosts {
    size_t n;
    char host[PKI_HOSTS_MAX][PKI_HOST_BYTES];
};

/* pki_hosts_add - once each. ERR_MALFORMED: neither an IP address nor a DNS name (letters, digits,
 * '-' and '.', a leading "*." allowed); ERR_LIMIT. */
MUST_USE enum err pki_hosts_add(struct pki_hosts *h, struct slice host);
/* pki_hosts_local - adds localhost, 127.0.0.1, ::1, the host name, host name.local and the
 * addresses of all interfaces that are up (link-local ones left out). What does not fit is left
 * out. Asks the system. */
void pki_hosts_local(struct pki_hosts *h);

/*
 * pki_init - makes the authority in an empty place
 *
 * dir_fd  the data directory; borrowed. DIR/pki is made, mode 0700.
 * root    32 bytes (keyring_root), borrowed.
 * hosts   the first is the one that bundles name.
 *
 * ERR_EXISTS: DIR/pki is there; ERR_IO, ERR_SPACE, ERR_CRYPTO, ERR_NOMEM.
 */
MUST_USE enum err pki_init(int dir_fd, struct slice root, const struct pki_hosts *hosts,
                           const struct random_source *random, int64_t now_wall_ms);

/* pki_open - ready to serve, not to sign. disk is the data directory's, borrowed for the call.
 * ERR_NOT_FOUND, ERR_CRYPTO: another key, or a changed file; ERR_MALFORMED; *why says which file.
 */
MUST_USE enum err pki_open(struct disk *disk, struct slice root, struct pki **ret, struct why *why);
/* pki_signing_key - what the authority's files and its register are sealed under: for ret, 32
 * bytes. ERR_CRYPTO. */
enum { PKI_SIGNING_KEY_BYTES = 32 };
MUST_USE enum err pki_signing_key(struct slice root, uint8_t ret[PKI_SIGNING_KEY_BYTES]);
/* pki_open_signing - ready to sign, by the intermediate's key, not to serve. signing_key: of
 * pki_signing_key. Errors as pki_open. */
MUST_USE enum err pki_open_signing(struct disk *disk, struct slice signing_key, struct pki **ret,
                                   struct why *why);
/* pki_trusted_pem - of pki_open_signing: roots and intermediates that are trusted now; borrowed. */
struct slice pki_trusted_pem(const struct pki *p);
/* pki_upgrade - files of a former version, all under `root`, come where they belong; cheap when
 * there is nothing to do, and can be repeated after a crash. A root.sealed that is not there stays
 * away. Errors as pki_open. */
MUST_USE enum err pki_upgrade(struct disk *disk, struct slice root,
                              const struct random_source *random, struct why *why);
/* pki_reseal - files of a former version, sealed under the master key, come under another: what is
 * under `root` already stays, so that it can be repeated after a crash. Errors as pki_open. */
MUST_USE enum err pki_reseal(struct disk *disk, struct slice master, struct slice root,
                             const struct random_source *random, struct why *why);
struct pki *pki_free(struct pki *p);
AUTOFREE(pki, pki_free)

/* Borrowed from p. For the TLS contexts: trust (roots, then intermediates, because some clients
 * show only their leaf), chain (leaf, then intermediate), key (a secret). The roots are what
 * clients are given to trust: one, or two while the authority is rolled over. First comes the one
 * that the shown chain ends at: the OpenSSL build of coap-client reads no further. */
struct slice pki_ca_pem(const struct pki *p);
struct slice pki_roots_pem(const struct pki *p);
struct slice pki_server_chain_pem(const struct pki *p);
struct slice pki_server_key_pem(const struct pki *p);
/* Wall milliseconds: when it ends, and when a third of its life is left and it wants a new one. */
int64_t pki_server_not_after(const struct pki *p);
int64_t pki_server_renew_at(const struct pki *p);
int64_t pki_issuer_not_after(const struct pki *p);
/* pki_renew_server - a new key, and a certificate of this authority for the names of the present
 * one and for `more` (NULL: none), with whoever is trusted now; saved, then used by the functions
 * above. After an error the old one stays. ERR_LIMIT: over PKI_HOSTS_MAX names; else as
 * authority_issue_server. */
MUST_USE enum err pki_renew_server(struct pki *p, struct authority *by, struct disk *disk,
                                   struct slice root, const struct pki_hosts *more,
                                   const struct random_source *random, int64_t now_wall_ms,
                                   struct why *why);

/*
 * The roll-over of the authority, in steps that are an operator's, and between which months may
 * lie. Nobody has to come at a certain time:
 *
 *   prepare  a new root is made. From now on clients are given both roots to trust.
 *   switch   a new intermediate, under the new root if one was prepared, else under the present
 *            one, signs from now on. What the former one signed is still let in. To clients that
 *            trust only the former root it is shown with that root's signature.
 *   finish   the former authority is trusted no more.
 *
 * A step that was interrupted is done again from its beginning. Who signs has it in force by
 * pki_open_signing (authority_reload), who serves by the next pki_renew_server.
 */
enum pki_roll_stage { PKI_ROLL_NONE, PKI_ROLL_PREPARED, PKI_ROLL_SWITCHED };
struct pki_roll {
    enum pki_roll_stage stage;
    bool is_root;                /* the root changes, too */
    int64_t prepared_at_wall_ms; /* of is_root */
    int64_t switched_at_wall_ms; /* of PKI_ROLL_SWITCHED */
};
struct pki_roll pki_roll_of(const struct pki *p);
/* pki_save_ca - ca.pem, the copy for people, of the roots as they are now. */
MUST_USE enum err pki_save_ca(const struct pki *p, struct disk *disk);
/* seal: of pki_signing_key. ERR_EXISTS: a roll-over is under way;
 * ERR_NOT_FOUND: none is, or a file is missing (the root's is needed by prepare and switch); as
 * pki_init and pki_open otherwise, *why in words. */
MUST_USE enum err pki_roll_prepare(struct disk *disk, struct slice seal,
                                   const struct random_source *random, int64_t now_wall_ms,
                                   struct why *why);
MUST_USE enum err pki_roll_switch(struct disk *disk, struct slice seal,
                                  const struct random_source *random, int64_t now_wall_ms,
                                  struct why *why);
MUST_USE enum err pki_roll_finish(struct disk *disk, struct slice seal,
                                  const struct random_source *random, struct why *why);

/* What is to be signed. Borrowed. */
struct pki_template {
    enum x509_kind kind; /* X509_KIND_CLIENT or _SERVER */
    struct slice common_name;
    const struct x509_san *sans;
    size_t n_sans;
    const struct key *subject; /* the public half is enough */
    int64_t lifetime_ms;       /* 0: 90 days */
};
/*
 * pki_sign - a certificate by the intermediate; whether it may be is the authority's to decide
 * (authority.h), and so is keeping record of it
 *
 * ret_chain_pem  appended: leaf, then intermediate.
 *
 * p              of pki_open_signing.
 *
 * ERR_MALFORMED: a name that cannot be encoded; ERR_CRYPTO, ERR_NOMEM.
 */
MUST_USE enum err pki_sign(const struct pki *p, const struct pki_template *t,
                           const struct random_source *random, int64_t now_wall_ms,
                           struct x509 **ret, struct buf *ret_chain_pem);
/* pki_set_url - certificates that are made from now on say where peers hear of revocation
 * (x509_order.status_url); NULL or empty: nowhere. p is of pki_open_signing. */
void pki_set_url(struct pki *p, const char *url);
/* pki_server - the certificate that the server shows. */
const struct x509 *pki_server(const struct pki *p);

#endif
