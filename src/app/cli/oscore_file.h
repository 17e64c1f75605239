/*
 * oscore_file - what our own client reads and keeps of an OSCORE context: the oscore.json of a
 * bundle, and the record of which numbers were used. Text in, values out; no I/O.
 */
#ifndef APP_CLI_OSCORE_FILE_H
#define APP_CLI_OSCORE_FILE_H

#include "base/buf.h"
#include "engine/oscore_context.h"

enum { OSCORE_FILE_MAX = 4096, OSCORE_MARK_CHARS = 16 };

/* Secret: wipe it. */
struct oscore_given {
    uint8_t secret[OSCORE_SECRET_MAX], salt[OSCORE_SALT_MAX];
    size_t secret_n, salt_n;
    struct oscore_id sender, recipient;
};

void oscore_given_wipe(struct oscore_given *g);
/* oscore_given_read - an oscore.json. ERR_MALFORMED: not of that form; ERR_UNSUPPORTED: another
 * algorithm or hash, or an ID context of its own; ERR_DENIED: a secret that is too short, or both
 * ids the same. Unknown names are passed over. */
MUST_USE enum err oscore_given_read(struct slice text, struct oscore_given *ret);
/* oscore_given_material - for oscore_client_new; borrows from g. */
struct oscore_material oscore_given_material(const struct oscore_given *g);
/* oscore_given_mark - names the context, and tells nothing of its secret. ERR_CRYPTO. */
MUST_USE enum err oscore_given_mark(const struct oscore_given *g, char dst[OSCORE_MARK_CHARS + 1]);

/* Which numbers may be used next, under which context, by whom. */
struct oscore_record {
    char mark[OSCORE_MARK_CHARS + 1];  /* of the context */
    char place[OSCORE_MARK_CHARS + 1]; /* where the record was made: in a copy it is worthless */
    uint8_t id_context[OSCORE_ID_CONTEXT_MAX];
    size_t id_context_n;
    uint64_t next;
};

/* oscore_record_read - ERR_MALFORMED: anything but what oscore_record_write makes. */
MUST_USE enum err oscore_record_read(struct slice text, struct oscore_record *ret);
/* oscore_record_write - appended to ret. ERR_NOMEM. */
MUST_USE enum err oscore_record_write(const struct oscore_record *r, struct buf *ret);

#endif
