/*
 * register - what the authority remembers: who is enrolled, what was signed for whom, what was
 * revoked, which claim tokens are good.
 *
 * DIR/pki/register.sealed: records appended and synced before the caller is told, so that no
 * certificate is handed out that is not on record, and no token is good twice. Each opening (and
 * now and then, when most of it is dead) writes the file anew under a fresh key: no nonce is used
 * twice, and a torn tail, which nobody was told to be safe, is left out. In memory: about 0.4 KB
 * for a name with one certificate.
 *
 * One thread. What cannot be written changes nothing; after an error of the disk the next change
 * writes the whole file anew first.
 */
#ifndef SERVICE_PKI_REGISTER_H
#define SERVICE_PKI_REGISTER_H

#include "base/disk.h"
#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/digest.h"
#include "security/crypto/x509.h"
#include "service/pki/authority.h"

#define REGISTER_FILE "pki/register.sealed"
/* How long after its end a certificate is remembered: as long as it could renew. */
#define REGISTER_KEEP_MS (INT64_C(400) * 86400 * 1000)

enum {
    REGISTER_NAME_MAX = 64, /* as of principals */
    REGISTER_FILE_MAX = 512 * 1024 * 1024,
    REGISTER_TOKENS_MAX = 50000,
    REGISTER_PATTERN_MAX = 128,
    REGISTER_ROLE_MAX = 64,
    REGISTER_ATTRS_MAX = 2048,
    REGISTER_HOSTS_MAX = X509_SANS_MAX,
    REGISTER_HOST_BYTES_MAX = 255,
    REGISTER_TOKEN_TEXT_MAX = 64,
    REGISTER_NAME_COST = 512 /* bytes of memory, with one certificate; at most */
};

struct pki_register;

enum register_state {
    REGISTER_FORGOTTEN, /* removed: only its certificates are remembered */
    REGISTER_ENROLLED,
    REGISTER_REVOKED /* for good, until it is forgotten and enrolled anew */
};

struct register_issued;

/* One name; lives as long as the register. */
struct register_name {
    enum register_state state;
    bool is_migrated;  /* enrolled when the register was made: older certificates are its own */
    bool is_open;      /* an operator's word, good for one certificate, is not used up yet */
    bool has_spki;     /* only this key */
    uint8_t reason;    /* enum authority_reason, when it is not enrolled */
    uint8_t n;         /* bytes of the name */
    uint32_t n_recent; /* certificates in recent_minute; not kept */
    int64_t recent_minute;
    int64_t since_wall_ms;
    struct digest spki;
    struct register_issued *issued; /* the newest; of_name leads to the others */
    char text[];
};

/* One certificate that was signed here. */
struct register_issued {
    struct register_name *name;       /* NULL: the server's own */
    struct register_issued *of_name;  /* an older one */
    struct register_issued *same_key; /* another one with this key */
    struct authority_serial serial;
    uint8_t reason; /* enum authority_reason */
    struct digest spki;
    int64_t not_before_wall_ms, not_after_wall_ms;
    int64_t revoked_wall_ms; /* 0: good */
};

/* A claim token; the text itself is not kept. Texts end with a NUL. */
struct register_token {
    struct digest hash;
    int64_t expires_wall_ms;
    uint32_t uses;
    char name[REGISTER_NAME_MAX + 1];
    char pattern[REGISTER_PATTERN_MAX + 1];
    char role[REGISTER_ROLE_MAX + 1];
    char *attrs_json; /* owned */
};

/* disk (the data directory's) is borrowed for life, seal (32 bytes) copied. */
struct register_setup {
    struct disk *disk;
    struct slice seal;
    struct random_source random;
    int64_t now_wall_ms;
};

/* What a new one begins with; all or nothing of it is there after a crash. Borrowed. */
struct register_founding {
    const struct slice *enrolled, *revoked; /* names, whose certificates are from before */
    size_t n_enrolled, n_revoked;
    const struct x509_san *hosts; /* names of this server, which alone its certificates may have */
    size_t n_hosts;
};
/* register_create - saved. ERR_EXISTS: there is one; ERR_MALFORMED: a name, or too many hosts;
 * ERR_IO, ERR_SPACE, ERR_CRYPTO, ERR_NOMEM. */
MUST_USE enum err register_create(const struct register_setup *s, const struct register_founding *f,
                                  struct pki_register **ret);
/* register_open - ERR_NOT_FOUND: there is none; ERR_CRYPTO: another key, or its head was changed;
 * ERR_MALFORMED: a record opened, but says nothing that it may; *why says it in words. */
MUST_USE enum err register_open(const struct register_setup *s, struct pki_register **ret,
                                struct why *why);
/* register_is_there - true also when the disk does not say: none is made in its place then. */
bool register_is_there(struct disk *disk);
struct pki_register *register_free(struct pki_register *r);
AUTOFREE(pki_register, register_free)

/* ---- asking ---- */
/* register_latest - the latest time that it has on record, or that it was told: it is that late at
 * least. */
int64_t register_latest(const struct pki_register *r);
/* register_seal - what it is sealed under; borrowed. */
struct slice register_seal(const struct pki_register *r);
/* register_born - when it was made: certificates from before are not in it. */
int64_t register_born(const struct pki_register *r);
/* register_name_find - NULL: never heard of. */
struct register_name *register_name_find(const struct pki_register *r, struct slice name);
static inline struct slice register_name_slice(const struct register_name *n)
{
    return slice_of(n->text, n->n);
}
struct register_issued *register_issued_find(const struct pki_register *r,
                                             const struct authority_serial *serial);
/* register_key_find - one of those with this key; same_key leads to the others. */
struct register_issued *register_key_find(const struct pki_register *r, const struct digest *spki);
/* register_issued_next, register_name_next - *at starts at 0; NULL at the end; no change between.
 */
struct register_issued *register_issued_next(const struct pki_register *r, size_t *at);
struct register_name *register_name_next(const struct pki_register *r, size_t *at);
/* register_token_find - the token of this text, perhaps used up or over, or NULL; the work is the
 * same. */
struct register_token *register_token_find(const struct pki_register *r, struct slice text);
size_t register_token_count(const struct pki_register *r);
struct register_token *register_token_next(const struct pki_register *r, size_t *at);

/* ---- changes: durable when OK. ERR_IO, ERR_SPACE, ERR_CRYPTO, ERR_NOMEM: nothing changed ---- */

/* register_enrol - spki NULL: any key. Who is enrolled already gets the new key rule. ERR_DENIED:
 * it is revoked; ERR_MALFORMED: it is no name. */
MUST_USE enum err register_enrol(struct pki_register *r, struct slice name,
                                 const struct digest *spki, int64_t now_wall_ms);
/* register_forget - its certificates are revoked. ERR_NOT_FOUND. */
MUST_USE enum err register_forget(struct pki_register *r, struct slice name, int64_t now_wall_ms);
struct register_row {
    struct authority_serial serial;
    struct digest spki;
    int64_t not_before_wall_ms, not_after_wall_ms;
    bool enrols;                  /* the name, in the same breath; any key */
    bool closes;                  /* uses the operator's word up */
    struct register_token *token; /* used once by it; NULL: none */
};
/* register_issue - one certificate is about to be handed out. name empty: the server's own.
 * ERR_EXISTS: the serial is there. */
MUST_USE enum err register_issue(struct pki_register *r, struct slice name,
                                 const struct register_row *row, int64_t now_wall_ms);
/* register_revoke - a name and all its certificates; register_revoke_serial - one. Revoked before:
 * OK, and the first time and reason stay. ERR_NOT_FOUND. */
MUST_USE enum err register_revoke(struct pki_register *r, struct slice name,
                                  enum authority_reason reason, int64_t now_wall_ms);
MUST_USE enum err register_revoke_serial(struct pki_register *r,
                                         const struct authority_serial *serial,
                                         enum authority_reason reason, int64_t now_wall_ms);
/* register_token_add - ERR_LIMIT: too many; ERR_TOO_LARGE: one of the texts. */
MUST_USE enum err register_token_add(struct pki_register *r, struct slice text,
                                     const struct authority_claim *c, int64_t now_wall_ms);

/* register_token_cancel - nobody enrols by it any more; t is gone after OK. */
MUST_USE enum err register_token_cancel(struct pki_register *r, struct register_token *t,
                                        int64_t now_wall_ms);

/* register_has_host - is this one of the server's names? */
bool register_has_host(const struct pki_register *r, const struct x509_san *host);

/* register_add_host - one more; again is fine. ERR_LIMIT; ERR_TOO_LARGE; errors of saving. */
MUST_USE enum err register_add_host(struct pki_register *r, const struct x509_san *host);

/* The number of the revocation list that was signed last. next: the next one, on record before the
 * list is handed out. */
uint64_t register_crl_number(const struct pki_register *r);
MUST_USE enum err register_crl_next(struct pki_register *r, uint64_t *ret);
/* register_revision - another number after each revocation: a list made at this one is in force. */
uint64_t register_revision(const struct pki_register *r);

#endif
