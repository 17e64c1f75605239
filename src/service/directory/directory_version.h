/*
 * directory_version - what the directory said at one epoch. Immutable, shared by reference with
 * every worker; a reader that holds one never sees a later change.
 *
 * Nothing here allocates or blocks. Entries and credentials are borrowed from the version.
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_VERSION_H
#define SERVICE_DIRECTORY_DIRECTORY_VERSION_H

#include "base/err.h"
#include "base/slice.h"
#include "core/principal.h"
#include "security/crypto/digest.h"
#include "service/directory/credential.h"
#include "service/directory/secret_ages.h"

enum {
    DIRECTORY_CREDENTIALS_MAX = 12, /* of one principal */
    DIRECTORY_EXCEPTIONS_MAX = 64,
    DIRECTORY_REASON_MAX = 200,
    DIRECTORY_LISTENER_MAX = 32,
    DIRECTORY_EXCEPTION_SLACK_MS = 600000 /* how far the clock may step back under one */
};

struct directory_version;

/* What misuse is answered with, weakest first. ALERT is said, and nothing is done. */
enum answer_kind {
    ANSWER_ALERT,
    ANSWER_THROTTLE,
    ANSWER_STEP_UP,
    ANSWER_QUARANTINE,
    ANSWER_DISCONNECT,
    ANSWER_REVOKE,
    ANSWER_KINDS
};
enum {
    DIRECTORY_ANSWERS_MAX =
        ANSWER_KINDS - 1, /* of one principal: one of each that does something */
    DIRECTORY_ANSWER_BY_MAX = 64
};
#define DIRECTORY_ANSWER_STAYS INT64_MAX
/* answer_name - "step-up". answer_find - by that; false: there is none. */
const char *answer_name(enum answer_kind kind);
bool answer_find(struct slice name, enum answer_kind *ret);

/* One that runs. It ends at its deadline, or when it is taken back. */
struct directory_answer {
    uint64_t id; /* never reused */
    enum answer_kind kind;
    int64_t since_wall_ms, until_wall_ms;  /* DIRECTORY_ANSWER_STAYS: until it is taken back */
    char by[DIRECTORY_ANSWER_BY_MAX + 1];  /* "rule probing", "uid=0" */
    char reason[DIRECTORY_REASON_MAX + 1]; /* the evidence, or a person's words */
};

struct directory_entry {
    atomic_uint refs;
    const struct principal *principal; /* status, role, attributes */
    int64_t created_wall_ms;
    char reason[DIRECTORY_REASON_MAX + 1]; /* why disabled or revoked; empty when active */
    size_t n_answers;
    const struct directory_answer *answers; /* of this entry; oldest first */
    size_t n_credentials;                   /* newest last */
    const struct credential *credentials[];
};

enum directory_allow { DIRECTORY_ALLOW_PLAINTEXT = 1, DIRECTORY_ALLOW_ANONYMOUS = 2 };

/* A weakening that somebody asked for, named, and that ends by itself. */
struct directory_exception {
    uint64_t id;
    char listener[DIRECTORY_LISTENER_MAX + 1];
    unsigned allow;                    /* bits of enum directory_allow */
    char role[PRINCIPAL_NAME_MAX + 1]; /* of anonymous clients; empty without ANONYMOUS */
    char reason[DIRECTORY_REASON_MAX + 1];
    int64_t created_wall_ms, ends_wall_ms;
};

const struct directory_version *directory_version_ref(const struct directory_version *v);
const struct directory_version *directory_version_unref(const struct directory_version *v);

uint64_t directory_version_epoch(const struct directory_version *v);
/* directory_version_policy_epoch - epoch of the last change of the policy in force. */
uint64_t directory_version_policy_epoch(const struct directory_version *v);
size_t directory_version_count(const struct directory_version *v);

/* The entry, whatever its status, or NULL. O(log n). */
const struct directory_entry *directory_find(const struct directory_version *v, struct slice name);
const struct directory_entry *directory_find_spki(const struct directory_version *v,
                                                  const struct digest *spki);
/* directory_find_id - by the number of its principal. */
const struct directory_entry *directory_find_id(const struct directory_version *v, uint64_t id);
/* directory_find_kid - by what an OSCORE client calls itself, whatever the status of the entry and
 * the end of the credential, which is written when there is one. */
const struct directory_entry *directory_find_kid(const struct directory_version *v,
                                                 struct slice kid,
                                                 const struct credential **ret_credential);
/* directory_find_identity - by what a PSK client calls itself: its name, or CREDENTIAL_OPAQUE and
 * what follows. */
const struct directory_entry *directory_find_identity(const struct directory_version *v,
                                                      struct slice identity);
/* directory_ages - the ages in force. */
const struct secret_ages *directory_ages(const struct directory_version *v);
/* directory_ends - the first moment at which this credential is refused, by its own end or by its
 * age; CREDENTIAL_NEVER. directory_is_live: not yet. */
int64_t directory_ends(const struct directory_version *v, const struct credential *c);
bool directory_is_live(const struct directory_version *v, const struct credential *c,
                       int64_t now_wall_ms);
/* directory_is_aged - refused for its age alone. directory_aged - the newest of e (NULL: nobody) of
 * this kind that is, where none of the kind is live; NULL: none. */
bool directory_is_aged(const struct directory_version *v, const struct credential *c,
                       int64_t now_wall_ms);
const struct credential *directory_aged(const struct directory_version *v,
                                        const struct directory_entry *e, enum credential_kind kind,
                                        int64_t now_wall_ms);
/* directory_left - what this principal had open by this credential has ended; see credential_left.
 */
void directory_left(const struct directory_version *v, const struct principal *p,
                    uint64_t credential, int64_t now_wall_ms);
/* directory_next - walks all entries in no order: *at starts at 0; NULL at the end. */
const struct directory_entry *directory_next(const struct directory_version *v, size_t *at);

/* directory_changes - each that is in another state in `to` than in `from`, or in one of them only
 * (NULL for the other); one was made out of the other by changes. An error of each ends it.
 * O(differing buckets). */
MUST_USE enum err
directory_changes(const struct directory_version *from, const struct directory_version *to,
                  enum err (*each)(void *ctx, const struct directory_entry *before,
                                   const struct directory_entry *after),
                  void *ctx);
/* directory_page - one part of DIRECTORY_PAGES of all entries; who stays, stays in the same part
 * over all changes. *at starts at 0; NULL at the end of the part. O(1). */
enum { DIRECTORY_PAGES = 256 };
const struct directory_entry *directory_page(const struct directory_version *v, size_t page,
                                             size_t *at);

/*
 * directory_login_x509 - does this name own this certificate key now?
 *
 * name  from identity_from_x509. ret_credential may be NULL.
 * ERR_AUTH: unknown name, unknown key, another principal's key; ERR_EXPIRED: the credential's time
 * is over, or it was revoked (credential_is_revoked of *ret_credential; both are written then too);
 * ERR_DENIED: disabled or revoked (the entry's reason says why; *ret_entry is written then too, for
 * the event).
 */
MUST_USE enum err directory_login_x509(const struct directory_version *v, struct slice name,
                                       const struct digest *spki, int64_t now_wall_ms,
                                       const struct directory_entry **ret_entry,
                                       const struct credential **ret_credential);

/* Live credentials of one kind of an active principal, newest first. Of PSKs those of this
 * identity: the name, which has those without an identity of their own, or an opaque one. n = 0 for
 * somebody unknown, disabled, revoked, or without this kind: go on as with a wrong secret. For
 * somebody unknown credentials[0] is a decoy's then, which has no secret, and is asked all the
 * same; else it is NULL when n is 0. */
enum { DIRECTORY_LIVE_MAX = 2 };
struct directory_live {
    const struct directory_entry *entry; /* NULL: unknown. Set also for disabled and revoked ones */
    size_t n;
    const struct credential *credentials[DIRECTORY_LIVE_MAX];
};
struct directory_live directory_live(const struct directory_version *v, struct slice name,
                                     enum credential_kind kind, int64_t now_wall_ms);

/*
 * directory_login_password - the whole check, argon2id included
 *
 * Costs the same for unknown, disabled and wrong (80 ms for a chosen password): call it on the
 * verify pool, holding a reference to v. ERR_AUTH, ERR_DENIED: right password, but disabled or
 * revoked; ERR_NOMEM. On OK (and ERR_DENIED) *ret_entry is borrowed from v; ret_credential may be
 * NULL.
 */
MUST_USE enum err directory_login_password(const struct directory_version *v, struct slice name,
                                           struct slice password, int64_t now_wall_ms,
                                           const struct directory_entry **ret_entry,
                                           const struct credential **ret_credential);

/*
 * directory_scram - what a SCRAM login of this name needs
 *
 * Unknown names have a salt as well, and no keys (but a decoy's, in the places where keys are).
 * Disabled and revoked principals have theirs: look at the entry's status when the proof was good.
 * Pointers are borrowed from v. ERR_CRYPTO.
 */
struct directory_scram {
    const struct directory_entry *entry; /* NULL: unknown */
    struct scram_salt salt;
    size_t n;
    const struct credential *credentials[DIRECTORY_LIVE_MAX];
    struct scram_keys keys[SCRAM_KEYS_MAX]; /* of the same */
};
_Static_assert((int)DIRECTORY_LIVE_MAX <= (int)SCRAM_KEYS_MAX, "all live ones are tried");
MUST_USE enum err directory_scram(const struct directory_version *v, struct slice name,
                                  int64_t now_wall_ms, struct directory_scram *ret);

/* directory_exception_find - the one in force for this listener that allows all bits of `allow`, or
 * NULL. */
const struct directory_exception *directory_exception_find(const struct directory_version *v,
                                                           struct slice listener, unsigned allow,
                                                           int64_t now_wall_ms);
/* directory_exceptions - all that are stored, also those that have ended and are not yet removed.
 */
const struct directory_exception *directory_exceptions(const struct directory_version *v,
                                                       size_t *ret_n);

#endif
