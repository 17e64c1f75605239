/*
 * directory_record - what the directory keeps in the log, one entry each, as JSON text.
 *
 * Table PRINCIPAL, by principal id and under its own key:
 *   {"id", "epoch", "created", "name", "role", "status", "reason", "attrs":{...},
 * "credentials":[...], "gateway": id of another, where one is assigned, "answers": where any runs
 * (answer_record.c)} Table EXCEPTION, by its id:
 *   {"id", "listener", "allow", "role", "reason", "created", "ends"}
 * Table META, HEAD_ID:
 *   {"epoch", "policy_epoch", "next":{principal, credential, exception}, "admin":{phc, expires},
 *    "fingerprints": key, "exceptions":[ids in force], "erase":[ids whose keys are to go]}
 * Table META, ROSTER_ID + n: of the principals 64 n .. 64 n + 63 the epoch of the newest entry,
 * 0 where there is none:
 *   {"epoch", "epochs":[64 numbers]}
 * Times are wall milliseconds; digests, keys, salts and PSKs hexadecimal; a credential that never
 * ends has no "expires". What came later stands in its "life", where there is any of it
 * (directory_record_life.c): {"silence", "left", "tail", "before", "identity"}.
 *
 * Writers append to *ret, which the caller wipes: ERR_NOMEM, ERR_TOO_LARGE. Readers check every
 * member; unknown and missing ones are ERR_CONFIG; ERR_NOMEM, ERR_CRYPTO.
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_RECORD_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_RECORD_PRIVATE_H

#include <jansson.h>

#include "base/buf.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory_version_private.h"

enum {
    RECORD_TEXT_MAX = 1024 * 1024, /* of one entry */
    RECORD_ERASE_MAX = 32 * 1024,  /* ids in "erase" */
    FINGERPRINT_KEY_BYTES = 32,
    ROSTER_PAGE = 64
};
#define HEAD_ID   UINT64_C(1)
#define ROSTER_ID (UINT64_C(1) << 32)

/* A list of ids. { 0 } is an empty one. */
struct id_list {
    uint64_t *p;
    size_t n, cap;
};
MUST_USE enum err id_list_add(struct id_list *l, uint64_t id);
bool id_list_has(const struct id_list *l, uint64_t id);
void id_list_done(struct id_list *l);

struct directory_head {
    uint64_t epoch, policy_epoch, next_principal, next_credential, next_exception;
    char admin_phc[PASSWORD_PHC_BYTES];
    int64_t admin_expires_wall_ms;
    uint8_t fingerprint_key[FINGERPRINT_KEY_BYTES];
    uint64_t exceptions[DIRECTORY_EXCEPTIONS_MAX];
    size_t n_exceptions;
    struct id_list erase;
};
/* directory_head_done - wipes and releases. */
void directory_head_done(struct directory_head *h);

struct roster_page {
    uint64_t page, epoch;
    uint64_t epochs[ROSTER_PAGE];
};

MUST_USE enum err principal_record_write(const struct directory_entry *e, struct buf *ret);
/* principal_record_read - shares guard. */
MUST_USE enum err principal_record_read(struct slice text, const struct credential_guard *guard,
                                        const struct directory_entry **ret);
MUST_USE enum err exception_record_write(const struct directory_exception *e, struct buf *ret);
MUST_USE enum err exception_record_read(struct slice text, struct directory_exception *ret);
MUST_USE enum err head_record_write(const struct directory_head *h, struct buf *ret);
/* head_record_read - the caller calls directory_head_done. */
MUST_USE enum err head_record_read(struct slice text, struct directory_head *ret);
MUST_USE enum err roster_record_write(const struct roster_page *p, struct buf *ret);
/* roster_record_read - all but `page`, which the entry's id says. */
MUST_USE enum err roster_record_read(struct slice text, struct roster_page *ret);

/* ---- which certificate a credential is, and whether it was revoked: member "cert", which records
 * of former versions do not have (certificate_record.c) ---- */

/* certificate_to_json - adds it to the credential's object, when there is something to say. false:
 * no memory. */
bool certificate_to_json(const struct credential *c, json_t *object);
MUST_USE enum err certificate_from_json(json_t *json, struct credential *c);

/* ---- the answers that run for a principal: member "answers", of who has any (answer_record.c).
 * Each: {"id", "kind", "since", "until" when there is an end, "by", "reason"} ---- */

/* answers_to_json - NULL: no memory. answers_from_json - json NULL: none. ERR_CONFIG. */
json_t *answers_to_json(const struct directory_entry *e);
MUST_USE enum err answers_from_json(const json_t *json,
                                    struct directory_answer ret[DIRECTORY_ANSWERS_MAX],
                                    size_t *ret_n);

/* ---- parts that the file of former versions shares (directory_file.c) ---- */

MUST_USE enum err record_parse(struct slice text, json_t **ret);
/* record_forget - overwrites the members that hold secrets, in the whole tree, and releases it. */
void record_forget(json_t *json);
static inline void record_autofree(json_t **json)
{
    record_forget(*json);
}
/* life_to_json - NULL with OK: there is nothing to say. ERR_NOMEM. */
MUST_USE enum err life_to_json(const struct credential *c, json_t **ret);
/* life_from_json - NULL: a record of before. ERR_CONFIG. */
MUST_USE enum err life_from_json(json_t *json, struct credential *c);
MUST_USE enum err principal_from_json(json_t *json, const struct credential_guard *guard,
                                      const struct directory_entry **ret);
MUST_USE enum err exception_from_json(json_t *json, struct directory_exception *ret);

#endif
