#include "service/watch/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/mem.h"
#include "service/respond/respond.h"

struct metrics {
    int statm; /* -1: not there */
    DIR *fds;  /* NULL: not there */
    int64_t page_bytes;
};

enum err metrics_prepare(struct metrics **ret)
{
    struct metrics *m = mem_zalloc(sizeof *m);
    if (m == NULL) {
        return ERR_NOMEM;
    }
    m->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    int fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    m->fds = fds >= 0 ? fdopendir(fds) : NULL;
    if (m->fds == NULL && fds >= 0) {
        (void)close(fds);
    }
    m->page_bytes = sysconf(_SC_PAGESIZE);
    *ret = m;
    return OK;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (m == NULL) {
        return NULL;
    }
    if (m->statm >= 0) {
        (void)close(m->statm);
    }
    if (m->fds != NULL) {
        (void)closedir(m->fds);
    }
    return mem_free(m);
}

int64_t metrics_resident_bytes(const struct metrics *m)
{
    char text[128];
    ssize_t n = m != NULL && m->statm >= 0 ? pread(m->statm, text, sizeof text - 1, 0) : -1;
    if (n <= 0) {
        return -1;
    }
    text[n] = '\0';
    char *second = NULL;
    (void)strtoull(text, &second, 10); /* pages of address space; the next number is resident */
    return (int64_t)strtoull(second, NULL, 10) * m->page_bytes;
}

int64_t metrics_open_descriptors(const struct metrics *m)
{
    if (m == NULL || m->fds == NULL) {
        return -1;
    }
    int64_t n = 0;
    rewinddir(m->fds);
    for (const struct dirent *d = readdir(m->fds); d != NULL; d = readdir(m->fds)) {
        n += d->d_name[0] != '.' ? 1 : 0;
    }
    return n;
}

static uint64_t get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void metrics_sum(const struct counters *const *workers, size_t n, struct counters *ret)
{
    *ret = (struct counters){0};
    for (size_t i = 0; i < n; i++) {
#define X(field, name, label, type, meaning) count_add(&ret->field, get(&workers[i]->field));
        COUNTERS(X)
#undef X
        for (size_t at = 0; at < COUNTERS_LISTENERS_MAX; at++) {
            count_add(&ret->connections_at[at], get(&workers[i]->connections_at[at]));
        }
        for (size_t limit = 0; limit < LIMIT_COUNT; limit++) {
            count_add(&ret->refused_by[limit], get(&workers[i]->refused_by[limit]));
        }
    }
    /* Every worker has the whole retained index: the fullest one is the number, not the sum. */
    count_set(&ret->retained_messages, 0);
    count_set(&ret->retained_bytes, 0);
    for (size_t i = 0; i < n; i++) {
        if (get(&workers[i]->retained_messages) > get(&ret->retained_messages)) {
            count_set(&ret->retained_messages, get(&workers[i]->retained_messages));
            count_set(&ret->retained_bytes, get(&workers[i]->retained_bytes));
        }
    }
}

/* ---- text ---- */

struct page {
    struct buf *out;
    enum err err;
    const char *family; /* of the last line, so that HELP and TYPE come once */
};

__attribute__((format(printf, 2, 3))) static void put(struct page *p, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (p->err == OK && (n < 0 || (size_t)n >= sizeof line)) {
        p->err = ERR_TOO_LARGE;
    }
    if (p->err == OK) {
        p->err = buf_append(p->out, slice_of(line, (size_t)n), METRICS_TEXT_MAX);
    }
}

static void head(struct page *p, const char *name, const char *type, const char *meaning)
{
    if (p->family != NULL && strcmp(p->family, name) == 0) {
        return;
    }
    p->family = name;
    put(p, "# HELP sallyport_%s %s\n# TYPE sallyport_%s %s\n", name, meaning, name, type);
}

static void number(struct page *p, const char *name, const char *type, const char *meaning,
                   uint64_t value)
{
    head(p, name, type, meaning);
    put(p, "sallyport_%s %" PRIu64 "\n", name, value);
}

static void duration(struct page *p, const char *name, const char *meaning, uint64_t us)
{
    head(p, name, "counter", meaning);
    put(p, "sallyport_%s %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
}

static void row(struct page *p, const char *name, const char *label, const char *type,
                const char *meaning, uint64_t value)
{
    head(p, name, type, meaning);
    put(p, "sallyport_%s%s%s%s %" PRIu64 "\n", name, label[0] != '\0' ? "{" : "", label,
        label[0] != '\0' ? "}" : "", value);
}

static void connections(struct page *p, const struct metrics_sources *s, const struct counters *sum)
{
    head(p, "connections", "gauge", "open connections and associations");
    for (size_t i = 0; i < s->n_listeners; i++) {
        put(p, "sallyport_connections{listener=\"%s\"} %" PRIu64 "\n", s->listeners[i],
            get(&sum->connections_at[i]));
    }
}

static void counters_text(struct page *p, const struct counters *sum)
{
#define X(field, name, label, type, meaning)                                                       \
    if (strcmp(#type, "microseconds") == 0) {                                                      \
        duration(p, name, meaning, get(&sum->field));                                              \
    } else if (strcmp(#type, "elsewhere") != 0) {                                                  \
        row(p, name, label, #type, meaning, get(&sum->field));                                     \
    }
    COUNTERS(X)
#undef X
}

static void limits_text(struct page *p, const struct counters *sum)
{
    static const char *const names[LIMIT_COUNT] = {
#define X(name) [LIMIT_##name] = #name,
        LIMIT_NAMES(X)
#undef X
    };
    head(p, "limit_refusals_total", "counter", "refusals by the bounds of the configuration");
    for (unsigned i = LIMIT_none + 1; i < LIMIT_COUNT; i++) {
        put(p, "sallyport_limit_refusals_total{limit=\"%s\"} %" PRIu64 "\n", names[i],
            get(&sum->refused_by[i]));
    }
}

static void events_text(struct page *p, const struct audit *audit)
{
    head(p, "events_total", "counter", "events by category, repeats included");
    for (unsigned c = 0; c < EVENT_COUNT; c++) {
        put(p, "sallyport_events_total{category=\"%s\"} %" PRIu64 "\n",
            event_category_name((enum event_category)c),
            audit_total(audit, (enum event_category)c));
    }
    number(p, "audit_lost_total", "counter", "events that could not be written to the trail",
           audit_lost(audit));
    struct scribe_client_state scribe = audit_scribe(audit);
    number(p, "audit_pending", "gauge", "events that wait for the scribe", scribe.pending);
    number(p, "audit_scribe_restarts_total", "counter", "scribes that came after the first",
           scribe.restarts);
}

static void seconds(struct page *p, const char *name, const char *meaning, uint64_t us,
                    uint64_t count)
{
    head(p, name, "summary", meaning);
    put(p, "sallyport_%s_sum %" PRIu64 ".%06" PRIu64 "\n", name, us / 1000000, us % 1000000);
    put(p, "sallyport_%s_count %" PRIu64 "\n", name, count);
}

/* Of each worker alone: in a sum the many short turns of an idle one hide the long ones of another.
 */
static void turn_times(struct page *p, const struct metrics_sources *s)
{
    static const char name[] = "worker_turn_seconds";
    head(p, name, "histogram", "time of each worker's turns, between being awake and asleep");
    for (size_t i = 0; i < s->n_workers; i++) {
        const struct counters *c = s->workers[i];
        uint64_t n = 0, us = get(&c->turn_us);
        for (unsigned at = 0; at < TURN_TIME_BUCKETS - 1; at++) {
            uint64_t bound_us = turn_time_bound_us(at);
            n += get(&c->turn_time.n[at]);
            put(p,
                "sallyport_%s_bucket{worker=\"%zu\",le=\"%" PRIu64 ".%06" PRIu64 "\"} %" PRIu64
                "\n",
                name, i, bound_us / 1000000, bound_us % 1000000, n);
        }
        n += get(&c->turn_time.n[TURN_TIME_BUCKETS - 1]);
        put(p, "sallyport_%s_bucket{worker=\"%zu\",le=\"+Inf\"} %" PRIu64 "\n", name, i, n);
        put(p, "sallyport_%s_sum{worker=\"%zu\"} %" PRIu64 ".%06" PRIu64 "\n", name, i,
            us / 1000000, us % 1000000);
        put(p, "sallyport_%s_count{worker=\"%zu\"} %" PRIu64 "\n", name, i, n);
    }
}

static void ratio(struct page *p, uint64_t in, uint64_t out)
{
    head(p, "coap_amplification_ratio", "gauge", "bytes sent for a byte of unproven addresses");
    put(p, "sallyport_coap_amplification_ratio %.3f\n", in > 0 ? (double)out / (double)in : 0.0);
}

static void worst_ratio(struct page *p, const struct metrics_sources *s)
{
    uint64_t worst = 0;
    for (size_t i = 0; i < s->n_workers; i++) {
        uint64_t of_one = get(&s->workers[i]->coap_worst_per_mille);
        worst = of_one > worst ? of_one : worst;
    }
    head(p, "coap_amplification_worst_ratio", "gauge",
         "the same of the one datagram that brought about most");
    put(p, "sallyport_coap_amplification_worst_ratio %" PRIu64 ".%03" PRIu64 "\n", worst / 1000,
        worst % 1000);
}

/* Points in wall time. */
static void timestamp(struct page *p, const char *name, const char *meaning, int64_t wall_ms)
{
    if (wall_ms > 0) {
        number(p, name, "gauge", meaning, (uint64_t)wall_ms / 1000);
    }
}

static void process_text(struct page *p, const struct metrics *m)
{
    int64_t resident = metrics_resident_bytes(m);
    int64_t descriptors = metrics_open_descriptors(m);
    if (resident >= 0) {
        number(p, "resident_memory_bytes", "gauge", "memory of the broker", (uint64_t)resident);
    }
    if (descriptors >= 0) {
        number(p, "open_descriptors", "gauge", "open descriptors of the broker",
               (uint64_t)descriptors);
    }
}

static void store_text(struct page *p, const struct log_status *s)
{
    static const char *const states[] = {
        [LOG_FINE] = "fine", [LOG_FULL] = "full", [LOG_FAILING] = "failing"};
    seconds(p, "store_commit_seconds", "writing and syncing batches of the store", s->sync_us,
            s->batches);
    number(p, "store_records_total", "counter", "records committed", s->records);
    number(p, "store_elided_total", "counter", "records settled before they were written",
           s->elided);
    number(p, "store_bytes", "gauge", "bytes of the store's segments", s->bytes);
    number(p, "store_living_bytes", "gauge", "bytes of records that are needed", s->living_bytes);
    number(p, "store_free_bytes", "gauge", "bytes free on the store's file system", s->free_bytes);
    number(p, "store_segments", "gauge", "files of the store", s->segments);
    number(p, "store_cleaned_bytes_total", "counter", "bytes copied by the cleaner",
           s->cleaned_bytes);
    number(p, "store_damaged_total", "counter", "records that did not verify", s->damaged);
    head(p, "store_state", "gauge", "1 for the state the store is in");
    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++) {
        put(p, "sallyport_store_state{state=\"%s\"} %d\n", states[i], s->state == i ? 1 : 0);
    }
}

static void responses_text(struct page *p, const struct respond_counts *c)
{
    head(p, "responses", "gauge", "answers to misuse that run");
    for (unsigned i = ANSWER_THROTTLE; i < ANSWER_KINDS; i++) {
        put(p, "sallyport_responses{answer=\"%s\"} %" PRIu64 "\n", answer_name((enum answer_kind)i),
            c->running[i]);
    }
    head(p, "responses_started_total", "counter", "answers to misuse that began since the start");
    for (unsigned i = ANSWER_THROTTLE; i < ANSWER_KINDS; i++) {
        put(p, "sallyport_responses_started_total{answer=\"%s\"} %" PRIu64 "\n",
            answer_name((enum answer_kind)i), c->started[i]);
    }
    number(p, "responses_dry_run_total", "counter", "answers that a dry run would have begun",
           c->trials);
    head(p, "responses_withheld_total", "counter", "answers of rules that did not begin");
    put(p, "sallyport_responses_withheld_total{reason=\"except\"} %" PRIu64 "\n", c->exempt);
    put(p, "sallyport_responses_withheld_total{reason=\"per_hour\"} %" PRIu64 "\n", c->capped);
}

enum err metrics_text(const struct metrics *m, const struct metrics_sources *s, struct buf *ret)
{
    struct page p = {.out = ret};
    struct counters sum;
    metrics_sum(s->workers, s->n_workers, &sum);
    head(&p, "build_info", "gauge", "always 1; the version is a label");
    put(&p, "sallyport_build_info{version=\"%s\"} 1\n", SALLYPORT_VERSION);
    timestamp(&p, "start_time_seconds", "when the broker was started, in Unix time",
              s->started_wall_ms);
    timestamp(&p, "certificate_end_time_seconds",
              "when the server's certificate ends, in Unix time", s->certificate_ends_wall_ms);
    process_text(&p, m);
    number(&p, "memory_ceiling_bytes", "gauge", "memory_bytes: from 80 % of it on, memory is shed",
           s->memory_ceiling_bytes);
    number(&p, "memory_used_bytes", "gauge", "memory in use, as it is held against the ceiling",
           s->memory_used_bytes);
    number(&p, "memory_peak_bytes", "gauge", "the most that was in use at a time",
           s->memory_peak_bytes);
    connections(&p, s, &sum);
    counters_text(&p, &sum);
    limits_text(&p, &sum);
    seconds(&p, "turn_seconds", "time of the workers' turns", get(&sum.turn_us), get(&sum.turns));
    turn_times(&p, s);
    ratio(&p, get(&sum.coap_in_bytes), get(&sum.coap_out_bytes));
    worst_ratio(&p, s);
    if (s->store != NULL) {
        store_text(&p, s->store);
    }
    if (s->audit != NULL) {
        events_text(&p, s->audit);
    }
    number(&p, "open_alerts", "gauge", "alerts of the last day", s->open_alerts);
    number(&p, "exceptions", "gauge", "weakenings in force", s->exceptions);
    if (s->responses != NULL) {
        responses_text(&p, s->responses);
    }
    number(&p, "principals", "gauge", "principals in the directory", s->principals);
    number(&p, "realm_epoch", "gauge", "epoch that every worker decides by", s->epoch);
    return p.err;
}
