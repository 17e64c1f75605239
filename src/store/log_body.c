/* One body, by id: what waited on disk is needed again. */
#include "store/log_private.h"

/* Files of old segments are opened to be read; the last one stays open, for who reads one body
 * reads the next. */
static void keep_one_open(struct log *l, uint32_t segment, bool was_open)
{
    if (segment == l->body_segment) {
        return;
    }
    struct seg *before = log_seg_find(l, l->body_segment);
    if (before != NULL && before != log_current(l)) {
        log_seg_close(l, before); /* the cleaner opens what it needs */
    }
    l->body_segment = was_open ? 0 : segment;
}

static void say_damaged(struct log *l, struct place place, const char *what)
{
    l->counts.damaged++;
    log_damage_event(l, place.segment, place.offset, what, NULL);
}

static enum err body_locked(struct log *l, uint64_t id, struct buf *scratch,
                            struct journal_body *ret)
{
    struct place place = index_body(l->index, id);
    struct seg *s = place.segment != 0 ? log_seg_find(l, place.segment) : NULL;
    struct record_head h = {0};
    struct slice content;
    if (s == NULL) {
        return ERR_NOT_FOUND;
    }
    bool was_open = s->file != NULL;
    enum err err = log_read(l, place, scratch, &h, &content);
    keep_one_open(l, place.segment, was_open);
    if (err == ERR_CRYPTO) {
        say_damaged(l, place, "a message that waits was readable and is not any more; it is lost");
    }
    TRY(err);
    if (h.kind != JOURNAL_BODY || journal_body_read(content, ret) != OK || ret->id != id) {
        say_damaged(l, place, "a message that waits verifies and does not decode; it is lost");
        return ERR_CRYPTO;
    }
    return OK;
}

MUST_USE enum err log_body(struct log *l, uint64_t id, struct buf *scratch,
                           struct journal_body *ret)
{
    (void)pthread_mutex_lock(&l->lock);
    enum err err = body_locked(l, id, scratch, ret);
    (void)pthread_mutex_unlock(&l->lock);
    return err;
}
