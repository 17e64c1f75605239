#include "service/watch/audit.h"

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
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
    struct scribe_client *scribe;
    struct trail_report found; /* what was read back */
    bool is_failing;           /* the last line was given up: said once, not for every event */
    struct map folds;
    struct list open;
    struct kept_line lines[AUDIT_LINES_MAX];
    uint64_t end;
    uint64_t totals[EVENT_COUNT];
    uint64_t lost, given_up; /* the second: since the last word about it */
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

/* ---- to the scribe ---- */

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
        err = scribe_client_push(a->scribe, buf_slice(&a->scratch));
    }
    if (err != OK) {
        a->lost++;
        a->given_up++;
        if (!a->is_failing) {
            log_line(LOG_ERROR,
                     "audit: the scribe does not take what happens, and no more of it can wait "
                     "(%s): events are only in this log until it does. Look at the scribe's words "
                     "here, and at the room on the disk",
                     err_name(err));
        }
    }
    a->is_failing = err != OK;
}

bool audit_gap(struct audit *a, struct event *ret)
{
    struct event e = event_make(EVENT_audit_integrity);
    if (a->given_up == 0 || !scribe_client_state(a->scribe).has_room) {
        return false;
    }
    EVENT_TEXT(&e, target, slice_text(TRAIL_DIR));
    event_reason(&e,
                 "%llu records are missing here: the scribe did not take them, and no more could "
                 "wait in memory. The daemon's log has what were warnings and alerts",
                 (unsigned long long)a->given_up);
    a->given_up = 0;
    *ret = e;
    return true;
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
    scribe_client_turn(a->scribe);
}

uint64_t audit_deadline(const struct audit *a)
{
    const struct list_node *n = list_first(&a->open);
    uint64_t at = n != NULL ? LIST_ENTRY(n, const struct fold, node)->until_ms : UINT64_MAX;
    uint64_t send_at = scribe_client_deadline(a->scribe);
    return send_at < at ? send_at : at;
}

enum err audit_anchor(struct audit *a, struct anchor *ret)
{
    return scribe_client_ask(a->scribe, SCRIBE_ANCHOR, ret);
}

enum err audit_roll_key(struct audit *a, struct anchor *ret)
{
    return scribe_client_ask(a->scribe, SCRIBE_ROLL_KEY, ret);
}

struct scribe_client_state audit_scribe(const struct audit *a)
{
    return scribe_client_state(a->scribe);
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
    TRY(scribe_client_new(&s->link, &s->clock, &s->random, &a->scribe));
    TRY(read_back(a, s));
    *ret = TAKE(a);
    return OK;
}

bool audit_damage(const struct audit *a, struct event *ret)
{
    const struct trail_report *f = &a->found;
    char name[TRAIL_NAME_BYTES];
    if (f->damages == 0) {
        return false;
    }
    struct event e = event_make(EVENT_audit_integrity);
    trail_name(f->first.file, name);
    EVENT_TEXT(&e, target, slice_text(name));
    event_reason(&e,
                 "%llu places of the trail do not verify, the first at byte %llu, %llu bytes, %llu "
                 "lines missing; the rest was read. `sallyport audit verify` says more; look at "
                 "the disk, and at who may write there",
                 (unsigned long long)f->damages, (unsigned long long)f->first.offset,
                 (unsigned long long)f->first.bytes, (unsigned long long)f->first.lines);
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
    if (a->scribe != NULL && !scribe_client_finish(a->scribe)) {
        log_line(LOG_ERROR, "audit: the scribe did not take the last %llu events",
                 (unsigned long long)scribe_client_state(a->scribe).pending);
    }
    a->scribe = scribe_client_free(a->scribe);
    for (size_t i = 0; i < AUDIT_LINES_MAX; i++) {
        mem_free(a->lines[i].p);
    }
    buf_done(&a->scratch);
    return mem_free(a);
}
