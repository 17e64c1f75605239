/* Segments: the current one, those made ahead, the old ones that are read. */
#include <assert.h>

#include "base/mem.h"
#include "store/log_private.h"

enum { RESERVE_PART = 16, BATCH_SLACK = 512 /* link and the log's own entry */ };

static struct disk *disk_of(struct log *l)
{
    return l->setup.disk;
}

/* ---- the list ---- */

MUST_USE enum err log_segs_add(struct log *l, const struct seg *s)
{
    if (l->n_segs == l->cap_segs) {
        size_t cap = l->cap_segs == 0 ? 16 : 2 * l->cap_segs;
        struct seg *grown = mem_grow(l->segs, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        l->segs = grown;
        l->cap_segs = cap;
    }
    l->segs[l->n_segs++] = *s;
    return OK;
}

struct seg *log_seg_find(struct log *l, uint32_t number)
{
    size_t low = 0, high = l->n_segs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->segs[middle].head.number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < l->n_segs && l->segs[low].head.number == number ? &l->segs[low] : NULL;
}

MUST_USE enum err log_seg_open(struct log *l, struct seg *s)
{
    if (s->file != NULL) {
        return OK;
    }
    char name[SEGMENT_NAME_BYTES];
    segment_name(s->head.number, name);
    return disk_of(l)->ops->open(disk_of(l), name, DISK_READ, &s->file);
}

void log_seg_close(struct log *l, struct seg *s)
{
    if (s->file != NULL) {
        disk_of(l)->ops->close(s->file);
        s->file = NULL;
    }
}

uint64_t log_disk_bytes(const struct log *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->n_segs; i++) {
        n += l->segs[i].head.bytes;
    }
    for (unsigned i = 0; i < l->n_ready; i++) {
        n += l->ready[i].head.bytes;
    }
    return n;
}

/* ---- reading ---- */

MUST_USE enum err log_reader(struct log *l, const uint8_t salt[32], struct sealer **ret)
{
    if (l->sealer != NULL && memcmp(salt, l->salt, sizeof l->salt) == 0) {
        *ret = l->sealer;
        return OK;
    }
    for (size_t i = l->n_readers; i > 0; i--) {
        if (memcmp(l->readers[i - 1].salt, salt, sizeof l->salt) == 0) {
            *ret = l->readers[i - 1].sealer;
            return OK;
        }
    }
    struct reader *grown = mem_grow(l->readers, (l->n_readers + 1) * sizeof *grown);
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    l->readers = grown;
    struct reader r = {0};
    memcpy(r.salt, salt, sizeof r.salt);
    TRY(sealer_new(l->setup.keyring, salt, &r.sealer));
    l->readers[l->n_readers++] = r;
    *ret = r.sealer;
    return OK;
}

void log_readers_done(struct log *l)
{
    for (size_t i = 0; i < l->n_readers; i++) {
        sealer_free(l->readers[i].sealer);
    }
    l->readers = mem_free(l->readers);
    l->n_readers = 0;
}

MUST_USE enum err log_read(struct log *l, struct place place, struct buf *scratch,
                           struct record_head *ret_head, struct slice *ret_content)
{
    struct seg *s = log_seg_find(l, place.segment);
    if (s == NULL) {
        return ERR_NOT_FOUND;
    }
    struct sealer *sealer = NULL;
    TRY(log_reader(l, s->head.salt, &sealer));
    TRY(log_seg_open(l, s));
    return record_read(sealer, l->setup.disk, s->file, place, scratch, ret_head, ret_content);
}

/* ---- making and removing files ---- */

static enum err remove_file(struct log *l, uint32_t number)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(number, name);
    enum err err = disk_of(l)->ops->remove(disk_of(l), name);
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err make_segment(struct log *l, uint32_t number, struct seg *ret)
{
    struct seg s = {.used = SEGMENT_HEAD_BYTES};
    s.head = (struct segment_head){.number = number,
                                   .bytes = l->setup.segment_bytes,
                                   .wall_ms = l->setup.clock.wall_ms(l->setup.clock.ctx),
                                   .ids = log_ids(l)};
    memcpy(s.head.salt, l->salt, sizeof s.head.salt);
    enum err err = segment_create(disk_of(l), l->setup.keyring, &s.head, &s.file);
    if (err == ERR_EXISTS) { /* an attempt that could not even be taken back */
        TRY(remove_file(l, number));
        err = segment_create(disk_of(l), l->setup.keyring, &s.head, &s.file);
    }
    TRY(err);
    *ret = s;
    return OK;
}

static enum err next_segment(struct log *l, struct seg *ret)
{
    if (l->renew_segment != 0) {
        TRY(remove_file(l, l->renew_segment));
        TRY(make_segment(l, l->renew_segment, ret));
        l->renew_segment = 0;
        return OK;
    }
    if (l->n_ready > 0) {
        *ret = l->ready[0];
        l->n_ready--;
        memmove(&l->ready[0], &l->ready[1], l->n_ready * sizeof l->ready[0]);
        return OK;
    }
    TRY(make_segment(l, l->last_segment + 1, ret));
    l->last_segment++;
    return OK;
}

/* A segment whose write or sync failed is not touched any more: what the disk made of it is
 * unknown, and a later sync would say nothing about it. One in which nothing counts goes, so that a
 * disk that fails for hours is not filled with them. */
void log_give_up(struct log *l)
{
    struct seg *s = log_current(l);
    if (s == NULL) {
        return;
    }
    log_seg_close(l, s);
    l->has_current = false;
    if (s->used == SEGMENT_HEAD_BYTES) {
        l->renew_segment = s->head.number;
        l->n_segs--;
    }
}

MUST_USE enum err log_roll(struct log *l)
{
    struct seg next;
    if (l->n_segs == l->cap_segs) { /* room first, so that the new file is not lost sight of */
        struct seg none = {0};
        TRY(log_segs_add(l, &none));
        l->n_segs--;
    }
    TRY(next_segment(l, &next));
    struct seg *old = log_current(l);
    if (old != NULL) {
        log_seg_close(l, old);
    }
    assert(l->segs != NULL);
    l->segs[l->n_segs++] = next;
    l->has_current = true;
    l->wants_meta = true;
    return OK;
}

MUST_USE enum err log_ready(struct log *l)
{
    if (l->n_ready == LOG_READY || l->renew_segment != 0) {
        return OK;
    }
    TRY(make_segment(l, l->last_segment + 1, &l->ready[l->n_ready]));
    l->n_ready++;
    l->last_segment++;
    log_moved(l);
    return OK;
}

MUST_USE enum err log_remove_oldest(struct log *l)
{
    assert(l->n_segs > (l->has_current ? 1 : 0));
    struct seg *s = &l->segs[0];
    uint32_t number = s->head.number;
    log_seg_close(l, s);
    TRY(remove_file(l, number));
    index_segment_gone(l->index, number);
    l->n_segs--;
    memmove(&l->segs[0], &l->segs[1], l->n_segs * sizeof l->segs[0]);
    return OK;
}

/* ---- what the others are told ---- */

static uint64_t room_for_adds(const struct log *l)
{
    const struct seg *s = l->has_current ? &l->segs[l->n_segs - 1] : NULL;
    uint64_t room = s != NULL ? s->head.bytes - s->used : 0;
    room = room > BATCH_SLACK ? room - BATCH_SLACK : 0;
    if (l->n_ready == LOG_READY) {
        return room + l->handover_max;
    }
    /* The spare is for what settles. */
    return l->n_ready > 0 || !l->no_room ? room : 0;
}

static void tell_change(struct log *l, enum log_state now)
{
    if (now == l->told) {
        return;
    }
    enum log_state before = l->told;
    l->told = now;
    switch (now) {
    case LOG_FULL:
        log_event(l, EVENT_store_space, SEVERITY_ALERT,
                  "the disk of the store is full: what was acknowledged is safe, new messages that "
                  "must be kept are refused; free space on the disk of DIR/store, service resumes "
                  "by itself");
        return;
    case LOG_FAILING:
        log_event(l, EVENT_store_integrity, SEVERITY_ALERT,
                  "writing to the store failed: what was acknowledged is safe, new messages that "
                  "must be kept are refused; check the disk and its mount, the store tries again "
                  "every second");
        return;
    case LOG_FINE:
        log_event(l, before == LOG_FULL ? EVENT_store_space : EVENT_store_integrity,
                  SEVERITY_NOTICE,
                  before == LOG_FULL ? "the store has room again" : "the store writes again");
        return;
    }
}

void log_moved(struct log *l)
{
    atomic_store_explicit(&l->moved_ms, log_now_ms(l), memory_order_relaxed);
}

void log_account(struct log *l)
{
    uint64_t room = room_for_adds(l);
    enum log_state state = LOG_FINE;
    if (l->trouble == ERR_SPACE || (l->no_room && room < l->setup.segment_bytes / RESERVE_PART)) {
        state = LOG_FULL;
        room = 0;
    } else if (l->trouble != OK) {
        state = LOG_FAILING;
    }
    atomic_store_explicit(&l->room, room, memory_order_relaxed);
    atomic_store_explicit(&l->is_short, l->no_room || l->cannot_make || l->trouble != OK,
                          memory_order_relaxed);
    atomic_store_explicit(&l->refusal,
                          state == LOG_FINE   ? OK
                          : state == LOG_FULL ? ERR_SPACE
                                              : ERR_IO,
                          memory_order_relaxed);
    l->counts.state = state;
    l->counts.segments = (unsigned)l->n_segs + l->n_ready;
    l->counts.bytes = log_disk_bytes(l);
    l->counts.living_bytes = index_living_all(l->index);
    (void)pthread_mutex_lock(&l->inbox);
    l->status = l->counts;
    (void)pthread_mutex_unlock(&l->inbox);
    tell_change(l, state);
}
