/*
 * Batches. What was handed over is applied to the index in order, what died inside the batch is
 * left out, the rest is sealed, written and synced at once. From `is_built` on the batch is fixed:
 * when its write or sync fails the very same records are sealed again, with new numbers, into a
 * fresh segment, whose link says that nothing behind the last committed batch counts.
 */
#include <assert.h>

#include "base/plant.h"
#include "store/log_private.h"

enum {
    SEALED_KEPT = 1024 * 1024,
    FRAMES_AHEAD = 8 /* time enough for what the index fetches */
};

/* ---- what goes into it ---- */

void log_take_handed(struct log *l)
{
    (void)pthread_mutex_lock(&l->inbox);
    struct chunks handed = l->handed;
    l->handed = (struct chunks){0};
    l->is_called = false;
    (void)pthread_mutex_unlock(&l->inbox);
    if (handed.first == NULL) {
        return;
    }
    if (l->pending.last != NULL) {
        l->pending.last->next = handed.first;
    } else {
        l->pending.first = handed.first;
    }
    l->pending.last = handed.last;
}

bool log_has_left(const struct log *l)
{
    return l->pending.first != NULL || l->batch.first != NULL || l->copies != NULL || l->must_meta;
}

bool log_has_work(struct log *l)
{
    (void)pthread_mutex_lock(&l->inbox);
    bool is_handed = l->handed.first != NULL;
    (void)pthread_mutex_unlock(&l->inbox);
    return is_handed || log_has_left(l);
}

static struct chunk *chunks_remove(struct chunks *q, unsigned writer, uint64_t last_lsn)
{
    struct chunks kept = {0};
    struct chunk *c = NULL, *found = NULL;
    while ((c = chunks_pop(q)) != NULL) {
        if (c->writer == writer && c->last_lsn == last_lsn) {
            found = c;
        } else {
            chunks_push(&kept, c);
        }
    }
    *q = kept;
    return found;
}

bool log_withdraw(struct log *l, unsigned writer, uint64_t last_lsn)
{
    log_take_handed(l);
    struct chunk *c = chunks_remove(&l->pending, writer, last_lsn);
    if (c == NULL) {
        return false;
    }
    atomic_fetch_sub_explicit(&l->outstanding, c->sealed_bytes, memory_order_relaxed);
    log_chunk_done(l, c);
    return true;
}

/* Bytes of records that the current segment still takes in one batch. */
static uint64_t batch_room(struct log *l)
{
    const struct seg *s = log_current(l);
    uint64_t left = s != NULL ? s->head.bytes - s->used : 0;
    uint64_t own = RECORD_LINK_BYTES + RECORD_ALIGN + RECORD_HEAD_BYTES + RECORD_TAG_BYTES +
                   JOURNAL_HEAD_MAX + LOG_META_BYTES;
    return left > own ? left - own : 0;
}

/* Handovers never straddle batches, batches never straddle segments. */
static enum err choose(struct log *l, uint64_t *ret_left)
{
    uint64_t need = l->pending.first != NULL ? l->pending.first->sealed_bytes
                    : l->copies != NULL      ? l->copies->sealed_bytes
                                             : 0;
    if (!l->has_current || batch_room(l) == 0 || need > batch_room(l)) {
        TRY(log_roll(l));
    }
    uint64_t left = batch_room(l);
    assert(need <= left);
    uint64_t taken = 0;
    size_t n = l->n_front > 0 ? l->n_front : SIZE_MAX;
    for (; l->pending.first != NULL && n > 0; n--) {
        uint64_t bytes = l->pending.first->sealed_bytes;
        if (bytes > left || (taken > 0 && taken + bytes > LOG_BATCH_BYTES)) {
            break;
        }
        left -= bytes;
        taken += bytes;
        chunks_push(&l->batch, chunks_pop(&l->pending));
    }
    l->n_front = 0;
    *ret_left = left;
    return OK;
}

MUST_USE enum err log_apply_chunk(struct log *l, struct chunk *c)
{
    for (size_t i = 0; i < c->n_frames; i++) {
        struct frame *f = &c->frames[i];
        if (i + FRAMES_AHEAD < c->n_frames) {
            const struct frame *later = &c->frames[i + FRAMES_AHEAD];
            index_expect(l->index, (enum journal_kind)later->kind, chunk_content(c, later));
        }
        if (!f->is_applied) {
            f->item = f->ended = NULL;
            enum err err = index_apply(l->index, (enum journal_kind)f->kind, chunk_content(c, f),
                                       (struct place){0}, &f->item, &f->ended);
            if (err == ERR_NOMEM) {
                return err;
            }
            /* What a worker hands over is well-formed: acknowledging what no restart understands
             * would be a lie. */
            assert(err == OK);
            f->is_applied = true;
        }
    }
    return OK;
}

bool log_frame_is_needed(const struct frame *f)
{
    if (f->is_over) {
        return false;
    }
    if (f->item != NULL) {
        return index_is_alive(f->item);
    }
    return f->ended == NULL || index_is_alive(f->ended);
}

static size_t decide_chunk(struct chunk *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_frames; i++) {
        struct frame *f = &c->frames[i];
        f->is_written = f->is_copy || log_frame_is_needed(f);
        n += f->is_written ? 1 : 0;
    }
    return n;
}

static void let_go(struct log *l, struct chunk *copies)
{
    for (size_t i = 0; i < copies->n_frames; i++) {
        index_let_go(l->index, copies->frames[i].item);
    }
}

static enum err add_copy(struct log *l, struct chunk *out, struct item *item, const struct frame *f)
{
    AUTO(buf_wipe) struct buf content = {0};
    enum journal_kind kind = (enum journal_kind)f->kind;
    TRY(index_rewrite(l->index, item, kind, chunk_content(l->copies, f), &content));
    TRY(chunk_add(out, kind, f->owner, buf_slice(&content), (struct slice){0}));
    struct frame *copy = &out->frames[out->n_frames - 1];
    copy->item = item;
    copy->is_applied = copy->is_written = copy->is_copy = true;
    return OK;
}

/* The cleaner's records as they are now: what died since it read them is left out. */
static enum err add_copies(struct log *l, uint64_t left)
{
    if (l->copies == NULL || l->copies->sealed_bytes > left) {
        return OK;
    }
    AUTO(chunk_autofree) struct chunk *out = NULL;
    TRY(chunk_new(&out));
    out->writer = LOG_OWN;
    for (size_t i = 0; i < l->copies->n_frames; i++) {
        const struct frame *f = &l->copies->frames[i];
        struct item *item =
            index_find(l->index, (enum journal_kind)f->kind, chunk_content(l->copies, f), f->place);
        enum err err = item != NULL ? add_copy(l, out, item, f) : OK;
        if (err != OK) {
            index_let_go(l->index, item);
            let_go(l, out);
            return err;
        }
    }
    l->n_writes += out->n_frames;
    l->copies = chunk_free(l->copies);
    chunks_push(&l->batch, TAKE(out));
    return OK;
}

static enum err add_meta(struct log *l)
{
    int64_t age_ms = l->setup.clock.wall_ms(l->setup.clock.ctx) - l->meta_wall_ms;
    bool is_old = age_ms >= LOG_WALL_MS || age_ms < 0;
    if (!l->must_meta && (l->n_writes == 0 || (!l->wants_meta && !is_old))) {
        return OK;
    }
    AUTO(chunk_autofree) struct chunk *c = NULL;
    TRY(log_meta_chunk(l, l->is_closing, &c));
    TRY(log_apply_chunk(l, c));
    c->frames[0].is_written = true;
    l->n_writes++;
    chunks_push(&l->batch, TAKE(c));
    l->wants_meta = l->must_meta = false;
    return OK;
}

/* Every step can be taken again after ERR_NOMEM; what was applied is not applied twice. */
static enum err build(struct log *l)
{
    uint64_t left = 0;
    if (l->batch.first == NULL) {
        TRY(choose(l, &left));
    }
    for (struct chunk *c = l->batch.first; c != NULL; c = c->next) {
        TRY(log_apply_chunk(l, c));
    }
    l->n_writes = 0;
    for (struct chunk *c = l->batch.first; c != NULL; c = c->next) {
        l->n_writes += decide_chunk(c);
    }
    TRY(add_copies(l, left));
    TRY(add_meta(l));
    l->is_built = true;
    return OK;
}

/* ---- writing it ---- */

static enum err seal_batch(struct log *l, struct seg *s)
{
    size_t n = 0;
    buf_clear(&l->sealed);
    for (struct chunk *c = l->batch.first; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->n_frames; i++) {
            struct frame *f = &c->frames[i];
            if (!f->is_written) {
                continue;
            }
            n++;
            unsigned flags = (n == 1 ? RECORD_FIRST : 0u) | (n == l->n_writes ? RECORD_LAST : 0u) |
                             (f->is_copy ? RECORD_COPY : 0u);
            struct record_head head = {
                .kind = f->kind, .flags = (uint8_t)flags, .owner = f->owner, .number = ++l->number};
            TRY(record_seal(l->sealer, s->head.number, s->used, &head, n == 1 ? &l->link : NULL,
                            chunk_content(c, f), (struct slice){0}, &l->sealed, &f->place));
        }
    }
    return OK;
}

static enum err write_batch(struct log *l)
{
    if (!l->has_current) {
        TRY(log_roll(l));
    }
    struct seg *s = log_current(l);
    TRY(seal_batch(l, s));
    struct disk *d = l->setup.disk;
    uint64_t start_us = l->setup.clock.mono_us(l->setup.clock.ctx);
    enum err err = d->ops->write_at(s->file, s->used, buf_slice(&l->sealed));
    if (err == OK && !PLANTED(PLANT_NO_FDATASYNC)) {
        err = d->ops->sync(s->file);
    }
    if (err != OK) {
        log_give_up(l);
        return err == ERR_SPACE ? ERR_SPACE : ERR_IO;
    }
    l->is_spared = false;
    uint64_t us = l->setup.clock.mono_us(l->setup.clock.ctx) - start_us;
    l->counts.sync_us += us;
    l->sync_us_x16 += us - l->sync_us_x16 / LOG_MEAN;
    s->used += (uint32_t)l->sealed.n;
    l->link = (struct batch_link){.segment = s->head.number, .offset = s->used};
    return OK;
}

/* ---- after it ---- */

static void settle_frame(struct log *l, const struct frame *f)
{
    l->counts.elided += f->is_written ? 0 : 1;
    if (f->item == NULL) {
        return;
    }
    if (!f->is_written) {
        index_let_go(l->index, f->item);
    } else if (f->is_copy) {
        index_moved(l->index, f->item, f->place);
        l->counts.cleaned_bytes += f->place.bytes;
    } else {
        index_placed(l->index, f->item, f->place);
    }
}

static void note_meta(struct log *l, const struct chunk *c)
{
    struct log_meta m;
    const struct frame *f = &c->frames[0];
    if (!f->is_copy && log_meta_read((enum journal_kind)f->kind, chunk_content(c, f), &m)) {
        l->meta_wall_ms = m.wall_ms;
        l->meta_segment = f->place.segment;
    }
}

uint64_t log_chunk_commit(struct log *l, struct chunk *c)
{
    uint64_t moved = c->writer < l->setup.n_writers ? (uint64_t)1 << c->writer : 0;
    for (size_t i = 0; i < c->n_frames; i++) {
        settle_frame(l, &c->frames[i]);
    }
    if (c->writer == LOG_OWN) {
        if (c->n_frames > 0) {
            note_meta(l, c);
        }
        chunk_free(c);
        return 0;
    }
    atomic_store_explicit(&l->writers[c->writer].committed, c->last_lsn, memory_order_release);
    atomic_fetch_sub_explicit(&l->outstanding, c->sealed_bytes, memory_order_relaxed);
    log_chunk_done(l, c);
    return moved;
}

/* What was applied ahead may end, in part, something of the batch: that is on disk now, and is
 * freed when it is dead, here or later. So each such end is judged before, for good; it is written
 * where the other lives, though that may still be waiting with it. */
static void judge_ends(struct log *l)
{
    for (struct chunk *c = l->pending.first; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->n_frames; i++) {
            struct frame *f = &c->frames[i];
            if (f->is_applied && f->ended != NULL) {
                f->is_over = f->is_over || (f->item == NULL && !index_is_alive(f->ended));
                f->ended = NULL;
            }
        }
    }
}

static uint64_t publish(struct log *l)
{
    uint64_t moved = 0;
    struct chunk *c = NULL;
    l->counts.batches += l->n_writes > 0 ? 1 : 0;
    l->counts.records += l->n_writes;
    judge_ends(l);
    while ((c = chunks_pop(&l->batch)) != NULL) {
        moved |= log_chunk_commit(l, c);
    }
    l->is_built = false;
    if (l->sealed.cap > SEALED_KEPT) {
        buf_done(&l->sealed);
    }
    (void)pthread_mutex_lock(&l->inbox);
    if (l->n_savers > 0) {
        (void)pthread_cond_broadcast(&l->saved);
    }
    (void)pthread_mutex_unlock(&l->inbox);
    return moved;
}

void log_note_pace(struct log *l, uint64_t n, uint64_t n_acks)
{
    uint64_t now_us = l->setup.clock.mono_us(l->setup.clock.ctx);
    uint64_t gap_us = now_us - l->last_commit_us;
    l->last_commit_us = now_us;
    l->acks_x16 += (n > 0 ? 100 * n_acks / n : 0) - l->acks_x16 / LOG_MEAN;
    if (gap_us > 1000000) { /* after a silence the past says nothing */
        l->gap_us_x16 = gap_us * LOG_MEAN;
        l->records_per_batch_x16 = 0;
        return;
    }
    l->gap_us_x16 += gap_us - l->gap_us_x16 / LOG_MEAN;
    l->records_per_batch_x16 += n - l->records_per_batch_x16 / LOG_MEAN;
}

/* What died in the batch was traffic, too. */
static void note_batch(struct log *l)
{
    uint64_t n = 0, n_acks = 0;
    for (const struct chunk *c = l->batch.first; c != NULL; c = c->next) {
        n += c->n_frames;
        n_acks += c->n_acks;
    }
    log_note_pace(l, n, n_acks);
}

/* ---- trouble ---- */

static bool is_disk_trouble(enum err e)
{
    return e != OK && e != ERR_NOMEM && e != ERR_CRYPTO;
}

static enum err in_trouble(struct log *l, enum err err)
{
    if (is_disk_trouble(err)) {
        l->trouble = err == ERR_SPACE ? ERR_SPACE : ERR_IO;
        l->retry_at_ms = log_now_ms(l) + LOG_RETRY_MS;
        log_account(l);
        return l->trouble;
    }
    return err;
}

static enum err build_and_write(struct log *l)
{
    if (!l->is_built) {
        TRY(build(l));
    }
    if (l->n_writes == 0) {
        return OK;
    }
    enum err err = write_batch(l);
    if (is_disk_trouble(err) && l->trouble == OK) {
        (void)in_trouble(l, err);
        err = write_batch(l); /* the first repetition at once */
    }
    return err;
}

MUST_USE enum err log_commit_locked(struct log *l, uint64_t *ret_moved)
{
    /* Also when nothing of it can be written now: nobody calls for it a second time. */
    log_take_handed(l);
    l->is_held = false;
    if (!log_has_left(l)) {
        return ERR_AGAIN;
    }
    if (l->trouble != OK && log_now_ms(l) < l->retry_at_ms) {
        return l->trouble;
    }
    enum err err = build_and_write(l);
    l->is_starved = err == ERR_NOMEM || err == ERR_CRYPTO;
    if (err != OK) {
        return in_trouble(l, err);
    }
    l->trouble = OK;
    log_moved(l);
    note_batch(l);
    *ret_moved = publish(l);
    log_account(l);
    return OK;
}

static enum err commit(struct log *l, bool is_patient, uint64_t *ret_moved)
{
    (void)pthread_mutex_lock(&l->lock);
    bool is_held = is_patient && log_hold(l, &l->saved_moved);
    enum err err = is_held ? ERR_AGAIN : log_commit_locked(l, ret_moved);
    if (l->saved_moved != 0 && (err == OK || err == ERR_AGAIN)) {
        *ret_moved = (err == OK ? *ret_moved : 0) | l->saved_moved;
        l->saved_moved = 0;
        err = OK;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return err;
}

MUST_USE enum err log_commit(struct log *l, uint64_t *ret_moved)
{
    return commit(l, false, ret_moved);
}

MUST_USE enum err log_commit_due(struct log *l, uint64_t *ret_moved)
{
    return commit(l, true, ret_moved);
}
