/*
 * The cleaner empties the oldest segment: what is alive in it is read, and goes into the next batch
 * once more; when that is committed nothing refers to the file. Also: room for the next segments.
 */
#include "base/mem.h"
#include "store/log_private.h"
#include "store/segment_private.h"

enum { COPY_SLACK = 1024 /* links, and the log's own entry */ };

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- whether ---- */

static struct seg *oldest(struct log *l)
{
    size_t n_closed = l->n_segs - (l->has_current ? 1 : 0);
    bool is_free = n_closed > 0 && (l->n_pins == 0 || l->segs[0].head.number > l->pinned);
    return is_free ? &l->segs[0] : NULL;
}

static uint64_t used_bytes(const struct log *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n_segs; i++) {
        n += l->segs[i].used - SEGMENT_HEAD_BYTES; /* a header is no garbage */
    }
    return n;
}

/* What the living ones and the garbage lie in. The end of a closed segment stays empty, so it is
 * garbage; what is still to be written and what was made ahead are none. */
static uint64_t taken_bytes(const struct log *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n_segs; i++) {
        bool is_current = l->has_current && i == l->n_segs - 1;
        n += is_current ? l->segs[i].used : l->segs[i].head.bytes;
    }
    return n;
}

/* Copying needs room before it gives any; what is in reach must take all of the segment. */
static bool has_room_for(const struct log *l, uint64_t living)
{
    const struct seg *s = l->has_current ? &l->segs[l->n_segs - 1] : NULL;
    uint64_t room = s != NULL ? s->head.bytes - s->used : 0;
    return living + living / 8 + COPY_SLACK <= room + l->n_ready * l->handover_max;
}

static bool is_worth(const struct log *l, uint64_t living)
{
    uint64_t all = index_living_all(l->index);
    if (!has_room_for(l, living)) {
        return false;
    }
    if (l->no_room || l->trouble == ERR_SPACE) {
        /* Going once through all of it must give a segment, else it would go round for ever. */
        return used_bytes(l) > all + l->setup.segment_bytes;
    }
    /* The second comparison makes each pass smaller than the one before: where nothing dies,
     * nothing is copied. */
    return log_disk_bytes(l) > l->setup.keep_bytes && taken_bytes(l) > 2 * all;
}

/* ---- reading a piece ---- */

static enum err keep_living(struct log *l, struct place place, const struct record_head *h,
                            struct slice content)
{
    enum journal_kind kind = (enum journal_kind)h->kind;
    struct item *item =
        h->kind < JOURNAL_KIND_END ? index_find(l->index, kind, content, place) : NULL;
    if (item == NULL) {
        return OK;
    }
    index_let_go(l->index, item); /* it is asked for again when the batch is made */
    if (l->copies == NULL) {
        TRY(chunk_new(&l->copies));
        l->copies->writer = LOG_OWN;
    }
    TRY(chunk_add(l->copies, kind, h->owner, content, (struct slice){0}));
    l->copies->frames[l->copies->n_frames - 1].place = place;
    return OK;
}

/* A stretch that does not verify was most likely named when the log was opened; if the damage is
 * new, this is who finds it. */
static void note_damage(struct log *l, struct place place, const struct record_head *head)
{
    if (!l->is_in_damage) {
        index_lost(l->index, place);
        l->counts.damaged++;
        log_damage_event(l, place.segment, place.offset,
                         "while cleaning: a stored record does not verify; it is lost, the others "
                         "are kept. Check the disk, restore a backup if the loss matters",
                         head);
    }
    l->is_in_damage = l->has_clean_damage = true;
    l->clean_at += RECORD_ALIGN;
}

/* Where the cleaner reads: a stretch of the segment, read at once. */
struct stretch {
    struct seg *seg;
    struct sealer *sealer;
    uint32_t at;
    struct buf raw, scratch;
};

static void stretch_done(struct stretch *t)
{
    buf_wipe(&t->raw);
    buf_wipe(&t->scratch);
}

static enum err open_record(struct log *l, struct stretch *t, struct place place,
                            const struct record_found *r, struct slice *ret)
{
    struct slice bytes = slice_from(buf_slice(&t->raw), place.offset - t->at);
    if (bytes.n < place.bytes) { /* longer than what was read */
        struct record_head ignored;
        return record_read(t->sealer, l->setup.disk, t->seg->file, place, &t->scratch, &ignored,
                           ret);
    }
    uint8_t *room = NULL;
    size_t n = 0;
    buf_clear(&t->scratch);
    TRY(buf_room(&t->scratch, place.bytes, SIZE_MAX, &room));
    TRY(record_open(t->sealer, place.segment, place.offset, r, slice_head(bytes, place.bytes), room,
                    &n));
    *ret = slice_of(room, n);
    return OK;
}

/* One record, or one step over what is none. ERR_AGAIN: the next batch is full. */
static enum err clean_record(struct log *l, struct stretch *t)
{
    struct record_found r;
    struct slice raw = slice_from(buf_slice(&t->raw), l->clean_at - t->at);
    struct place place = {t->seg->head.number, l->clean_at, 0};
    if (!record_find(t->sealer, place.segment, place.offset, raw, &r) ||
        r.head.bytes > t->seg->used - place.offset) {
        note_damage(l, place, NULL);
        return OK;
    }
    place.bytes = r.head.bytes;
    if (l->copies != NULL && l->copies->sealed_bytes + place.bytes > l->handover_max / 2) {
        return ERR_AGAIN;
    }
    struct slice content;
    enum err err = open_record(l, t, place, &r, &content);
    if (err == ERR_CRYPTO) {
        note_damage(l, place, &r.head);
        l->clean_at = place.offset + place.bytes;
        l->is_in_damage = false;
        return OK;
    }
    if (err == OK) {
        TRY(keep_living(l, place, &r.head, content));
    } else if (err == ERR_NOT_FOUND) { /* its owner was removed: gone for good */
        index_lost(l->index, place);
    } else {
        return err;
    }
    l->is_in_damage = false;
    l->clean_at += place.bytes;
    return OK;
}

static enum err clean_piece(struct log *l, struct seg *s)
{
    AUTO(stretch_done) struct stretch t = {.seg = s, .at = l->clean_at};
    uint8_t *p = NULL;
    size_t n = (size_t)least(LOG_PIECE_BYTES, s->used - t.at);
    TRY(log_seg_open(l, s));
    TRY(log_reader(l, s->head.salt, &t.sealer));
    TRY(buf_room(&t.raw, n, SIZE_MAX, &p));
    TRY(l->setup.disk->ops->read_at(s->file, t.at, p, n, &t.raw.n));
    bool is_last = t.at + t.raw.n >= s->used || t.raw.n < n;
    /* A header may be cut at the end of the stretch; the next one begins with it. */
    size_t ahead = is_last ? RECORD_HEAD_BYTES : RECORD_HEAD_BYTES + RECORD_LINK_BYTES;
    while (l->clean_at - t.at + ahead <= t.raw.n) {
        TRY(clean_record(l, &t));
    }
    l->is_clean_passed = is_last;
    return OK;
}

/* ---- taking it away ---- */

static bool take_away(struct log *l, struct seg *s)
{
    if (l->meta_segment <= s->head.number) {
        l->must_meta = true; /* the ids in use must be on record in what stays */
        return true;
    }
    log_readers_done(l);
    return log_remove_oldest(l) == OK;
}

/* All of it was read, and the copies are committed, and still something counts as alive here. */
static bool after_pass(struct log *l, struct seg *s)
{
    if (l->has_clean_damage) {
        return take_away(l, s);
    }
    if (l->stuck_segment != s->head.number) {
        l->stuck_segment = s->head.number;
        log_damage_event(l, s->head.number, 0,
                         "the cleaner cannot find what counts as alive here; the segment is kept. "
                         "Make a backup and report this",
                         NULL);
    }
    return false;
}

bool log_clean(struct log *l)
{
    if (l->copies != NULL || l->must_meta) {
        return l->trouble == OK; /* a commit comes first */
    }
    struct seg *s = oldest(l);
    if (s == NULL || l->batch.first != NULL || (l->trouble != OK && l->trouble != ERR_SPACE) ||
        l->stuck_segment == s->head.number) {
        return false;
    }
    uint64_t living = index_living(l->index, s->head.number);
    if (living == 0) {
        return take_away(l, s) && l->trouble == OK;
    }
    if (!is_worth(l, living)) {
        return false;
    }
    if (l->clean_segment != s->head.number) {
        l->clean_segment = s->head.number;
        l->clean_at = SEGMENT_HEAD_BYTES;
        l->is_clean_passed = l->has_clean_damage = l->is_in_damage = false;
    }
    if (l->is_clean_passed) {
        return after_pass(l, s);
    }
    enum err err = clean_piece(l, s);
    return err == OK || err == ERR_AGAIN;
}

/* ---- the log thread's other work ---- */

/* One file at a time: making it takes a millisecond, and commits wait. */
static uint64_t tend_room(struct log *l, uint64_t now_ms)
{
    if (l->n_ready == LOG_READY || l->renew_segment != 0) {
        return UINT64_MAX;
    }
    if (now_ms < l->room_at_ms) {
        return l->room_at_ms;
    }
    enum err err = log_ready(l);
    l->cannot_make = err != OK;
    if (err != OK) {
        l->no_room = err == ERR_SPACE;
        l->room_at_ms = now_ms + LOG_RETRY_MS;
        return l->room_at_ms;
    }
    if (l->trouble == ERR_SPACE) {
        l->retry_at_ms = now_ms;
    }
    if (l->n_ready < LOG_READY) {
        return now_ms;
    }
    l->no_room = false;
    return UINT64_MAX;
}

void log_see_space(struct log *l)
{
    uint64_t total = 0, free_bytes = 0;
    if (l->setup.disk->ops->space(l->setup.disk, STORE_DIR, &total, &free_bytes) == OK) {
        l->counts.free_bytes = free_bytes;
    }
}

void log_tend(struct log *l, uint64_t now_ms, uint64_t *ret_at_ms)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t at = tend_room(l, now_ms);
    if (now_ms >= l->space_at_ms) {
        log_see_space(l);
        l->space_at_ms = now_ms + LOG_RETRY_MS;
    }
    size_t n_before = l->n_segs;
    if (log_clean(l)) {
        at = now_ms;
    } else if (oldest(l) != NULL && l->no_room) {
        at = least(at, now_ms + LOG_RETRY_MS);
    }
    if (l->n_segs < n_before && l->n_ready < LOG_READY) {
        l->room_at_ms = at = now_ms; /* what was removed may be taken again */
    }
    if (l->trouble != OK) {
        at = least(at, l->retry_at_ms);
    } else if (l->is_held) {
        at = least(at, now_ms + LOG_LOOK_MS);
    } else if (log_has_left(l)) { /* more than one batch takes */
        at = least(at, now_ms + (l->is_starved ? LOG_STARVED_MS : 0));
    }
    log_account(l);
    (void)pthread_mutex_unlock(&l->lock);
    *ret_at_ms = at;
}
