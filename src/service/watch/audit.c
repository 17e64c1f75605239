#include "service/watch/audit.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "service/watch/anchor.h"
#include "service/watch/audit_plain.h"
#include "service/watch/trail.h"

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
    struct clock clock;
    struct trail *trail;
    struct trail_report found; /* what was read back */
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
    slice_copy(copy, line);
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

static void sync_file(struct audit *a)
{
    if (trail_sync(a->trail) != OK) {
        log_line(LOG_ERROR, "audit: the last lines did not reach the disk; look at the disk");
    }
    a->is_dirty = false;
}

static void log_event(const struct event *e)
{
    if (e->severity < SEVERITY_WARNING) {
        return;
    }
    enum log_level level = e->severity == SEVERITY_ALERT ? LOG_ERROR : LOG_WARN;
    const char *who = e->principal[0] != '\0' ? e->principal : "somebody";
    log_line(level, "%s: %s%s%s%s%s%s%s%s: %s", event_category_name(e->category), who,
             e->is_claimed ? " (claimed)" : "", e->peer[0] != '\0' ? " from " : "", e->peer,
             e->listener[0] != '\0' ? " on " : "", e->listener, e->target[0] != '\0' ? ", " : "",
             e->target, e->reason);
}

static void write_event(struct audit *a, const struct event *e)
{
    log_event(e);
    buf_clear(&a->scratch);
    enum err err = audit_encode(e, &a->scratch);
    if (err == OK) {
        keep(a, buf_slice(&a->scratch));
        err = trail_append(a->trail, buf_slice(&a->scratch));
    }
    if (err == OK) {
        a->is_dirty = true;
    } else {
        a->lost++;
        if (!a->is_failing) {
            log_line(LOG_ERROR,
                     "audit: the trail cannot be written (%s); events are only in this log and in "
                     "memory until it can. Make room on the disk, or let the daemon's user write "
                     "the folder " TRAIL_DIR,
                     err_name(err));
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

/* Each run of digits is one mark: an offset or a size that somebody chooses is no difference. */
static void copy_shape(char *dst, const char *src, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < cap - 1 && src[i] != '\0'; i++) {
        bool is_digit = src[i] >= '0' && src[i] <= '9';
        if (!is_digit) {
            dst[n++] = src[i];
        } else if (n == 0 || dst[n - 1] != '#') {
            dst[n++] = '#';
        }
    }
}

/* Nobody, or one of the anonymous clients that an exception lets in: each of those is a principal
 * with a number of its own (service/broker/login.c). */
static size_t name_length(const char *principal, size_t cap)
{
    static const char anonymous[] = "anonymous-";
    bool is_anonymous = strncmp(principal, anonymous, sizeof anonymous - 1) == 0;
    return is_anonymous ? 0 : strnlen(principal, cap);
}

static struct fold_key key_of(const struct event *e)
{
    struct fold_key k;
    memset(&k, 0, sizeof k); /* padding too */
    k.category = e->category;
    k.severity = e->severity;
    k.protocol = e->protocol;
    size_t name_n = name_length(e->principal, sizeof k.principal - 1);
    memcpy(k.principal, e->principal, name_n);
    if (name_n > 0) {
        copy_text(k.client_id, e->client_id, sizeof k.client_id);
        copy_text(k.reason, e->reason, sizeof k.reason);
    } else { /* its client id is made up, a new one each time, and so is where its bytes go wrong */
        copy_shape(k.reason, e->reason, sizeof k.reason);
    }
    memcpy(k.peer, e->peer, address_length(e->peer, sizeof k.peer - 1));
    copy_text(k.listener, e->listener, sizeof k.listener);
    copy_text(k.target, e->target, sizeof k.target);
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
    bool is_due = a->is_dirty || now_ms >= trail_deadline(a->trail);
    if (is_due && now_ms >= a->sync_at_ms) {
        sync_file(a);
        a->sync_at_ms = now_ms + AUDIT_SYNC_MS;
    }
}

uint64_t audit_deadline(const struct audit *a)
{
    const struct list_node *n = list_first(&a->open);
    uint64_t at = n != NULL ? LIST_ENTRY(n, const struct fold, node)->until_ms : UINT64_MAX;
    uint64_t sign_at = trail_deadline(a->trail);
    uint64_t sync_at = a->is_dirty ? 0 : sign_at;
    sync_at = sync_at < a->sync_at_ms ? a->sync_at_ms : sync_at;
    return sync_at < at ? sync_at : at;
}

enum err audit_anchor(struct audit *a, struct anchor *ret)
{
    return trail_anchor(a->trail, ret);
}

enum err audit_roll_key(struct audit *a)
{
    return trail_roll_key(a->trail);
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

static void keep_read(void *ctx, struct slice line)
{
    keep(ctx, line);
}

/* The last lines, as far as the newest files have them; a file that has just begun may be nearly
 * empty, so the one before it too. */
static enum err read_back(struct audit *a, const struct audit_setup *s)
{
    struct trail_sink sink = {.ctx = a, .line = keep_read};
    return trail_read(s->disk, s->root, 2, &sink, &a->found);
}

/* A trail that was in the clear. That it was there must not keep the daemon from starting. */
static void take_plain(struct audit *a, struct disk *disk)
{
    uint64_t n;
    enum err err = audit_plain_take(disk, a->trail, &n);
    if (err != OK) {
        log_line(
            LOG_ERROR,
            "audit: %s could not be sealed and removed (%s); it holds names in the clear. Make "
            "room on the disk, or let the daemon's user write it, and restart",
            AUDIT_PLAIN_FILE, err_name(err));
    }
    if (n > 0) {
        log_line(LOG_INFO, "audit: %llu lines of %s are sealed now, in the folder " TRAIL_DIR,
                 (unsigned long long)n, AUDIT_PLAIN_FILE);
    }
}

enum err audit_open(const struct audit_setup *s, struct audit **ret)
{
    AUTO(audit_autofree) struct audit *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->clock = s->clock;
    struct siphash_key key = {random_u64(&s->random), random_u64(&s->random)};
    map_init(&a->folds, &key, fold_key_of);
    list_init(&a->open);
    struct trail_setup trail = {.disk = s->disk,
                                .clock = s->clock,
                                .root = s->root,
                                .random = s->random,
                                .file_bytes = s->file_bytes};
    TRY(trail_open(&trail, &a->trail));
    take_plain(a, s->disk);
    TRY(read_back(a, s));
    *ret = TAKE(a);
    return OK;
}

bool audit_damage(const struct audit *a, struct event *ret)
{
    const struct trail_report *f = &a->found;
    struct trail_amiss amiss = trail_amiss(a->trail);
    char name[TRAIL_NAME_BYTES];
    if (f->damages == 0 && amiss.missing == 0 && !amiss.has_new_key) {
        return false;
    }
    struct event e = event_make(EVENT_audit_integrity);
    trail_name(f->first.file, name);
    EVENT_TEXT(&e, target, slice_text(f->damages > 0 ? name : TRAIL_DIR));
    if (amiss.missing > 0) {
        event_reason(&e,
                     "the last %llu records that " ANCHOR_FILE " tells of are gone. Keep the data "
                     "directory, and run `sallyport audit verify`",
                     (unsigned long long)amiss.missing);
    } else if (f->damages > 0) {
        event_reason(&e,
                     "%llu places of the trail do not verify, the first at byte %llu, %llu bytes, "
                     "%llu lines missing; the rest was read. `sallyport audit verify` says more; "
                     "look at the disk, and at who may write there",
                     (unsigned long long)f->damages, (unsigned long long)f->first.offset,
                     (unsigned long long)f->first.bytes, (unsigned long long)f->first.lines);
    } else {
        event_reason(&e, "the key that signs the trail was not there, so a new one signs from here "
                         "on without the word of the old one. Look at who may write " TRAIL_KEY_FILE
                         ", and give auditors the new key: `sallyport audit key`");
    }
    *ret = e;
    return true;
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
    a->trail = trail_free(a->trail);
    for (size_t i = 0; i < AUDIT_LINES_MAX; i++) {
        mem_free(a->lines[i].p);
    }
    buf_done(&a->scratch);
    return mem_free(a);
}
