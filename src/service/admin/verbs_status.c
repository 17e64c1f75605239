/* status, metrics */
#include <inttypes.h>
#include <stdarg.h>

#include "service/admin/admin_private.h"
#include "service/courier/courier_view.h"

static uint64_t get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

static size_t count_exceptions(const struct directory_version *v, int64_t now)
{
    size_t n = 0;
    size_t at = 0;
    while (admin_exception_next(v, &at, now) != NULL) {
        n++;
    }
    return n;
}

static uint64_t count_alerts(const struct admin *a, int64_t now)
{
    uint64_t n = 0;
    size_t at = 0;
    while (alerts_next(&a->alerts, &at, now) != NULL) {
        n++;
    }
    return n;
}

struct metrics_sources admin_sources(const struct admin *a, const struct counters **sets,
                                     struct log_status *store, struct respond_counts *responses)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    int64_t now = admin_wall_ms(a);
    unsigned n = broker_workers(a->setup.broker);
    for (unsigned i = 0; i < n; i++) {
        sets[i] = broker_counters(a->setup.broker, i);
    }
    log_status(a->setup.log, store);
    respond_counts(a->respond, responses);
    return (struct metrics_sources){
        .responses = responses,
        .workers = sets,
        .n_workers = n,
        .listeners = a->listeners,
        .n_listeners = a->setup.n_listeners,
        .audit = a->setup.audit,
        .store = store,
        .memory_ceiling_bytes = broker_ceiling(a->setup.broker)->bytes,
        .memory_used_bytes = ceiling_used(broker_ceiling(a->setup.broker)),
        .memory_peak_bytes = ceiling_peak(broker_ceiling(a->setup.broker)),
        .open_alerts = count_alerts(a, now),
        .exceptions = count_exceptions(v, now),
        .principals = directory_version_count(v),
        .epoch = broker_realm_epoch(a->setup.broker),
        .started_wall_ms = a->started_wall_ms,
        .certificate_ends_wall_ms = a->setup.pki != NULL ? pki_server_not_after(a->setup.pki) : 0};
}

static void text_release(struct buf *b)
{
    buf_done(b);
}

enum err verb_metrics(void *ctx, const struct control_request *r, uint64_t token,
                      struct control_reply *reply)
{
    struct admin *a = ctx;
    const struct counters *sets[BROKER_WORKERS_MAX];
    AUTO(text_release) struct buf text = {0};
    (void)r;
    (void)token;
    struct log_status store;
    struct respond_counts responses;
    struct metrics_sources sources = admin_sources(a, sets, &store, &responses);
    TRY(metrics_text(a->setup.metrics, &sources, &text));
    TRY(courier_metrics(a->courier, &text));
    TRY(control_line(reply, json_pack("{s:s%}", "text", (const char *)text.p, text.n)));
    return control_finish(reply, 0, NULL);
}

void admin_set_courier(struct admin *a, const struct courier_view *c)
{
    a->courier = c;
}

/* ---- status ---- */

__attribute__((format(printf, 2, 3))) static void say(struct buf *text, const char *format, ...)
{
    enum { STATUS_TEXT_MAX = 256 * 1024 };
    char line[640];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t kept = n > 0 ? (size_t)n : 0;
    kept = kept < sizeof line ? kept : sizeof line - 1;
    enum err ignored = buf_append(text, slice_of(line, kept), STATUS_TEXT_MAX);
    (void)ignored; /* a shorter text is better than none */
}

static void uptime_text(uint64_t seconds, char *dst, size_t cap)
{
    snprintf(dst, cap, "%" PRIu64 "d %02" PRIu64 ":%02" PRIu64 ":%02" PRIu64, seconds / 86400,
             seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

static json_t *numbers(const struct metrics_sources *s, const struct counters *sum,
                       const struct metrics *m)
{
    uint64_t connections = get(&sum->connections_mqtt) + get(&sum->connections_coap);
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "connections",
                     (json_int_t)connections, "sessions", (json_int_t)get(&sum->sessions),
                     "subscriptions", (json_int_t)get(&sum->subscriptions), "retained_messages",
                     (json_int_t)get(&sum->retained_messages), "queued_messages",
                     (json_int_t)get(&sum->queued_messages), "principals",
                     (json_int_t)s->principals, "open_alerts", (json_int_t)s->open_alerts,
                     "resident_memory_bytes", (json_int_t)metrics_resident_bytes(m),
                     "open_descriptors", (json_int_t)metrics_open_descriptors(m));
}

/* As sallyport.yaml calls it. */
static const char *door_of(const struct admin_listener *l)
{
    return l->door == EVENT_PROTOCOL_https ? "enrol" : event_protocol_name(l->door);
}

static json_t *listeners(const struct admin *a, struct buf *text, const struct directory_version *v,
                         int64_t now)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->setup.n_listeners; i++) {
        const struct admin_listener *l = &a->setup.listeners[i];
        bool is_let_in = directory_exception_find(v, slice_text(l->name), DIRECTORY_ALLOW_PLAINTEXT,
                                                  now) != NULL;
        bool open = !l->is_plain || is_let_in;
        bool is_mixed = l->is_oscore && is_let_in;
        const char *state = !open            ? "closed: plain, and no exception opens it"
                            : is_mixed       ? "open, ALSO IN PLAINTEXT by an exception"
                            : l->is_plain    ? "OPEN IN PLAINTEXT by an exception"
                            : l->is_loopback ? "open on this machine alone, in plaintext"
                                             : "open";
        (void)json_array_append_new(
            list, json_pack("{s:s,s:s,s:i,s:s?,s:b,s:b,s:s,s:b}", "name", l->name, "door",
                            door_of(l), "port", (int)l->port, "bind", l->bind, "plaintext",
                            l->is_plain || l->is_loopback || is_mixed ? 1 : 0, "open", open ? 1 : 0,
                            "state", state, "mqtt_3_1", l->takes_v31 ? 1 : 0));
        say(text, "listener       %s  %s  port %u  %s%s\n", l->name, door_of(l), l->port, state,
            l->takes_v31 ? ", takes the old MQTT 3.1" : "");
    }
    return list;
}

/* A list of their own: who goes through the listeners finds a port behind each. */
static json_t *unopened(const struct admin *a, struct buf *text)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->setup.n_unopened; i++) {
        const struct admin_unopened *l = &a->setup.unopened[i];
        (void)json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "name", l->name, "door",
                                                    l->door, "bind", l->bind, "state", l->why));
        say(text, "listener       %s  %s  %s  %s\n", l->name, l->door, l->bind, l->why);
    }
    return list;
}

static json_t *exceptions(struct buf *text, const struct directory_version *v, int64_t now)
{
    json_t *list = json_array();
    size_t at = 0;
    for (const struct directory_exception *x = admin_exception_next(v, &at, now); x != NULL;
         x = admin_exception_next(v, &at, now)) {
        char shown[512];
        admin_exception_text(x, shown, sizeof shown);
        say(text, "EXCEPTION      %s\n", shown);
        (void)json_array_append_new(list, admin_exception_json(x));
    }
    return list;
}

static json_t *store_status(struct buf *text, const struct log_status *s)
{
    static const char *const words[] = {
        [LOG_FINE] = "fine", [LOG_FULL] = "full", [LOG_FAILING] = "failing"};
    static const char *const meanings[] = {
        [LOG_FINE] = "fine",
        [LOG_FULL] = "THE DISK IS FULL: what needs room is refused",
        [LOG_FAILING] = "THE DISK FAILS: nothing is acknowledged that should survive"};
    const unsigned mib = 20;
    say(text,
        "store          %s; %" PRIu64 " MiB in %u segments, %" PRIu64 " MiB alive, %" PRIu64
        " MiB free on the disk; %" PRIu64 " commits",
        meanings[s->state], s->bytes >> mib, s->segments, s->living_bytes >> mib,
        s->free_bytes >> mib, s->batches);
    if (s->damaged > 0) {
        say(text, "; %" PRIu64 " DAMAGED records", s->damaged);
    }
    say(text, "\n");
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "state", words[s->state],
                     "bytes", (json_int_t)s->bytes, "living_bytes", (json_int_t)s->living_bytes,
                     "free_bytes", (json_int_t)s->free_bytes, "segments", (json_int_t)s->segments,
                     "commits", (json_int_t)s->batches, "records", (json_int_t)s->records, "elided",
                     (json_int_t)s->elided, "sync_us", (json_int_t)s->sync_us, "cleaned_bytes",
                     (json_int_t)s->cleaned_bytes, "damaged", (json_int_t)s->damaged);
}

enum err verb_status(void *ctx, const struct control_request *r, uint64_t token,
                     struct control_reply *reply)
{
    struct admin *a = ctx;
    const struct counters *sets[BROKER_WORKERS_MAX];
    struct counters sum;
    char uptime[32];
    AUTO(text_release) struct buf text = {0};
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    (void)r;
    (void)token;
    int64_t now = admin_wall_ms(a);
    struct log_status store;
    struct respond_counts responses;
    struct metrics_sources s = admin_sources(a, sets, &store, &responses);
    metrics_sum(s.workers, s.n_workers, &sum);
    uint64_t up = (admin_now_ms(a) - a->started_ms) / 1000;
    uptime_text(up, uptime, sizeof uptime);
    char expires[CLOCK_ISO8601_BYTES];
    admin_time_text(pki_server_not_after(a->setup.pki), expires);
    bool is_settled = s.epoch >= directory_version_epoch(v);
    say(&text, "sallyport      %s, up %s, %zu workers\n", SALLYPORT_VERSION, uptime, s.n_workers);
    say(&text, "sandbox        %s\n", a->setup.sandbox != NULL ? a->setup.sandbox : "-");
    json_t *doors = listeners(a, &text, v, now);
    json_t *closed = unopened(a, &text);
    json_t *weak = exceptions(&text, v, now);
    say(&text, "devices        %" PRIu64 "\n", s.principals);
    say(&text,
        "connections    %" PRIu64 " mqtt, %" PRIu64 " coap; %" PRIu64 " sessions, %" PRIu64
        " subscriptions\n",
        get(&sum.connections_mqtt), get(&sum.connections_coap), get(&sum.sessions),
        get(&sum.subscriptions));
    say(&text, "messages       %" PRIu64 " retained, %" PRIu64 " queued\n",
        get(&sum.retained_messages), get(&sum.queued_messages));
    say(&text, "memory         %" PRIu64 " of %" PRIu64 " MiB\n", s.memory_used_bytes >> 20,
        s.memory_ceiling_bytes >> 20);
    json_t *kept = store_status(&text, &store);
    say(&text, "policy         epoch %" PRIu64 "%s\n", s.epoch,
        is_settled ? "" : ", a newer one is on its way to the workers");
    say(&text, "certificate    until %s\n", expires);
    size_t n_weak = json_array_size(weak);
    say(&text, "alerts         %" PRIu64 " in the last day, %zu exception%s in force%s\n",
        s.open_alerts, n_weak, n_weak == 1 ? "" : "s",
        s.open_alerts + n_weak > 0 ? ": see `sallyport alerts`" : "");
    struct scribe_client_state scribe = audit_scribe(a->setup.audit);
    say(&text,
        "audit          scribe %s, %" PRIu64 " events wait, started again %" PRIu64 " times\n",
        scribe.is_behind ? "BEHIND" : "writes", scribe.pending, scribe.restarts);
    if (audit_lost(a->setup.audit) > 0) {
        say(&text, "AUDIT TRAIL    %" PRIu64 " events could not be written\n",
            audit_lost(a->setup.audit));
    }
    json_t *line = json_pack(
        "{s:s,s:I,s:I,s:s,s:o,s:o,s:o,s:I,s:b,s:s,s:I,s:{s:b,s:I,s:I},s:o,s:o,s:s%}", "version",
        SALLYPORT_VERSION, "uptime_s", (json_int_t)up, "workers", (json_int_t)s.n_workers,
        "sandbox", a->setup.sandbox != NULL ? a->setup.sandbox : "-", "listeners", doors,
        "unopened", closed, "exceptions", weak, "epoch", (json_int_t)s.epoch, "settled",
        is_settled ? 1 : 0, "certificate_ends", expires, "audit_lost",
        (json_int_t)audit_lost(a->setup.audit), "scribe", "behind", scribe.is_behind ? 1 : 0,
        "pending", (json_int_t)scribe.pending, "restarts", (json_int_t)scribe.restarts, "numbers",
        numbers(&s, &sum, a->setup.metrics), "store", kept, "text", (const char *)text.p, text.n);
    TRY(control_line(reply, line));
    return control_finish(reply, 0, NULL);
}
