#include "service/watch/scribe.h"

#include <inttypes.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/watch/anchor.h"
#include "service/watch/audit.h"

#define OWN_WORD ",\"by\":\"scribe\""

enum { EVENTS_MAX = 8, OWN_LINE_MAX = 4096 };

/* Fills up at `rate` in a second, or a minute. */
struct bucket {
    uint64_t tokens, most, rate, per_ms, at_ms;
};

struct scribe {
    struct trail *trail;
    struct clock clock;
    struct scribe_life life;
    struct scribe_life marked; /* of the run in the trail */
    uint64_t run;              /* 0: none yet */
    uint64_t last;
    uint32_t mark_file; /* where the newest mark stands */
    bool is_dirty, is_failing;
    uint64_t sync_at_ms;
    struct bucket bytes, asks, blames;
    struct event events[EVENTS_MAX];
    size_t n_events;
};

static uint64_t now_ms(const struct scribe *s)
{
    return s->clock.mono_ms(s->clock.ctx);
}

/* ---- limits ---- */

static struct bucket bucket_of(uint64_t most, uint64_t rate, uint64_t per_ms, uint64_t at_ms)
{
    return (struct bucket){
        .tokens = most, .most = most, .rate = rate, .per_ms = per_ms, .at_ms = at_ms};
}

static bool take(struct bucket *b, uint64_t n, uint64_t at_ms)
{
    uint64_t gone_ms = at_ms > b->at_ms ? at_ms - b->at_ms : 0;
    uint64_t full_ms = b->most * b->per_ms / b->rate + 1;
    gone_ms = gone_ms < full_ms ? gone_ms : full_ms;
    uint64_t more = gone_ms * b->rate / b->per_ms;
    if (more > 0) {
        b->tokens = b->most - b->tokens < more ? b->most : b->tokens + more;
        b->at_ms += gone_ms == full_ms ? at_ms - b->at_ms : more * b->per_ms / b->rate;
    }
    if (b->tokens < n) {
        return false;
    }
    b->tokens -= n;
    return true;
}

/* ---- its own words ---- */

static void tell(struct scribe *s, const struct event *e)
{
    if (s->n_events < EVENTS_MAX) {
        s->events[s->n_events++] = *e;
    }
}

bool scribe_next_event(struct scribe *s, struct event *ret)
{
    if (s->n_events == 0) {
        return false;
    }
    *ret = s->events[0];
    s->n_events--;
    memmove(&s->events[0], &s->events[1], s->n_events * sizeof s->events[0]);
    return true;
}

static void note_write(struct scribe *s, enum err err)
{
    if (err != OK && !s->is_failing) {
        log_line(LOG_ERROR,
                 "audit: the trail cannot be written (%s); events wait in the broker's memory, and "
                 "what it cannot hold is lost. Make room on the disk, or let the daemon's user "
                 "write the folders " TRAIL_DIR " and " TRAIL_OWN_DIR,
                 err_name(err));
    }
    s->is_failing = err != OK;
    s->is_dirty = s->is_dirty || err == OK;
}

/* more: further keys, each with a comma in front. */
static enum err write_own(struct scribe *s, struct event *e, const char *more)
{
    AUTO(buf_done) struct buf line = {0};
    e->wall_ms = s->clock.wall_ms(s->clock.ctx);
    TRY(audit_encode(e, &line));
    line.n -= 2; /* the brace and the newline */
    TRY(buf_append(&line, slice_text(OWN_WORD), OWN_LINE_MAX));
    TRY(buf_append(&line, slice_text(more), OWN_LINE_MAX));
    TRY(buf_append(&line, slice_text("}\n"), OWN_LINE_MAX));
    enum err err = trail_append(s->trail, buf_slice(&line));
    note_write(s, err);
    return err;
}

/* Where the broker is: what the next scribe goes on from. */
static enum err write_mark(struct scribe *s, const struct scribe_life *life, uint64_t run,
                           uint64_t last, const char *why)
{
    char more[160];
    struct event e = event_make(EVENT_connect);
    EVENT_TEXT(&e, target, slice_text("audit"));
    event_reason(&e, "%s: number %u of its supervisor, behind line %" PRIu64, why, life->generation,
                 last);
    (void)snprintf(more, sizeof more,
                   ",\"house\":\"%016" PRIx64 "\",\"broker\":%u,\"run\":\"%016" PRIx64
                   "\",\"at\":%" PRIu64,
                   life->house, life->generation, run, last);
    TRY(write_own(s, &e, more));
    s->mark_file = trail_file(s->trail);
    return OK;
}

/* The broker does what ours does not do: it is written down, a few times in a minute. */
static void blame(struct scribe *s, const char *text)
{
    struct event e = event_make(EVENT_audit_integrity);
    if (!take(&s->blames, 1, now_ms(s))) {
        return;
    }
    EVENT_TEXT(&e, target, slice_text("audit"));
    event_reason(&e,
                 "the broker sent the scribe %s: ours does not, so somebody may have broken into "
                 "it. Restart it, and keep the trail",
                 text);
    enum err err = write_own(s, &e, "");
    (void)err; /* note_write has said so */
    tell(s, &e);
}

/* ---- lines of the broker ---- */

/* What audit_encode writes: one object of texts and numbers in ASCII, with the time in front. */
static bool is_line(struct slice line)
{
    static const char front[] = "{\"time\":\"";
    if (line.n < sizeof front || line.p[line.n - 1] != '\n' || line.p[line.n - 2] != '}' ||
        !slice_has_prefix(line, slice_text(front))) {
        return false;
    }
    for (size_t i = 0; i + 1 < line.n; i++) {
        if (line.p[i] < 0x20 || line.p[i] > 0x7e) {
            return false;
        }
    }
    json_t *j = json_loadb((const char *)line.p, line.n - 1, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_object(j) && json_object_get(j, "by") == NULL;
    const char *key;
    json_t *value;
    json_object_foreach(j, key, value)
    {
        good = good && (json_is_string(value) || json_is_integer(value));
    }
    json_decref(j);
    return good;
}

/* Numbers that no line in the trail has: the count goes on behind them. */
static enum err skip_to(struct scribe *s, uint64_t last, const char *why)
{
    if (!take(&s->bytes, OWN_LINE_MAX, now_ms(s))) {
        return ERR_QUOTA;
    }
    TRY(write_mark(s, &s->marked, s->run, last, why));
    s->last = last;
    return OK;
}

static enum err take_line(struct scribe *s, struct slice line)
{
    if (!is_line(line)) {
        blame(s, "a line that is none, or that claims to be the scribe's");
        return skip_to(s, s->last + 1, "a line of the broker was left out");
    }
    if (!take(&s->bytes, line.n + CHAIN_FRONT_BYTES, now_ms(s))) {
        blame(s, "more than it takes for long (docs/THREATS.md)");
        return ERR_QUOTA;
    }
    enum err err = trail_append(s->trail, line);
    note_write(s, err);
    TRY(err);
    s->last++;
    if (s->mark_file != trail_file(s->trail)) {
        err = write_mark(s, &s->marked, s->run, s->last, "a new file, the broker goes on");
        (void)err; /* the one in the file before does it as well, once */
    }
    return OK;
}

static enum err take_lines(struct scribe *s, const struct scribe_request *q)
{
    struct rd lines = rd_from(q->lines);
    for (unsigned i = 0; i < q->n; i++) {
        struct slice line = scribe_next_line(&lines);
        if (q->first + i > s->last) {
            TRY(take_line(s, line));
        }
    }
    return OK;
}

/* ---- requests ---- */

static struct scribe_answer where(const struct scribe *s, enum scribe_type type)
{
    return (struct scribe_answer){.type = type, .run = s->run, .last = s->last};
}

static bool is_same_life(const struct scribe_life *a, const struct scribe_life *b)
{
    return a->house == b->house && a->generation == b->generation;
}

/* A broker has one run in its life. */
static struct scribe_answer hello(struct scribe *s, uint64_t run, uint64_t first)
{
    if (run == s->run && first > s->last + 1) {
        struct event e = event_make(EVENT_audit_integrity);
        EVENT_TEXT(&e, target, slice_text(TRAIL_DIR));
        event_reason(&e,
                     "%llu lines that the broker knows to be written are not in the trail: the "
                     "disk lost them, or somebody cut the end off. Keep the data directory",
                     (unsigned long long)(first - 1 - s->last));
        if (skip_to(s, first - 1, "lines that were there are gone") == OK) {
            tell(s, &e);
        }
    }
    if (run == s->run) {
        return where(s, SCRIBE_WELCOME);
    }
    if (s->run != 0 && is_same_life(&s->marked, &s->life)) {
        blame(s, "a beginning, and it had begun already");
        return where(s, SCRIBE_REFUSED);
    }
    if (write_mark(s, &s->life, run, 0, "a broker begins to write") == OK) {
        s->run = run;
        s->last = 0;
        s->marked = s->life;
    }
    return where(s, SCRIBE_WELCOME);
}

static struct scribe_answer append(struct scribe *s, const struct scribe_request *q)
{
    if (q->run != s->run) {
        return where(s, SCRIBE_WELCOME); /* it says hello, then */
    }
    if (q->first > s->last + 1) {
        return where(s, SCRIBE_REFUSED); /* what is between was lost with the scribe before */
    }
    enum err err = take_lines(s, q);
    struct scribe_answer a = where(s, SCRIBE_ACK);
    a.code = err;
    return a;
}

static enum err anchor_text(struct scribe *s, struct buf *text)
{
    struct anchor anchor;
    TRY(trail_anchor(s->trail, &anchor));
    s->is_dirty = false;
    return anchor_encode(&anchor, text);
}

static enum err serve(struct scribe *s, const struct scribe_request *q, struct buf *text)
{
    if (!take(&s->asks, 1, now_ms(s))) {
        return ERR_QUOTA;
    }
    if (q->type == SCRIBE_FLUSH) {
        s->is_dirty = false;
        return trail_sync(s->trail);
    }
    if (q->type == SCRIBE_ROLL_KEY) {
        TRY(trail_roll_key(s->trail));
    }
    return anchor_text(s, text);
}

void scribe_ask(struct scribe *s, struct slice request, uint8_t dst[SCRIBE_DATAGRAM_MAX],
                size_t *ret_n)
{
    AUTO(buf_done) struct buf text = {0};
    struct scribe_request q;
    struct scribe_answer a;
    *ret_n = 0;
    if (scribe_request_decode(request, &q) != OK) {
        blame(s, "a message that is none");
        return;
    }
    if (q.type == SCRIBE_HELLO) {
        a = hello(s, q.run, q.first);
    } else if (q.type == SCRIBE_APPEND) {
        a = append(s, &q);
    } else {
        a = (struct scribe_answer){.type = SCRIBE_DONE, .id = q.id, .code = serve(s, &q, &text)};
        a.text = a.code == OK ? buf_slice(&text) : (struct slice){0};
    }
    enum err err = scribe_answer_encode(&a, dst, SCRIBE_DATAGRAM_MAX, ret_n);
    (void)err; /* it has room for the longest */
}

void scribe_welcome(const struct scribe *s, uint8_t dst[SCRIBE_DATAGRAM_MAX], size_t *ret_n)
{
    const struct scribe_answer a = where(s, SCRIBE_BEGUN);
    enum err err = scribe_answer_encode(&a, dst, SCRIBE_DATAGRAM_MAX, ret_n);
    (void)err;
}

void scribe_broker(struct scribe *s, unsigned generation, const char *how)
{
    struct event e = event_make(EVENT_crash_recovery);
    char more[96];
    EVENT_TEXT(&e, target, slice_text("broker"));
    event_reason(&e,
                 "the broker %s, and another one is started: number %u. The last line it had "
                 "sent is number %llu of its run",
                 how, generation, (unsigned long long)s->last);
    (void)snprintf(more, sizeof more, ",\"broker\":%u", generation);
    enum err err = write_own(s, &e, more);
    (void)err;
    s->life.generation = generation;
}

/* ---- time ---- */

void scribe_tick(struct scribe *s)
{
    uint64_t now = now_ms(s);
    if (now < scribe_deadline(s)) {
        return;
    }
    if (trail_sync(s->trail) != OK) {
        log_line(LOG_ERROR, "audit: the last lines did not reach the disk; look at the disk");
    }
    s->is_dirty = false;
    s->sync_at_ms = now + SCRIBE_SYNC_MS;
}

uint64_t scribe_deadline(const struct scribe *s)
{
    uint64_t at = s->is_dirty ? 0 : trail_deadline(s->trail);
    return at < s->sync_at_ms ? s->sync_at_ms : at;
}

/* ---- opening ---- */

static bool own_number(const json_t *j, const char *key, uint64_t *ret)
{
    const char *text = json_string_value(json_object_get(j, key));
    char *end = NULL;
    if (text == NULL) {
        return false;
    }
    *ret = strtoull(text, &end, 16);
    return *end == '\0';
}

static void take_mark(struct scribe *s, struct slice line)
{
    json_t *j = json_loadb((const char *)line.p, line.n, 0, NULL);
    uint64_t run;
    uint64_t house;
    if (own_number(j, "run", &run) && own_number(j, "house", &house)) {
        s->run = run;
        s->last = (uint64_t)json_integer_value(json_object_get(j, "at"));
        s->marked = (struct scribe_life){
            .house = house,
            .generation = (unsigned)json_integer_value(json_object_get(j, "broker"))};
    }
    json_decref(j);
}

/* No line of a broker has these bytes: a quote in a text has a backslash before it, and nothing is
 * in an object of its own. */
static bool is_own(struct slice line)
{
    struct slice word = slice_text(OWN_WORD);
    return memmem(line.p, line.n, word.p, word.n) != NULL;
}

static void on_line(void *ctx, struct slice line)
{
    struct scribe *s = ctx;
    if (is_own(line)) {
        take_mark(s, line);
    } else {
        s->last++;
    }
}

static enum err find_run(struct scribe *s, const struct trail_setup *t)
{
    struct trail_sink sink = {.ctx = s, .line = on_line};
    struct trail_report report;
    TRY(trail_read(t->disk, t->root, SCRIBE_READ_FILES, &sink, &report));
    s->last = s->run != 0 ? s->last : 0;
    s->mark_file = trail_file(s->trail);
    return OK;
}

static void tell_amiss(struct scribe *s)
{
    struct trail_amiss amiss = trail_amiss(s->trail);
    struct event e = event_make(EVENT_audit_integrity);
    EVENT_TEXT(&e, target, slice_text(TRAIL_DIR));
    if (amiss.missing > 0) {
        event_reason(&e,
                     "the last %llu records that " ANCHOR_FILE " tells of are gone. Keep the data "
                     "directory, and run `sallyport audit verify`",
                     (unsigned long long)amiss.missing);
        tell(s, &e);
    }
    if (amiss.has_new_key) {
        event_reason(&e, "the key that signs the trail was not there, so a new one signs from here "
                         "on without the word of the old one. Look at who may write " TRAIL_KEY_FILE
                         ", and give auditors the new key: `sallyport audit key`");
        tell(s, &e);
    }
}

enum err scribe_open(const struct scribe_setup *setup, struct scribe **ret)
{
    AUTO(scribe_autofree) struct scribe *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->clock = setup->trail.clock;
    s->life = setup->life;
    uint64_t now = now_ms(s);
    s->bytes = bucket_of(SCRIBE_BURST_BYTES, SCRIBE_BYTES_PER_SECOND, 1000, now);
    s->asks = bucket_of(SCRIBE_ASKS_PER_MINUTE, SCRIBE_ASKS_PER_MINUTE, 60000, now);
    s->blames = bucket_of(SCRIBE_BLAMES_PER_MINUTE, SCRIBE_BLAMES_PER_MINUTE, 60000, now);
    TRY(trail_open(&setup->trail, &s->trail));
    TRY(find_run(s, &setup->trail));
    tell_amiss(s);
    *ret = TAKE(s);
    return OK;
}

struct trail *scribe_trail(struct scribe *s)
{
    return s->trail;
}

void scribe_stop(struct scribe *s)
{
    struct event e = event_make(EVENT_disconnect);
    EVENT_TEXT(&e, target, slice_text("audit"));
    event_reason(&e, "the scribe stops in order; line %" PRIu64 " of the broker is the last",
                 s->last);
    enum err err = write_own(s, &e, "");
    (void)err;
}

struct scribe *scribe_free(struct scribe *s)
{
    if (s == NULL) {
        return NULL;
    }
    s->trail = trail_free(s->trail);
    return mem_free(s);
}
