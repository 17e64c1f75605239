/* One row for each sink: what its couriers said, and since when something waits. */
#include "service/courier/courier_view.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { DATAGRAMS_MAX = 64 /* of one call */, REPORTS_MAX = 8, MINUTE_MS = 60 * 1000 };

struct row {
    struct courier_sink sink;
    bool is_known;                 /* a courier has spoken of it */
    uint32_t edition;              /* which one */
    uint64_t edition_ms;           /* since when it does */
    struct courier_numbers before; /* of the couriers before it */
    struct courier_numbers now;
    uint64_t said_ms;  /* when it last spoke; before the first: since it should */
    uint64_t since_ms; /* the oldest record that waits was seen; 0: none waits */
    bool is_silent;
    char trouble[COURIER_TEXT_BYTES];
    struct courier_report reports[REPORTS_MAX]; /* the oldest first; when full, new ones go */
    size_t n_reports;
    uint64_t minute_ms;
    unsigned n_in_minute;
};

struct courier_view {
    int fd;
    struct clock clock;
    struct row rows[COURIER_SINKS_MAX];
    size_t n;
    uint64_t bad;
};

enum err courier_view_new(int fd, const struct clock *clock, struct courier_view **ret)
{
    struct courier_view *v = mem_zalloc(sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    v->fd = fd;
    v->clock = *clock;
    *ret = v;
    return OK;
}

struct courier_view *courier_view_free(struct courier_view *v)
{
    return mem_free(v);
}

static uint64_t now_ms(const struct courier_view *v)
{
    return v->clock.mono_ms(v->clock.ctx);
}

static struct row *find(struct courier_view *v, const char *name)
{
    for (size_t i = 0; i < v->n; i++) {
        if (strcmp(v->rows[i].sink.name, name) == 0) {
            return &v->rows[i];
        }
    }
    return NULL;
}

void courier_view_set(struct courier_view *v, const struct courier_sink *sinks, size_t n)
{
    struct row rows[COURIER_SINKS_MAX];
    memset(rows, 0, sizeof rows);
    n = n < COURIER_SINKS_MAX ? n : COURIER_SINKS_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct row *old = find(v, sinks[i].name);
        rows[i] = old != NULL ? *old : (struct row){.said_ms = now_ms(v)};
        rows[i].sink = sinks[i];
        rows[i].is_silent = false;
        rows[i].n_reports = 0;
        (void)snprintf(rows[i].sink.state, sizeof rows[i].sink.state, "export %s", sinks[i].name);
    }
    memcpy(v->rows, rows, sizeof rows);
    v->n = n;
}

/* ---- what it says ---- */

static struct courier_numbers sum(const struct courier_numbers *a, const struct courier_numbers *b)
{
    return (struct courier_numbers){.sent = a->sent + b->sent,
                                    .taken = a->taken + b->taken,
                                    .retries = a->retries + b->retries,
                                    .lost = a->lost + b->lost,
                                    .lag_records = b->lag_records,
                                    .lag_ms = b->lag_ms};
}

static void add_report(struct row *r, enum courier_news news, uint64_t n, const char *text)
{
    if (r->n_reports < REPORTS_MAX) {
        struct courier_report *report = &r->reports[r->n_reports++];
        *report = (struct courier_report){.news = news, .sink = &r->sink, .n = n};
        (void)snprintf(report->text, sizeof report->text, "%s", text);
    }
}

static void begin_edition(struct row *r, uint32_t edition, uint64_t now)
{
    if (r->is_known && r->edition == edition) {
        return;
    }
    r->before = sum(&r->before, &r->now);
    r->now = (struct courier_numbers){.lag_ms = r->now.lag_ms};
    r->is_known = true;
    r->edition = edition;
    r->edition_ms = now;
}

/* Its clock is ours, but not its word: nothing waits since before it began. */
static uint64_t waits_since(const struct courier_numbers *n, uint64_t now)
{
    return n->lag_ms == 0 ? 0 : n->lag_ms < now ? now - n->lag_ms : 1;
}

static void note_state(struct row *r, const struct courier_message *m, uint64_t now)
{
    bool has_progress = m->numbers.taken > r->now.taken;
    uint64_t taken = has_progress ? m->numbers.taken - r->now.taken : 0;
    uint64_t since_ms = waits_since(&m->numbers, now);
    bool is_settled = now - r->edition_ms >= COURIER_SETTLE_MS;
    if (has_progress || (since_ms == 0 && is_settled)) {
        if (r->is_silent) {
            r->is_silent = false;
            add_report(r, COURIER_RECOVERED, taken, "");
        }
        r->since_ms = since_ms;
    } else if (since_ms > 0 && r->since_ms == 0) {
        r->since_ms = since_ms;
    }
    r->now = m->numbers;
    memcpy(r->trouble, m->text, sizeof r->trouble);
}

/* ERR_LIMIT: so many has nobody to say. */
static enum err note_report(struct row *r, const struct courier_message *m, uint64_t now)
{
    if (now - r->minute_ms >= MINUTE_MS) {
        r->minute_ms = now;
        r->n_in_minute = 0;
    }
    if (r->n_in_minute++ >= COURIER_VIEW_REPORTS) {
        return ERR_LIMIT;
    }
    add_report(r, m->news, m->n, m->text);
    if (m->news == COURIER_RECOVERED) {
        r->is_silent = false;
        r->since_ms = 0;
    }
    return OK;
}

enum err courier_view_note(struct courier_view *v, struct slice bytes)
{
    struct courier_message m;
    TRY(courier_message_decode(bytes, &m));
    struct row *r = find(v, m.sink);
    uint64_t now = now_ms(v);
    if (r == NULL) {
        return OK; /* a reload took it away, and the courier does not know yet */
    }
    begin_edition(r, m.edition, now);
    r->said_ms = now;
    if (m.type == COURIER_REPORT) {
        return note_report(r, &m, now);
    }
    note_state(r, &m, now);
    return OK;
}

void courier_view_receive(struct courier_view *v)
{
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX + 1];
    for (size_t i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t n = recv(v->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n <= 0) {
            return;
        }
        v->bad += courier_view_note(v, slice_of(bytes, (size_t)n)) != OK;
    }
}

/* ---- what follows from it ---- */

static void look_for_silence(struct row *r, uint64_t now)
{
    uint64_t limit_ms = (uint64_t)r->sink.silence_s * 1000;
    bool is_away = now - r->said_ms >= limit_ms;
    bool waits = r->since_ms > 0 && now - r->since_ms >= limit_ms;
    if (r->is_silent || (!is_away && !waits)) {
        return;
    }
    r->is_silent = true;
    uint64_t for_ms = waits ? now - r->since_ms : now - r->said_ms;
    add_report(r, COURIER_SILENT, for_ms / 1000,
               is_away                 ? "the courier's process says nothing"
               : r->trouble[0] != '\0' ? r->trouble
                                       : "it takes records and confirms none");
}

bool courier_view_take(struct courier_view *v, struct courier_report *ret)
{
    uint64_t now = now_ms(v);
    for (size_t i = 0; i < v->n; i++) {
        struct row *r = &v->rows[i];
        look_for_silence(r, now);
        if (r->n_reports > 0) {
            *ret = r->reports[0];
            r->n_reports--;
            memmove(r->reports, r->reports + 1, r->n_reports * sizeof r->reports[0]);
            return true;
        }
    }
    return false;
}

uint64_t courier_view_bad(struct courier_view *v)
{
    uint64_t bad = v->bad;
    v->bad = 0;
    return bad;
}

size_t courier_view_count(const struct courier_view *v)
{
    return v != NULL ? v->n : 0;
}

const struct courier_sink *courier_view_sink(const struct courier_view *v, size_t i)
{
    return &v->rows[i].sink;
}

struct courier_numbers courier_view_numbers(const struct courier_view *v, size_t i)
{
    return sum(&v->rows[i].before, &v->rows[i].now);
}

static enum err put_family(const struct courier_view *v, const char *name, const char *help,
                           const char *type, size_t at, struct buf *ret)
{
    char line[256];
    (void)snprintf(line, sizeof line, "# HELP sallyport_sink_%s %s\n# TYPE sallyport_sink_%s %s\n",
                   name, help, name, type);
    TRY(buf_append(ret, slice_text(line), SIZE_MAX));
    for (size_t i = 0; i < v->n; i++) {
        struct courier_numbers n = courier_view_numbers(v, i);
        const uint64_t values[] = {n.sent, n.taken, n.retries, n.lost, n.lag_records, n.lag_ms};
        char value[40];
        if (at == COUNT_OF(values) - 1) {
            (void)snprintf(value, sizeof value, "%" PRIu64 ".%03u", values[at] / 1000,
                           (unsigned)(values[at] % 1000));
        } else {
            (void)snprintf(value, sizeof value, "%" PRIu64, values[at]);
        }
        (void)snprintf(line, sizeof line, "sallyport_sink_%s{sink=\"%s\"} %s\n", name,
                       v->rows[i].sink.name, value);
        TRY(buf_append(ret, slice_text(line), SIZE_MAX));
    }
    return OK;
}

enum err courier_metrics(const struct courier_view *v, struct buf *ret)
{
    static const struct {
        const char *name, *help, *type;
    } families[] = {{"sent_total", "records written to the sink, repetitions included", "counter"},
                    {"taken_total", "records that the sink confirmed", "counter"},
                    {"retries_total", "connections to the sink that failed", "counter"},
                    {"lost_total", "records that were gone before the sink took them", "counter"},
                    {"lag_records", "records read for the sink and not confirmed", "gauge"},
                    {"lag_seconds", "how long the oldest of them has waited", "gauge"}};
    for (size_t i = 0; v != NULL && v->n > 0 && i < COUNT_OF(families); i++) {
        TRY(put_family(v, families[i].name, families[i].help, families[i].type, i, ret));
    }
    return OK;
}
