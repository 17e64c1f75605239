/*
 * credential - one way in which a principal proves who it is. Immutable and shared, except for the
 * time of its last use.
 */
#ifndef SERVICE_DIRECTORY_CREDENTIAL_H
#define SERVICE_DIRECTORY_CREDENTIAL_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"
#include "security/crypto/digest.h"
#include "security/crypto/serial.h"
#include "security/password/password.h"
#include "security/password/psk.h"
#include "security/password/scram.h"
#include "service/directory/oscore_secret.h"

/* What a PSK identity begins with that is no device's name: no name can. */
#define CREDENTIAL_OPAQUE "~"
enum { CREDENTIAL_IDENTITY_BYTES = 18 }; /* CREDENTIAL_OPAQUE, 16 characters, NUL */

enum credential_kind {
    CREDENTIAL_X509,
    CREDENTIAL_PASSWORD,
    CREDENTIAL_PSK,
    CREDENTIAL_SCRAM,
    CREDENTIAL_OSCORE,
    CREDENTIAL_KINDS
};

#define CREDENTIAL_NEVER INT64_MAX

struct credential_guard;

struct credential {
    atomic_uint refs;
    uint64_t id; /* never reused */
    enum credential_kind kind;
    int64_t created_wall_ms;
    int64_t expires_wall_ms;      /* first moment it is refused; CREDENTIAL_NEVER */
    _Atomic int64_t used_wall_ms; /* 0: never; any thread, see credential_used */
    int64_t kept_wall_ms;         /* the writer's: what of credential_touched is saved */
    struct digest fingerprint;    /* keyed hash of the secret: one secret, one owner */
    struct digest spki;           /* CREDENTIAL_X509 */
    union {
        char phc[PASSWORD_PHC_BYTES]; /* CREDENTIAL_PASSWORD */
        /* CREDENTIAL_PSK: what the device calls itself on the wire; empty: its name */
        char identity[CREDENTIAL_IDENTITY_BYTES];
        struct {
            struct scram_salt salt;
            struct scram_keys keys;
        } scram;               /* CREDENTIAL_SCRAM */
        struct oscore_kid kid; /* CREDENTIAL_OSCORE: what the device calls itself */
        struct {
            struct serial serial;    /* n 0: not known */
            uint8_t reason;          /* enum crl_reason */
            int64_t revoked_wall_ms; /* 0: it is not */
        } cert;                      /* CREDENTIAL_X509 */
    };
    const struct credential_guard
        *guard; /* CREDENTIAL_PSK, CREDENTIAL_OSCORE: hides what follows */
    uint8_t psk_hidden[PSK_KEY_MAX];
    size_t psk_n;
    atomic_bool
        is_passed_over; /* CREDENTIAL_PSK, see credential_pass_over; any thread, not saved */
    _Atomic int64_t left_wall_ms; /* when what came in by it ended last; 0: never; any thread */
    _Atomic int64_t silence_ms;   /* the longest time from such an end to the next use; the same */
    /* Of a rotation that waits for its device: when this one was used, those before it of its kind
     * end tail_ms later; before_wall_ms is the end that the one before it had. */
    bool is_unconfirmed;
    int64_t tail_ms, before_wall_ms;
};

const struct credential *credential_ref(const struct credential *c);
const struct credential *credential_unref(const struct credential *c);
/* credential_kind_name - "x509", "password", "psk", "scram", "oscore". */
const char *credential_kind_name(enum credential_kind k);
/* credential_kind_find - by name; false when there is none. */
bool credential_kind_find(struct slice name, enum credential_kind *ret);
/* credential_is_live - not expired at this time. */
bool credential_is_live(const struct credential *c, int64_t now_wall_ms);
/* credential_opaque - a PSK identity that nobody has and that says nothing: 96 random bits. */
void credential_opaque(const struct random_source *random, char ret[CREDENTIAL_IDENTITY_BYTES]);
/* credential_waits - its rotation is not confirmed: the device has not used it yet. */
bool credential_waits(const struct credential *c);
/* credential_is_revoked - a certificate that was taken back; it is not live either. */
bool credential_is_revoked(const struct credential *c);
/* credential_pass_over - of two keys of one identity this newer one is not the one whose turn it
 * is. Safe from any thread; forgotten with the next change of the credential. */
void credential_pass_over(const struct credential *c, bool is_passed_over);
bool credential_is_passed_over(const struct credential *c);
/* credential_psk - the key of a CREDENTIAL_PSK in the clear, into dst; the caller wipes it, all of
 * it: behind *ret_n bytes there is the mask. *ret_n is 0 for another kind, and for NULL, which is
 * nobody's: asked about all the same, so that unknown and wrong identities cost the same.
 * ERR_CRYPTO. A few microseconds: once for a handshake.
 *
 * In memory the keys of a whole fleet are hidden by masks derived from one secret in locked memory
 * (a page for each would cost more than the device's session), so a core dump or a swapped page
 * gives none away. */
MUST_USE enum err credential_psk(const struct credential *c, uint8_t dst[PSK_KEY_MAX],
                                 size_t *ret_n);
/* credential_oscore - what an OSCORE context of a CREDENTIAL_OSCORE is made of; the caller wipes
 * it. ERR_NOT_FOUND: another kind, or NULL, at the same cost. ERR_CRYPTO. */
MUST_USE enum err credential_oscore(const struct credential *c, struct oscore_secret *ret);
/* credential_left - a connection or association that came in by it has ended; safe from any thread.
 * Who was cut off by a crash did not leave: how long it was silent is not known then. */
void credential_left(const struct credential *c, int64_t now_wall_ms);
/* credential_touched - when one of both was last: what changes without a change of the directory.
 */
int64_t credential_touched(const struct credential *c);
/* credential_used - remembers the time of a successful login, and the longest time without one;
 * safe from any thread, lost by a crash
 * before directory_keep_uses or the principal's next change. */
void credential_used(const struct credential *c, int64_t now_wall_ms);

#endif
