/*
 * directory - principals, credentials, exceptions and epochs, and their one writer.
 *
 * Every change makes a new immutable version (directory_version.h) and saves what differs, as
 * entries of the log, before it is published: a version that a worker has seen survives a power
 * cut. After an error nothing has changed. One thread calls these functions; versions go to any
 * thread.
 *
 * A principal's entry is sealed under its own key (store/keyring.h), which is made when it is added
 * and erased when it was removed: then its credentials and all that it ever sent or was to get are
 * unreadable, also in copies of the store.
 *
 * Rules kept here: a secret (certificate key, password, PSK, SCRAM password) belongs to one
 * principal; ids of principals, credentials and exceptions are never reused; a revoked principal
 * never comes back (it is removed and added anew); an exception ends within seven days.
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_H
#define SERVICE_DIRECTORY_DIRECTORY_H

#include "base/disk.h"
#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/why.h"
#include "service/directory/directory_version.h"
#include "store/log.h"

enum { DIRECTORY_EXCEPTION_MAX_S = 7 * 86400, DIRECTORY_ADMIN_SECRET_S = 86400 };

struct directory;

/* log and keyring outlive the directory, which is the one writer of the log's tables PRINCIPAL,
 * EXCEPTION and META; random is copied. Both NULL: nothing is kept (simulator, benches). */
struct directory_setup {
    struct log *log;
    struct keyring *keyring;
    struct random_source random;
    struct secret_ages ages; /* copied; { 0 }: secrets have no age */
};

/* directory_create - an empty one, saved. ERR_EXISTS: there is one; ERR_IO, ERR_SPACE, ERR_CRYPTO,
 * ERR_NOMEM. */
MUST_USE enum err directory_create(const struct directory_setup *s, struct directory **ret);
/* directory_open - ERR_NOT_FOUND: there is none, ERR_CONFIG: an entry opened, but does not say what
 * it must; ERR_NOMEM, ERR_IO. Damage does not stop it: see directory_damage. Finishes an erasure
 * that a crash interrupted. */
MUST_USE enum err directory_open(const struct directory_setup *s, struct directory **ret);
/*
 * directory_import - takes the directory of a former version (DIR/directory.sealed) into the log
 *
 * disk    the data directory's.
 * master  the key that the file is sealed under.
 * ERR_NOT_FOUND: there is no such file, nothing to do. OK: all of it is in the log, and the file
 * overwritten and removed; directory_open comes next. Killed midway, the next call does it again:
 * the file counts until the log has all of it, and not any more afterwards. ERR_CRYPTO: changed, or
 * another master key; ERR_CONFIG, ERR_IO, ERR_SPACE, ERR_NOMEM: the file is untouched.
 */
MUST_USE enum err directory_import(const struct directory_setup *s, struct disk *disk,
                                   struct slice master);
/* directory_damage - what directory_open could not take as it was; all 0: nothing. Who was erased
 * since an old copy of the store was made is no damage: it is not there. */
struct directory_damage {
    uint64_t missing;    /* principals with a key, without an entry; they cannot log in */
    uint64_t stale;      /* of whom only an older entry is left: disabled, or left out */
    uint64_t returned;   /* removed ones whose end was damaged: left out, their keys erased */
    uint64_t exceptions; /* left out */
    uint64_t head;       /* secrets that are registered are not known as taken any more */
    char first[PRINCIPAL_NAME_MAX + 1]; /* of the stale and returned ones */
};
const struct directory_damage *directory_damage(const struct directory *d);
/* directory_free - versions that readers hold live on. */
struct directory *directory_free(struct directory *d);
AUTOFREE(directory, directory_free)

/* directory_current - the published version; the caller gets a reference of its own. */
const struct directory_version *directory_current(const struct directory *d);

/* directory_latest - the same with what a batch has gathered so far. */
const struct directory_version *directory_latest(const struct directory *d);

/* ---- many changes, one save ----
 * Between begin and commit changes are collected and neither saved nor published. commit saves and
 * publishes all of them (an error: none, the batch stays open); rollback forgets them. */
void directory_begin(struct directory *d);
bool directory_is_batch(const struct directory *d);
MUST_USE enum err directory_commit(struct directory *d);
void directory_rollback(struct directory *d);

/* ---- principals ----
 * All: ERR_NOT_FOUND, ERR_MALFORMED, ERR_LIMIT, and from saving ERR_IO, ERR_SPACE, ERR_CRYPTO,
 * ERR_NOMEM. *why (may be NULL) is filled where the person can do something about it. */

/* A credential to be registered; only the member of its kind is read. Borrowed. */
struct directory_secret {
    enum credential_kind kind;
    int64_t expires_wall_ms; /* CREDENTIAL_NEVER, or a time to come */
    struct digest spki;
    struct serial serial;  /* of the certificate; n 0: not known */
    struct slice password; /* plain; checked for quality, then hashed. CREDENTIAL_SCRAM: one that
                            * password_generate made */
    struct slice psk;
    struct slice identity; /* CREDENTIAL_PSK: one of credential_opaque; empty: the name */
    const struct oscore_secret *oscore; /* one that oscore_secret_generate made */
};

struct directory_order {
    struct slice name, role;
    struct slice gateway; /* that may speak for it; empty: none */
    const struct principal_attr *attrs;
    size_t n_attrs;
    const struct directory_secret *secrets;
    size_t n_secrets;
};

/* directory_add - ERR_EXISTS: the name is taken, or another principal owns one of the secrets
 * (*why names it); ERR_DENIED: a password or PSK that is too weak. */
MUST_USE enum err directory_add(struct directory *d, const struct directory_order *o,
                                int64_t now_wall_ms, uint64_t *ret_id, struct why *why);
/* directory_remove - its key stays until directory_erase: workers may still write for it. */
MUST_USE enum err directory_remove(struct directory *d, struct slice name);
/* directory_erase_due - how many removed principals have their keys yet. */
size_t directory_erase_due(const struct directory *d);
/* directory_erase - their keys go, for ever. Call it when every worker has a version without them.
 * After an error they are still due, also after a restart. Costs two commits and a new keyring. */
MUST_USE enum err directory_erase(struct directory *d);
/* directory_disable - reason may be empty. ERR_DENIED: revoked. */
MUST_USE enum err directory_disable(struct directory *d, struct slice name, struct slice reason);
/* directory_enable - ERR_DENIED with *why: revoked ones stay so. */
MUST_USE enum err directory_enable(struct directory *d, struct slice name, struct why *why);
/* directory_revoke - for good; its secrets stay registered, so nobody else gets them. reason is
 * required: ERR_MALFORMED without. */
MUST_USE enum err directory_revoke(struct directory *d, struct slice name, struct slice reason);
/* directory_rotate - registers one more credential; those of its kind end overlap_ms from now (0:
 * at once), one that still waits for its device at once. At most two of a kind are live. Errors as
 * directory_add; ERR_DENIED: revoked. */
MUST_USE enum err directory_rotate(struct directory *d, struct slice name,
                                   const struct directory_secret *secret, int64_t overlap_ms,
                                   int64_t now_wall_ms, struct why *why);

/* A certificate that a device has renewed by one that it has. */
struct directory_renewal {
    struct slice name;
    uint64_t by; /* the credential it has proven; it stays as it is, so that nobody is locked out
                  * who never hears of the new one */
    struct digest spki;   /* of the new certificate; the same key as before is fine */
    struct serial serial; /* likewise; n 0: not known */
    int64_t expires_wall_ms;
};
/* directory_renew - registers it. Other certificates of this principal that were never used, or
 * have ended, go: there are two at most afterwards. ERR_EXISTS: another principal owns the key;
 * ERR_DENIED: not active, or `by` is not its any more. */
MUST_USE enum err directory_renew(struct directory *d, const struct directory_renewal *o,
                                  int64_t now_wall_ms, struct why *why);
/* ---- rotations that wait for their device ----
 * A secret (all but certificates) that was put beside one that opens *waits* until the device has
 * used it: then the one before it ends, tail_ms later. Whoever slept through it is let in by the
 * one before, for secret_ages.wait_s at most. */

/* directory_succeed - registers one more secret, which waits. One that waited already is void: the
 * one before it stays. Where nothing of its kind opens there is nothing to wait for. Errors as
 * directory_rotate; ERR_MALFORMED: a certificate. */
MUST_USE enum err directory_succeed(struct directory *d, struct slice name,
                                    const struct directory_secret *secret, int64_t tail_ms,
                                    int64_t now_wall_ms, struct why *why);

enum directory_verdict {
    DIRECTORY_ABORT,   /* what waits is void; the one before it has its former end again */
    DIRECTORY_CUT_OVER /* the newest of a kind alone, from now on */
};
/* directory_decide - ends rotations of these kinds (bits 1 << credential_kind; 0: all) by hand.
 * ERR_NOT_FOUND: there is no such device, or with *why nothing to decide. */
MUST_USE enum err directory_decide(struct directory *d, struct slice name, unsigned kinds,
                                   enum directory_verdict verdict, struct why *why);

enum { DIRECTORY_SETTLE_MAX = 64 };
struct directory_confirmation {
    char name[PRINCIPAL_NAME_MAX + 1];
    enum credential_kind kind;
    int64_t ends_wall_ms; /* of the one before */
};
/* directory_settle - takes note of what was used for the first time, and forgets those before it
 * whose time is over; saved, in one go. Tells at most DIRECTORY_SETTLE_MAX confirmations a call;
 * *ret_changed: there is a new version, call it again. Errors of saving: nothing changed. O(those
 * that wait). */
MUST_USE enum err directory_settle(struct directory *d, int64_t now_wall_ms,
                                   struct directory_confirmation ret[DIRECTORY_SETTLE_MAX],
                                   size_t *ret_n, bool *ret_changed);
/* directory_unsettled - how many devices directory_settle looks at. */
size_t directory_unsettled(const struct directory *d);

/* directory_set_ages - with the next change; the caller makes one. */
void directory_set_ages(struct directory *d, const struct secret_ages *ages);
/* directory_withdraw - takes back credentials that were made since then and that nobody has used:
 * whoever was to have them never got them. ERR_NOT_FOUND. Changes nothing when there are none. */
MUST_USE enum err directory_withdraw(struct directory *d, struct slice name, int64_t since_wall_ms);
/* directory_set_role - ERR_MALFORMED: no name of a role; ERR_DENIED with *why: revoked. Whether a
 * policy has that role is the caller's to ask. */
MUST_USE enum err directory_set_role(struct directory *d, struct slice name, struct slice role,
                                     struct why *why);
/* directory_assign - from now on this gateway may speak for the device, and no other; empty: none
 * may. ERR_NOT_FOUND with *why also when there is no such gateway; ERR_DENIED: the device or the
 * gateway is revoked, or they are one. */
MUST_USE enum err directory_assign(struct directory *d, struct slice name, struct slice gateway,
                                   struct why *why);
/* ---- answers to misuse ---- */

struct directory_answer_order {
    enum answer_kind kind;
    int64_t until_wall_ms; /* DIRECTORY_ANSWER_STAYS: until it is taken back */
    struct slice by, reason;
};
/* directory_answer_start - from now on, beside what the device is and may otherwise. One of this
 * kind that runs is made longer, and keeps its number: *ret is what runs now. ERR_EXISTS: that one
 * lasts as long; ERR_MALFORMED: no reason, ALERT, or an end that is past; ERR_DENIED: revoked. */
MUST_USE enum err directory_answer_start(struct directory *d, struct slice name,
                                         const struct directory_answer_order *o,
                                         int64_t now_wall_ms, struct directory_answer *ret,
                                         struct why *why);
/* directory_answer_end - all else is as it is: what was set meanwhile by a person stays.
 * ERR_NOT_FOUND. */
MUST_USE enum err directory_answer_end(struct directory *d, struct slice name, uint64_t id);

/*
 * directory_revoke_certificate - certificates of this principal end now, for good; its other
 * credentials stay
 *
 * serial  which one; NULL: all that it has and that are not revoked yet.
 * reason  enum crl_reason.
 *
 * OK with *ret_n 0: it was revoked already. ERR_NOT_FOUND with *why: no such principal, or it has
 * no such certificate. Errors of saving.
 */
MUST_USE enum err directory_revoke_certificate(struct directory *d, struct slice name,
                                               const struct serial *serial, unsigned reason,
                                               int64_t now_wall_ms, size_t *ret_n, struct why *why);

/* directory_keep_uses - saves when credentials were last used, where that changed; now and then,
 * and before the end. Costs a look at each principal. */
MUST_USE enum err directory_keep_uses(struct directory *d);

/* ---- exceptions ---- */

struct directory_exception_order {
    struct slice listener, role, reason;
    unsigned allow; /* bits of enum directory_allow, at least one */
    int64_t for_ms; /* 1 ms .. seven days */
};

/* directory_exception_add - ERR_MALFORMED with *why: no reason, no or a foreign bit, anonymous
 * without a role, a name that is none, too long. Ended ones are forgotten on the way. */
MUST_USE enum err directory_exception_add(struct directory *d,
                                          const struct directory_exception_order *o,
                                          int64_t now_wall_ms, uint64_t *ret_id, struct why *why);
MUST_USE enum err directory_exception_end(struct directory *d, uint64_t id);

/* ---- policy and administration ---- */

/* directory_policy_changed - a new policy is in force; gives its epoch. The text itself is
 * DIR/policy.yaml. */
MUST_USE enum err directory_policy_changed(struct directory *d, uint64_t *ret_epoch);

/* directory_admin_secret - a new one-time secret for the administration door, good for 24 hours;
 * the one before is void. Only its hash is kept; the caller shows it once and wipes it. */
MUST_USE enum err directory_admin_secret(struct directory *d, int64_t now_wall_ms,
                                         char ret[PASSWORD_GENERATED_BYTES]);
/* directory_admin_login - uses the secret up. ERR_AUTH, ERR_EXPIRED. */
MUST_USE enum err directory_admin_login(struct directory *d, struct slice presented,
                                        int64_t now_wall_ms);

#endif
