/* register_private - the records of the register and its inside. */
#ifndef SERVICE_PKI_REGISTER_PRIVATE_H
#define SERVICE_PKI_REGISTER_PRIVATE_H

#include "base/map.h"
#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"
#include "security/crypto/aead.h"
#include "service/pki/register.h"

enum {
    REGISTER_BLOCK_MAX = 64 * 1024, /* plain bytes sealed at once */
    REGISTER_ENTRY_MAX = 20 * 1024, /* HOSTS is the largest */
    REGISTER_BLOCK_HEAD_BYTES = 4,
    REGISTER_REWRITE_BYTES = 1024 * 1024 /* of growth, at least */
};

enum register_kind {
    REGISTER_BORN = 1, /* the first one */
    REGISTER_HOSTS,
    REGISTER_NAME,
    REGISTER_ISSUED,
    REGISTER_SERIAL_REVOKED,
    REGISTER_TOKEN,
    REGISTER_CRL
};

/* One record; slices borrow. Which members count depends on the kind. */
struct register_entry {
    enum register_kind kind;
    struct slice name;  /* NAME, ISSUED (empty: the server's), TOKEN */
    int64_t at_wall_ms; /* BORN; NAME: since; SERIAL_REVOKED; ISSUED: revoked, or 0; TOKEN: end */
    uint8_t state, reason; /* NAME; ISSUED, SERIAL_REVOKED */
    bool has_spki, is_migrated, is_open;
    struct digest spki; /* NAME, ISSUED; TOKEN: its hash; BORN: the key of token hashes */
    struct authority_serial serial;
    int64_t not_before_wall_ms, not_after_wall_ms;
    struct slice pattern, role, attrs_json; /* TOKEN */
    uint64_t number;                        /* CRL; TOKEN: uses */
    size_t n_hosts;
    struct x509_san hosts[REGISTER_HOSTS_MAX];
};

void register_entry_encode(const struct register_entry *e, struct wr *w);
/* register_entry_decode - the next one. ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT. */
MUST_USE enum err register_entry_decode(struct rd *r, struct register_entry *ret);

struct pki_register {
    struct disk *disk;
    struct secret *seal;
    struct random_source random;
    /* the file */
    struct disk_file *file; /* NULL: it must be written anew before the next change */
    struct aead *aead;
    uint64_t n_blocks, n_bytes, n_clean_bytes;
    uint8_t *block; /* head, plain bytes, room for a tag */
    struct wr writing;
    /* what it says */
    struct map names, issued, keys, tokens;
    struct register_issued *servers;   /* the server's own certificates */
    int64_t born_wall_ms, now_wall_ms; /* the second: the latest that is known */
    struct digest token_key;
    size_t n_hosts;
    struct {
        enum x509_san_kind kind;
        uint8_t n, bytes[REGISTER_HOST_BYTES_MAX];
    } hosts[REGISTER_HOSTS_MAX];
    uint64_t crl_number, revision;
};

void register_maps_init(struct pki_register *r);

/* Into memory alone. register_name_of - the name, made when it is new: forgotten until a record
 * says otherwise. */
MUST_USE enum err register_name_of(struct pki_register *r, struct slice text,
                                   struct register_name **ret, bool *ret_new);
/* register_name_set - what a record says of it; the certificates of one that is not enrolled end
 * with it. */
void register_name_set(struct pki_register *r, struct register_name *n,
                       const struct register_entry *e);
MUST_USE enum err register_issued_put_in(struct pki_register *r, struct register_name *n,
                                         const struct register_entry *e,
                                         struct register_issued **ret);
MUST_USE enum err register_token_put_in(struct pki_register *r, const struct register_entry *e,
                                        struct register_token **ret);

/* register_file_write - the whole of it in a new file, which then is open. */
MUST_USE enum err register_file_write(struct pki_register *r);
/* register_file_read - calls take for each record. */
typedef enum err register_take(struct pki_register *r, const struct register_entry *e);
MUST_USE enum err register_file_read(struct pki_register *r, register_take *take, struct why *why);
void register_file_close(struct pki_register *r);
/* register_file_begin, _put, _commit - one change: its records reach the disk together. */
MUST_USE enum err register_file_begin(struct pki_register *r);
void register_file_put(struct pki_register *r, const struct register_entry *e);
MUST_USE enum err register_file_commit(struct pki_register *r);

/* register_entry_of_* - a record that says what is in memory. */
struct register_entry register_entry_of_name(const struct register_name *n);
struct register_entry register_entry_of_issued(const struct register_issued *i);
struct register_entry register_entry_of_token(const struct register_token *t);

#endif
