/*
 * undo - what `retained purge` takes away, kept for a day so that it can be put back:
 * DIR/undo/ID.PART, sealed under the root key, each message in it under its publisher's, so that
 * `device remove` makes it unreadable here, too. No backup has it.
 */
#ifndef SERVICE_ADMIN_UNDO_H
#define SERVICE_ADMIN_UNDO_H

#include "core/msg.h"
#include "service/admin/admin.h"

enum {
    UNDO_KEPT = 10,     /* purges; an older one is dropped for a new one */
    UNDO_DAY_S = 86400, /* after which one is dropped */
    UNDO_PARTS_MAX = 100000
};

/* undo_begin - drops what is too old or too much; *ret is the id of a new one: the wall time in
 * seconds, or the next that is free. ERR_IO, ERR_SPACE. */
MUST_USE enum err undo_begin(const struct admin_setup *s, uint64_t *ret);
/* undo_sweep - drops what is too old. */
void undo_sweep(const struct admin_setup *s);
/* undo_save - part (from 1) of id, durable. A message whose publisher has no key any more is not
 * kept: *ret_kept is how many are. Errors of the disk, ERR_NOMEM, ERR_CRYPTO: there is no such
 * part.
 */
MUST_USE enum err undo_save(const struct admin_setup *s, uint64_t id, unsigned part,
                            struct msg *const *msgs, size_t n, size_t *ret_kept);
/* undo_load - up to cap messages of a part, owned by the caller; those whose publisher was removed
 * meanwhile are passed over. ERR_NOT_FOUND: there is no such part. ERR_CRYPTO and what a broken
 * record gives: damaged; *ret_n is 0 then. */
MUST_USE enum err undo_load(const struct admin_setup *s, uint64_t id, unsigned part,
                            struct msg **msgs, size_t cap, size_t *ret_n);
bool undo_has(const struct admin_setup *s, uint64_t id);
/* undo_drop - all parts of it. */
void undo_drop(const struct admin_setup *s, uint64_t id);

#endif
