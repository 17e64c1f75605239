#include "service/watch/audit.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

/* What two events must share to be repeats of each other. Zeroed first, so that equal means equal
 * bytes. */
struct fold_key {
    enum event_category category;
    enum event_severity severity;
    enum event_protocol protocol;
    char principal[66], client_id[66], peer[56], listener[34], target[130], reason[258];
};

/* An event that was written, and the second in which its repeats are counted instead. */
struct fold {
    struct list_node node; /* in order of `until_ms` */
    uint64_t until_ms;
    struct fold_key key;
    struct event last; /* of the repeats; count 0: none yet */
};

struct kept_line {
    uint8_t *p;
    size_t n;
};

struct audit {
    struct disk *disk;
    struct clock clock;
    uint64_t file_bytes;
    struct disk_file *file;
    uint64_t size;
    bool is_dirty;
    bool is_failing; /* the last write failed: said once, not for every event */
    uint64_t sync_at_ms;
    struct map folds;
    struct list open;
    struct kept_line lines[AUDIT_LINES_MAX];
    uint64_t end;
    uint64_t totals[EVENT_COUNT];
    uint64_t lost;
    struct buf scratch;
};

/* ---- lines in memory ---- */

static void keep(struct audit *a, struct slice line)
{
    uint8_t *copy = line.n > 0 ? mem_alloc(line.n) : NULL;
    if (copy == NULL) {
        return; /* it is on the disk; only the tail misses it */
    }
    memcpy(copy, line.p, line.n);
    struct kept_line *slot = &a->lines[a->end % AUDIT_LINES_MAX];
    mem_free(slot->p);
    *slot = (struct kept_line){copy, line.n};
    a->end++;
}

uint64_t audit_end(const struct audit *a)
{
    return a->end;
}

uint64_t audit_first(const struct audit *a)
{
    return a->end > AUDIT_LINES_MAX ? a->end - AUDIT_LINES_MAX : 0;
}

struct slice audit_line(const struct audit *a, uint64_t number)
{
    if (number >= a->end || number < audit_first(a)) {
        return (struct slice){0};
    }
    const struct kept_line *l = &a->lines[number % AUDIT_LINES_MAX];
    return slice_of(l->p, l->n);
}

/* ---- the file ---- */

static enum err open_file(struct audit *a)
{
    TRY(a->disk->ops->open(a->disk, AUDIT_FILE, DISK_APPEND, &a->file));
    return a->disk->ops->size(a->file, &a->size);
}

static void sync_file(struct audit *a)
{
    if (a->is_dirty && a->file != NULL && a->disk->ops->sync(a->file) != OK) {
        log_line(LOG_ERROR, "audit: %s did not reach the disk; look at the disk", AUDIT_FILE);
    }
    a->is_dirty = false;
}

static void close_file(struct audit *a)
{
    if (a->file != NULL) {
        sync_file(a);
        a->disk->ops->close(a->file);
        a->file = NULL;
    }
}

/* audit.jsonl.7 is forgotten, .6 becomes .7, ..., audit.jsonl becomes .1. */
static enum err rotate(struct audit *a)
{
    close_file(a);
    for (unsigned i = AUDIT_FILES_MAX; i > 0; i--) {
        char from[32];
        char to[32];
        snprintf(to, sizeof to, AUDIT_FILE ".%u", i);
        snprintf(from, sizeof from, i > 1 ? AUDIT_FILE ".%u" : AUDIT_FILE, i - 1);
        enum err e = a->disk->ops->rename(a->disk, from, to);
        if (e != OK && e != ERR_NOT_FOUND) {
            return e;
        }
    }
    return OK;
}

static enum err append(struct audit *a, struct slice line)
{
    if (a->file != NULL && a->size > 0 && a->size + line.n > a->file_bytes) {
        TRY(rotate(a));
    }
    if (a->file == NULL) {
        TRY(open_file(a));
    }
    TRY(a->disk->ops->append(a->file, line));
    a->size += line.n;
    a->is_dirty = true;
    return OK;
}

static void log_event(const struct event *e)
{
    if (e->severity < SEVERITY_WARNING) {
        return;
    }
    enum log_level level = e->severity == SEVERITY_ALERT ? LOG_ERROR : LOG_WARN;
    const char *who = e->principal[0] != '\0' ? e->principal : "somebody";
    log_line(level, "%s: %s%s%s%s%s%s%s: %s", event_category_name(e->category), who,
             e->peer[0] != '\0' ? " from " : "", e->peer, e->listener[0] != '\0' ? " on " : "",
             e->listener, e->target[0] != '\0' ? ", " : "", e->target, e->reason);
}

static void write_event(struct audit *a, const struct event *e)
{
    log_event(e);
    buf_clear(&a->scratch);
    enum err err = audit_encode(e, &a->scratch);
    if (err == OK) {
        keep(a, buf_slice(&a->scratch));
        err = append(a, buf_slice(&a->scratch));
    }
    if (err != OK) {
        a->lost++;
        if (!a->is_failing) {
            log_line(LOG_ERROR,
                     "audit: %s cannot be written (%s); events are only in this log and in memory "
                     "until it can. Make room on the disk, or let the daemon's user write it",
                     AUDIT_FILE, err_name(err));
        }
    }
    a->is_failing = err != OK;
}

/* ---- repeats ---- */

static struct slice fold_key_of(const void *value)
{
    const struct fold *f = value;
    return slice_of(&f->key, sizeof f->key);
}

/* The address without its port: every new connection has another one. */
static size_t address_length(const char *peer, size_t cap)
{
    size_t n = strnlen(peer, cap);
    size_t at = n;
    while (at > 0 && peer[at - 1] >= '0' && peer[at - 1] <= '9') {
        at--;
    }
    if (at < 2 || at == n || peer[at - 1] != ':') {
        return n;
    }
    bool is_v6 = peer[at - 2] == ']';
    bool is_v4 = memchr(peer, ':', at - 1) == NULL;
    return is_v6 || is_v4 ? at - 1 : n;
}

static void copy_text(char *dst, const char *src, size_t cap)
{
    memcpy(dst, src, strnlen(src, cap - 1));
}

static struct fold_key key_of(const struct event *e)
{
    struct fold_key k;
    memset(&k, 0, sizeof k); /* padding too */
    k.category = e->category;
    k.severity = e->severity;
    k.protocol = e->protocol;
    copy_text(k.principal, e->principal, sizeof k.principal);
    copy_text(k.client_id, e->client_id, sizeof k.client_id);
    memcpy(k.peer, e->peer, address_length(e->peer, sizeof k.peer - 1));
    copy_text(k.listener, e->listener, sizeof k.listener);
    copy_text(k.target, e->target, sizeof k.target);
    copy_text(k.reason, e->reason, sizeof k.reason);
    return k;
}

static void close_fold(struct audit *a, struct fold *f)
{
    list_unlink(&f->node);
    (void)map_remove(&a->folds, fold_key_of(f));
    if (f->last.count > 0) {
        write_event(a, &f->last);
    }
    mem_free(f);
}

static void open_fold(struct audit *a, const struct fold_key *key, uint64_t now_ms)
{
    if (a->folds.n >= AUDIT_FOLDS_MAX) {
        close_fold(a, LIST_ENTRY(list_first(&a->open), struct fold, node));
    }
    struct fold *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return; /* repeats are written one by one then */
    }
    f->key = *key;
    f->until_ms = now_ms + AUDIT_FOLD_MS;
    if (map_add(&a->folds, f) != OK) {
        mem_free(f);
        return;
    }
    list_append(&a->open, &f->node);
}

static void close_folds(struct audit *a, uint64_t now_ms)
{
    for (struct list_node *n = list_first(&a->open); n != NULL; n = list_first(&a->open)) {
        struct fold *f = LIST_ENTRY(n, struct fold, node);
        if (f->until_ms > now_ms) {
            return;
        }
        close_fold(a, f);
    }
}

void audit_note(struct audit *a, const struct event *e)
{
    struct event stamped = *e;
    uint64_t now_ms = a->clock.mono_ms(a->clock.ctx);
    if (stamped.wall_ms == 0) {
        stamped.wall_ms = a->clock.wall_ms(a->clock.ctx);
    }
    if (stamped.count == 0) {
        stamped.count = 1;
    }
    a->totals[stamped.category] += stamped.count;
    close_folds(a, now_ms);
    struct fold_key key = key_of(&stamped);
    struct fold *f = map_find(&a->folds, slice_of(&key, sizeof key));
    if (f != NULL) {
        uint32_t before = f->last.count;
        f->last = stamped;
        f->last.count = stamped.count > UINT32_MAX - before ? UINT32_MAX : before + stamped.count;
        return;
    }
    write_event(a, &stamped);
    open_fold(a, &key, now_ms);
}

void audit_tick(struct audit *a, uint64_t now_ms)
{
    close_folds(a, now_ms);
    if (a->is_dirty && now_ms >= a->sync_at_ms) {
        sync_file(a);
        a->sync_at_ms = now_ms + AUDIT_SYNC_MS;
    }
}

uint64_t audit_deadline(const struct audit *a)
{
    const struct list_node *n = list_first(&a->open);
    uint64_t at = n != NULL ? LIST_ENTRY(n, const struct fold, node)->until_ms : UINT64_MAX;
    return a->is_dirty && a->sync_at_ms < at ? a->sync_at_ms : at;
}

uint64_t audit_total(const struct audit *a, enum event_category c)
{
    return a->totals[c];
}

uint64_t audit_lost(const struct audit *a)
{
    return a->lost;
}

/* ---- opening ---- */

/* The last lines of the file, as far as they fit the memory. */
static enum err read_back(struct audit *a)
{
    enum { BACK_BYTES = 1024 * 1024 };
    AUTO(buf_done) struct buf text = {0};
    uint64_t from = a->size > BACK_BYTES ? a->size - BACK_BYTES : 0;
    uint8_t *room;
    size_t n;
    if (a->size == 0) {
        return OK;
    }
    TRY(buf_room(&text, BACK_BYTES, BACK_BYTES, &room));
    TRY(a->disk->ops->read_at(a->file, from, room, BACK_BYTES, &n));
    struct slice rest = slice_of(room, n);
    bool is_torn = n > 0 && rest.p[n - 1] != '\n';
    if (from > 0) {
        rest = slice_from(rest, slice_find(rest, '\n') + 1); /* a line cut in half */
    }
    for (size_t at = slice_find(rest, '\n'); at < rest.n; at = slice_find(rest, '\n')) {
        struct slice line = slice_head(rest, at + 1);
        if (line.n > 2 && line.p[0] == '{' && line.p[at - 1] == '}') {
            keep(a, line);
        }
        rest = slice_from(rest, at + 1);
    }
    return is_torn ? append(a, slice_text("\n")) : OK;
}

enum err audit_open(const struct audit_setup *s, struct audit **ret)
{
    AUTO(audit_autofree) struct audit *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->disk = s->disk;
    a->clock = s->clock;
    a->file_bytes = s->file_bytes > 0 ? s->file_bytes : AUDIT_FILE_BYTES;
    struct siphash_key key = {random_u64(&s->random), random_u64(&s->random)};
    map_init(&a->folds, &key, fold_key_of);
    list_init(&a->open);
    TRY(open_file(a));
    TRY(read_back(a));
    *ret = TAKE(a);
    return OK;
}

struct audit *audit_free(struct audit *a)
{
    if (a == NULL) {
        return NULL;
    }
    if (a->open.head.next != NULL) {
        close_folds(a, UINT64_MAX);
        map_done(&a->folds);
    }
    close_file(a);
    for (size_t i = 0; i < AUDIT_LINES_MAX; i++) {
        mem_free(a->lines[i].p);
    }
    buf_done(&a->scratch);
    return mem_free(a);
}
