/*
 * Opening: everything in DIR/store is read in the order in which it was written, and a new opening
 * begins. Damage is named and passed over.
 *
 * Which batches count: each segment's first batch says where the last committed batch before it
 * ended. What lies behind that place in older segments of the same opening is a batch whose write
 * failed and was repeated: it is left out, whole segments of it too.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/plant.h"
#include "store/log_private.h"

enum {
    KEEP_BYTES = 256 * 1024 * 1024,
    LAG_BYTES = 64 * 1024 * 1024,
    SEGMENT_MOST = 1024 * 1024 * 1024, /* places have 32 bits */
    SMALLEST_BYTES = 512 * 1024,       /* of a segment, when the disk has no room for more */
    PAGE_BYTES = 4096,
    WRITERS_MAX = 63
};

struct opening {
    struct log *log;
    struct log_report *report;
    struct why *why;
    uint32_t *numbers;
    size_t n, cap;
    bool no_memory;
    bool *is_empty; /* of each segment: nothing at all was found in it */
    /* of the segment that is scanned */
    struct seg *seg;
    uint32_t cut; /* nothing from here on counts */
    bool has_damage;
    struct log_meta meta; /* the newest seen */
    bool has_meta;
};

static void opening_done(struct opening *o)
{
    mem_free(o->numbers);
    mem_free(o->is_empty);
    log_readers_done(o->log);
}

/* ---- which files there are ---- */

static void found_name(void *ctx, const char *name)
{
    struct opening *o = ctx;
    uint32_t number = 0;
    if (!segment_number(name, &number)) {
        return;
    }
    if (o->n == o->cap) {
        size_t cap = o->cap == 0 ? 64 : 2 * o->cap;
        uint32_t *grown = mem_grow(o->numbers, cap * sizeof *grown);
        if (grown == NULL) {
            o->no_memory = true;
            return;
        }
        o->numbers = grown;
        o->cap = cap;
    }
    o->numbers[o->n++] = number;
}

static int number_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static enum err list_segments(struct opening *o)
{
    struct disk *d = o->log->setup.disk;
    TRY(d->ops->make_dir(d, STORE_DIR));
    TRY(d->ops->list(d, STORE_DIR, found_name, o));
    if (o->no_memory) {
        return ERR_NOMEM;
    }
    if (o->n > 0) {
        qsort(o->numbers, o->n, sizeof *o->numbers, number_order);
        o->is_empty = mem_array(o->n, sizeof *o->is_empty);
        return o->is_empty == NULL ? ERR_NOMEM : OK;
    }
    return OK;
}

/* Is there nothing behind the header? */
static enum err is_blank(struct log *l, struct seg *s, bool *ret)
{
    struct disk *d = l->setup.disk;
    uint8_t bytes[PAGE_BYTES];
    size_t n = 1;
    bool blank = true;
    for (uint64_t at = SEGMENT_HEAD_BYTES; blank && n > 0; at += n) {
        TRY(d->ops->read_at(s->file, at, bytes, sizeof bytes, &n));
        for (size_t i = 0; i < n; i++) {
            blank = blank && bytes[i] == 0;
        }
    }
    *ret = blank;
    return OK;
}

/* Its making was cut off when nothing follows the header: records come only behind a durable one.
 */
static enum err headless(struct log *l, struct seg *s, bool *ret_is_blank)
{
    s->is_headless = true;
    enum err err = log_seg_open(l, s);
    err = err == OK ? l->setup.disk->ops->size(s->file, &s->head.bytes) : err;
    err = err == OK ? is_blank(l, s, ret_is_blank) : err;
    log_seg_close(l, s);
    return err == ERR_NOMEM ? err : OK;
}

static enum err read_head(struct opening *o, uint32_t number, struct seg *ret, bool *ret_is_blank)
{
    struct log *l = o->log;
    struct seg s = {.head.number = number, .used = SEGMENT_HEAD_BYTES};
    enum err err = segment_open(l->setup.disk, l->setup.keyring, number, false, &s.head, &s.file);
    if (err == ERR_UNSUPPORTED) {
        why_set(o->why, "DIR/store was written by a later version of this program");
    }
    if (err == ERR_UNSUPPORTED || err == ERR_NOMEM) {
        return err;
    }
    if (err == OK) {
        bool blank = false;
        if (s.head.bad.bytes > 0 && is_blank(l, &s, &blank) == OK && blank) {
            s.head.bad.bytes = 0; /* cut off between the two copies */
        }
        log_seg_close(l, &s);
        l->ids = store_ids_max(l->ids, s.head.ids);
        if (s.head.wall_ms > o->report->last_wall_ms) {
            o->report->last_wall_ms = s.head.wall_ms;
        }
    } else {
        s = (struct seg){.head.number = number, .used = SEGMENT_HEAD_BYTES};
        TRY(headless(l, &s, ret_is_blank));
    }
    *ret = s;
    return OK;
}

static enum err first_link(struct log *l, struct seg *s, struct batch_link *ret)
{
    struct sealer *sealer = NULL;
    TRY(log_reader(l, s->head.salt, &sealer));
    TRY(log_seg_open(l, s));
    enum err err = segment_first_link(sealer, l->setup.disk, s->file, &s->head, ret);
    log_seg_close(l, s);
    return err;
}

/* A segment without its header belongs to the opening of a neighbour: with the right salt its
 * records verify, with a wrong one none does. */
static enum err adopt(struct opening *o, size_t i)
{
    struct log *l = o->log;
    struct seg *s = &l->segs[i];
    log_damage_event(l, s->head.number, 0,
                     "the header of a segment does not verify; its records are looked for with the "
                     "keys of the segments beside it",
                     NULL);
    o->report->damaged++;
    const size_t around[] = {i - 1, i + 1};
    for (size_t k = 0; k < COUNT_OF(around); k++) {
        if (around[k] >= l->n_segs || l->segs[around[k]].is_headless) {
            continue;
        }
        struct batch_link link;
        memcpy(s->head.salt, l->segs[around[k]].head.salt, sizeof s->head.salt);
        enum err err = first_link(l, s, &link);
        if (err == ERR_NOMEM) {
            return err;
        }
        if (err == OK) {
            s->is_headless = false;
            return OK;
        }
    }
    return OK;
}

static enum err read_heads(struct opening *o)
{
    struct log *l = o->log;
    size_t n_headless = 0, n_blank = 0;
    for (size_t i = 0; i < o->n; i++) {
        TRY(progress_check(l->setup.progress));
        struct seg s;
        bool is_blank_one = false;
        TRY(read_head(o, o->numbers[i], &s, &is_blank_one));
        o->is_empty[i] = is_blank_one;
        n_headless += s.is_headless && !is_blank_one ? 1 : 0;
        n_blank += is_blank_one ? 1 : 0;
        TRY(log_segs_add(l, &s));
        o->report->bytes += s.head.bytes;
    }
    if (n_headless > 0 && n_headless + n_blank == o->n) {
        why_set(o->why, "no segment of DIR/store opens with this keyring: it belongs to another "
                        "store, or DIR/keyring was replaced; put the right one back");
        return ERR_CRYPTO;
    }
    for (size_t i = 0; n_headless > 0 && i < l->n_segs; i++) {
        if (l->segs[i].is_headless && !o->is_empty[i]) {
            TRY(adopt(o, i));
        }
    }
    return OK;
}

/* ---- reading them ---- */

static void note_wall(struct opening *o, int64_t wall_ms)
{
    if (wall_ms > o->report->last_wall_ms) {
        o->report->last_wall_ms = wall_ms;
    }
}

static enum err found_record(void *ctx, const struct record_head *h, struct place place,
                             struct slice content)
{
    struct opening *o = ctx;
    struct log *l = o->log;
    if (place.offset >= o->cut) {
        return OK;
    }
    o->report->records++;
    struct log_meta meta;
    enum journal_kind kind = (enum journal_kind)h->kind;
    if (h->kind == JOURNAL_ENTRY && log_meta_read(kind, content, &meta)) {
        o->meta = meta;
        o->has_meta = true;
        l->ids = store_ids_max(l->ids, meta.ids);
        note_wall(o, meta.wall_ms);
    }
    struct item *item = NULL, *ended = NULL;
    enum err err = h->kind > 0 && h->kind < JOURNAL_KIND_END
                       ? index_apply(l->index, kind, content, place, &item, &ended)
                       : ERR_UNSUPPORTED;
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err != OK) {
        o->report->damaged++;
        log_damage_event(l, place.segment, place.offset,
                         "a stored record verifies and does not decode; it is left out", h);
    }
    return OK;
}

static void found_damage(void *ctx, const struct damage *d)
{
    struct opening *o = ctx;
    if (d->place.offset >= o->cut) {
        return;
    }
    switch (d->what) {
    case DAMAGE_ERASED:
        o->report->erased++;
        return;
    case DAMAGE_HEAD:
        o->has_damage = true;
        o->report->damaged++;
        log_damage_event(o->log, d->place.segment, d->place.offset,
                         "bytes in the store are no record any more; what lay there is lost, the "
                         "rest is kept. Check the disk, restore a backup if the loss matters",
                         NULL);
        return;
    case DAMAGE_CONTENT:
        o->has_damage = true;
        o->report->damaged++;
        log_damage_event(o->log, d->place.segment, d->place.offset,
                         "a stored record does not verify; it is lost, the rest is kept. Check the "
                         "disk, restore a backup if the loss matters",
                         &d->head);
        return;
    }
}

static bool is_same_opening(const struct seg *a, const struct seg *b)
{
    return !a->is_headless && !b->is_headless &&
           memcmp(a->head.salt, b->head.salt, sizeof a->head.salt) == 0;
}

static enum err scan_segment(struct opening *o, size_t i, const struct batch_link *later)
{
    struct log *l = o->log;
    struct seg *s = &l->segs[i];
    o->seg = s;
    o->has_damage = false;
    o->cut = UINT32_MAX;
    if (later != NULL && later->segment <= s->head.number) {
        o->cut = later->segment == s->head.number ? later->offset : SEGMENT_HEAD_BYTES;
    }
    struct sealer *sealer = NULL;
    TRY(log_reader(l, s->head.salt, &sealer));
    TRY(log_seg_open(l, s));
    const struct scan_sink sink = {.ctx = o, .record = found_record, .damage = found_damage};
    struct scan_end end = {.offset = SEGMENT_HEAD_BYTES};
    enum err err = segment_scan(sealer, l->setup.disk, s->file, &s->head, later, &sink, &end);
    log_seg_close(l, s);
    TRY(err);
    s->used = end.offset < o->cut ? end.offset : o->cut;
    s->is_whole = !o->has_damage;
    o->is_empty[i] = end.offset <= SEGMENT_HEAD_BYTES && end.torn_bytes == 0 && !o->has_damage;
    if (later == NULL && is_same_opening(s, &l->segs[l->n_segs - 1])) {
        o->report->torn_bytes += end.torn_bytes;
    }
    if (s->used > SEGMENT_HEAD_BYTES) {
        l->link = (struct batch_link){.segment = s->head.number, .offset = s->used};
    }
    return OK;
}

/* What the first readable batch behind segment i says about the end of segment i; also of the next
 * opening, whose first batch names the end that was found of this one. ERR_NOT_FOUND: nobody knows,
 * or the batch that does is damaged. */
static enum err later_link(struct opening *o, size_t i, struct batch_link *ret)
{
    struct log *l = o->log;
    for (size_t k = i + 1; k < l->n_segs; k++) {
        struct batch_link link;
        enum err err = l->segs[k].is_headless ? ERR_NOT_FOUND : first_link(l, &l->segs[k], &link);
        if (err == OK) {
            bool says = link.segment != 0 && link.segment <= l->segs[i].head.number;
            *ret = link;
            return says ? OK : ERR_NOT_FOUND;
        }
        if (err == ERR_NOMEM) {
            return err;
        }
    }
    return ERR_NOT_FOUND;
}

/* What a killed process wrote and did not sync is read now, and served, and acknowledged when it
 * comes again: it must not be lost to a power cut after that. */
static enum err sync_last_opening(struct opening *o)
{
    struct log *l = o->log;
    for (size_t i = 0; i < l->n_segs; i++) {
        struct seg *s = &l->segs[i];
        if (is_same_opening(s, &l->segs[l->n_segs - 1])) {
            TRY(log_seg_open(l, s));
            enum err err = l->setup.disk->ops->sync(s->file);
            log_seg_close(l, s);
            TRY(err);
        }
    }
    return OK;
}

static enum err scan_all(struct opening *o)
{
    struct log *l = o->log;
    progress_begin(l->setup.progress, "segments read", l->n_segs);
    for (size_t i = 0; i < l->n_segs; i++) {
        TRY(progress_step(l->setup.progress));
        if (l->segs[i].is_headless) {
            continue;
        }
        struct batch_link link;
        enum err err = later_link(o, i, &link);
        if (err == ERR_NOMEM) {
            return err;
        }
        err = scan_segment(o, i, err == OK ? &link : NULL);
        if (err == ERR_NOMEM) {
            return err;
        }
        if (err != OK) {
            o->report->damaged++;
            log_damage_event(l, l->segs[i].head.number, 0,
                             "a segment could not be read to its end; what follows is lost", NULL);
        }
    }
    return OK;
}

/* ---- what that says ---- */

/* Made ahead and never used: they go before the new ones take their numbers. */
static void drop_empty_tail(struct opening *o)
{
    struct log *l = o->log;
    while (l->n_segs > 0 && o->is_empty[l->n_segs - 1]) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(l->segs[l->n_segs - 1].head.number, name);
        if (l->setup.disk->ops->remove(l->setup.disk, name) != OK) {
            return;
        }
        l->n_segs--;
    }
}

static void note_missing(struct opening *o)
{
    struct log *l = o->log;
    for (size_t i = 1; i < l->n_segs; i++) {
        for (uint32_t n = l->segs[i - 1].head.number + 1; n < l->segs[i].head.number; n++) {
            o->report->missing++;
            log_damage_event(l, n, 0,
                             "this segment of the store is missing; what it held is lost. Put the "
                             "file back, or restore a backup",
                             NULL);
            if (l->is_told_too_many) {
                o->report->missing += l->segs[i].head.number - n - 1;
                break;
            }
        }
    }
}

/* Not one that was made ahead: those are the last ones. Its records are gone with its header. */
static void note_emptied(struct opening *o)
{
    struct log *l = o->log;
    for (size_t i = 0; i < l->n_segs; i++) {
        if (l->segs[i].is_headless && o->is_empty[i]) {
            o->report->damaged++;
            log_damage_event(l, l->segs[i].head.number, 0,
                             "this segment of the store is empty; what it held is lost. Put the "
                             "file back, or restore a backup",
                             NULL);
        }
    }
}

static void note_crash(struct opening *o)
{
    o->report->was_closed = !o->has_meta || o->meta.is_closed;
    if (o->report->was_closed) {
        return;
    }
    char text[200];
    (void)snprintf(text, sizeof text,
                   "the store was not closed in order: read again, %" PRIu64 " records; %" PRIu64
                   " bytes of a batch that nobody had been told about were dropped",
                   o->report->records, o->report->torn_bytes);
    log_event(o->log, EVENT_crash_recovery, SEVERITY_ALERT, text);
}

/* ---- the new opening ---- */

/* What earlier openings reserved and did not write. Each restart needs a segment of its own: on a
 * full disk they would take the spare one, and then there was no room to record even what makes
 * room. */
static void give_back_unused(struct log *l)
{
    struct disk *d = l->setup.disk;
    for (size_t i = 0; i < l->n_segs && d->ops->give_back != NULL; i++) {
        const struct seg *s = &l->segs[i];
        char name[SEGMENT_NAME_BYTES];
        struct disk_file *f = NULL;
        segment_name(s->head.number, name);
        if (s->is_whole && d->ops->open(d, name, DISK_WRITE, &f) == OK) {
            enum err ignored = d->ops->give_back(f, s->used); /* then there is less room */
            (void)ignored;
            d->ops->close(f);
        }
    }
}

static enum err first_segment(struct log *l)
{
    enum err err = log_roll(l);
    while (err == ERR_SPACE && l->n_segs > 0 &&
           index_living(l->index, l->segs[0].head.number) == 0) {
        TRY(log_remove_oldest(l));
        err = log_roll(l);
    }
    if (err == ERR_SPACE) {
        give_back_unused(l);
        err = log_roll(l);
    }
    while (err == ERR_SPACE && l->setup.segment_bytes / 2 >= SMALLEST_BYTES) {
        l->setup.segment_bytes /= 2;
        err = log_roll(l);
    }
    return err;
}

static enum err begin(struct opening *o)
{
    struct log *l = o->log;
    l->setup.random.fill(l->setup.random.ctx, l->salt, sizeof l->salt);
    if (PLANTED(PLANT_REPLAYED_NONCE) && l->n_segs > 0) {
        memcpy(l->salt, l->segs[l->n_segs - 1].head.salt, sizeof l->salt);
    }
    TRY(sealer_new(l->setup.keyring, l->salt, &l->sealer));
    l->last_segment = l->n_segs > 0 ? l->segs[l->n_segs - 1].head.number : 0;
    enum err err = first_segment(l);
    if (err == ERR_SPACE && l->n_segs > 0) {
        l->trouble = ERR_SPACE; /* what is there is served; room is looked for */
        l->no_room = true;
    } else if (err != OK) {
        why_set(o->why,
                "no segment could be made in DIR/store (%s): free space, and check that the "
                "directory may be written",
                err_name(err));
        return err;
    } else {
        err = log_ready(l);
        l->no_room = err == ERR_SPACE;
    }
    l->handover_max = l->setup.segment_bytes - SEGMENT_HEAD_BYTES - 512;
    log_account(l);
    return OK;
}

/* ---- life ---- */

static uint64_t whole_pages(uint64_t n)
{
    return n / PAGE_BYTES * PAGE_BYTES;
}

static void fill_defaults(struct log_setup *s)
{
    uint64_t total = UINT64_MAX, free_bytes = 0;
    if (s->disk->ops->space(s->disk, STORE_DIR, &total, &free_bytes) != OK &&
        s->disk->ops->space(s->disk, "", &total, &free_bytes) != OK) { /* it is not made yet */
        total = UINT64_MAX;
    }
    if (s->segment_bytes == 0) {
        uint64_t part = whole_pages(total / 16);
        part = part < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : part;
        s->segment_bytes = part < SEGMENT_BYTES_DEFAULT ? part : SEGMENT_BYTES_DEFAULT;
    }
    if (s->keep_bytes == 0) {
        s->keep_bytes = total / 4 < KEEP_BYTES ? total / 4 : KEEP_BYTES;
    }
    s->segment_bytes = s->segment_bytes > SEGMENT_MOST ? SEGMENT_MOST : s->segment_bytes;
    s->lag_bytes = s->lag_bytes == 0 ? LAG_BYTES : s->lag_bytes;
}

static enum err log_init(struct log *l)
{
    struct siphash_key key;
    l->setup.random.fill(l->setup.random.ctx, &key, sizeof key);
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0) {
        return ERR_NOMEM;
    }
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&l->saved, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    for (unsigned i = 0; i < l->n_writers; i++) {
        l->writers[i].journal.ops = &log_journal_ops;
        l->writers[i].log = l;
        l->writers[i].index = i;
    }
    return index_new(&key, &l->index);
}

static enum err recover(struct log *l, struct log_report *report, struct why *why)
{
    AUTO(opening_done) struct opening o = {.log = l, .report = report, .why = why};
    enum err err = list_segments(&o);
    if (err != OK) {
        why_set(why, "DIR/store cannot be read (%s)", err_name(err));
        return err;
    }
    TRY(read_heads(&o));
    err = sync_last_opening(&o);
    if (err != OK) {
        why_set(why, "DIR/store cannot be made durable (%s): check the disk", err_name(err));
        return err;
    }
    TRY(scan_all(&o));
    index_complete(l->index);
    drop_empty_tail(&o);
    note_missing(&o);
    note_emptied(&o);
    note_crash(&o);
    report->segments = (unsigned)l->n_segs;
    l->counts.damaged = report->damaged;
    log_see_space(l);
    return begin(&o);
}

MUST_USE enum err log_open(const struct log_setup *s, struct log **ret, struct log_report *report,
                           struct why *why)
{
    if (s->n_writers > WRITERS_MAX) {
        return ERR_LIMIT;
    }
    unsigned n = s->n_writers + 1;
    AUTO(log_autofree) struct log *l = mem_zalloc(sizeof *l + n * sizeof l->writers[0]);
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->setup = *s;
    l->n_writers = n;
    (void)pthread_mutex_init(&l->saving, NULL);
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_mutex_init(&l->inbox, NULL);
    struct log_report found = {.last_wall_ms = INT64_MIN};
    fill_defaults(&l->setup);
    TRY(log_init(l));
    TRY(recover(l, &found, why));
    *report = found;
    *ret = TAKE(l);
    return OK;
}

static void close_in_order(struct log *l)
{
    uint64_t moved = 0;
    while (log_commit_locked(l, &moved) == OK) {
    }
    if (l->trouble == OK && !log_has_work(l)) {
        l->is_closing = l->must_meta = true;
        enum err ignored =
            log_commit_locked(l, &moved); /* not closed then: said at the next start */
        (void)ignored;
    }
}

static void chunks_done(struct chunks *q)
{
    struct chunk *c = NULL;
    while ((c = chunks_pop(q)) != NULL) {
        chunk_free(c);
    }
}

void log_discard(struct log *l)
{
    log_take_handed(l);
    chunks_done(&l->pending);
    for (unsigned i = 0; i < l->n_writers; i++) {
        l->writers[i].open = chunk_free(l->writers[i].open);
    }
}

struct log *log_free(struct log *l)
{
    if (l == NULL) {
        return NULL;
    }
    if (l->has_current || l->trouble != OK) {
        close_in_order(l);
    }
    chunks_done(&l->handed);
    chunks_done(&l->pending);
    chunks_done(&l->batch);
    while (l->spare_chunks != NULL) {
        struct chunk *c = l->spare_chunks;
        l->spare_chunks = c->next;
        chunk_free(c);
    }
    chunk_free(l->copies);
    for (unsigned i = 0; i < l->n_writers; i++) {
        chunk_free(l->writers[i].open);
    }
    for (size_t i = 0; i < l->n_segs; i++) {
        log_seg_close(l, &l->segs[i]);
    }
    for (unsigned i = 0; i < l->n_ready; i++) {
        log_seg_close(l, &l->ready[i]);
    }
    mem_free(l->segs);
    buf_wipe(&l->sealed);
    log_readers_done(l);
    sealer_free(l->sealer);
    index_free(l->index);
    (void)pthread_cond_destroy(&l->saved);
    (void)pthread_mutex_destroy(&l->inbox);
    (void)pthread_mutex_destroy(&l->lock);
    (void)pthread_mutex_destroy(&l->saving);
    return mem_free(l);
}
