/* The service thread: the link to the supervisor, the control socket, the workers' events; until it
 * is told to stop. */
#include "app/daemon/broker.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <unistd.h>

#include "app/daemon/patience.h"
#include "app/daemon/reload.h"
#include "app/daemon/scribe_socket.h"
#include "base/log.h"
#include "base/mem.h"
#include "security/crypto/prepare.h"
#include "security/password/password.h"
#include "service/admin/admin.h"
#include "service/courier/courier_view.h"

enum {
    DRAIN_MS = 8000,   /* the supervisor waits 10 s */
    BAD_MS = 60 * 1000 /* between two words about one thing that says nonsense */
};

struct house {
    struct loop_source link;   /* first: the supervisor's socket */
    struct loop_source scribe; /* its answers; the next tick reads them */
    const struct boot *boot;
    struct assembly parts;
    struct loop *loop;
    struct audit *audit;
    struct admin *admin;
    struct loop_source courier_link; /* its process, which tells of the sinks */
    struct courier_view *courier;
    struct config_export exported; /* as the view has it */
    uint64_t bad_at_ms;            /* then its nonsense may be told of again */
    struct admin_listener listeners[BOOT_LISTENERS_MAX];
    struct admin_unopened unopened[CONFIG_LISTENERS_MAX];
    struct metrics *metrics;
    struct reload reload;
    char sandbox_line[96];
    bool is_stopping;
    uint64_t stop_at_ms;
    struct progress opening;
    atomic_bool is_reload_early; /* as a stop: heard by the thread that waits for the opening */
};

MUST_USE enum err broker_prepare(struct metrics **ret)
{
    json_object_seed(0); /* from /dev/urandom: without it JSON keys could be chosen to collide */
    tzset();             /* certificate times ask for it later, and /etc is closed then */
    TRY(crypto_prepare());
    TRY(password_prepare());
    return metrics_prepare(ret);
}

/* ---- events of our own ---- */

static void report_start(struct house *h, const struct sandbox_report *sandbox)
{
    const struct boot *b = h->boot;
    if (b->last != BOOT_LAST_NONE) {
        static const char *const how[] = {"", "exit code", "signal", "hang, code"};
        struct event e = event_make(EVENT_crash_recovery);
        event_reason(&e, "the broker before this one ended by %s %u and was restarted",
                     how[b->last], b->last_code);
        admin_event(h->admin, &e);
    }
    if (sandbox->landlock_abi == 0) {
        struct event e = event_make(EVENT_exposure);
        event_reason(
            &e, "this kernel has no Landlock: the broker is held by seccomp and its user alone. "
                "Use Linux 5.13 or newer");
        admin_event(h->admin, &e);
    }
}

/* A rule lets it, and it remains a thing to know. */
static void report_groups(struct house *h, const struct config *c)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct config_listener *l = &c->listeners[i];
        char groups[NET_MULTICAST_TEXT_BYTES];
        if (l->multicast.n_groups == 0) {
            continue;
        }
        struct event e = event_make(EVENT_exposure);
        EVENT_TEXT(&e, listener, slice_text(l->name));
        net_multicast_text(&l->multicast, groups);
        event_reason(&e,
                     "its multicast rule answers /.well-known/core to whoever asks a group (%s): "
                     "to addresses that nobody has proven, three bytes for one at most. Without "
                     "the rule nothing is joined",
                     groups);
        admin_event(h->admin, &e);
    }
}

static void report_denials(struct house *h)
{
    struct sandbox_denial denials[8];
    size_t n = sandbox_denials(denials, COUNT_OF(denials));
    for (size_t i = 0; i < n; i++) {
        struct event e = event_make(EVENT_exposure);
        const char *call = sandbox_call_name(denials[i].call);
        e.count = denials[i].count;
        EVENT_TEXT(&e, target, slice_text(call));
        event_reason(
            &e,
            "the sandbox refused %s: the broker never needs it, so somebody may have taken it "
            "over. Restart it and keep the audit trail",
            call);
        admin_event(h->admin, &e);
    }
}

/* What becomes of the trail at its sinks. */
static void report_sinks(struct house *h)
{
    struct courier_report r;
    while (courier_view_take(h->courier, &r)) {
        struct event e = courier_event(&r);
        if (r.news == COURIER_SILENT) {
            admin_hold(h->admin, r.sink->state, &e);
            continue;
        }
        if (r.news == COURIER_RECOVERED) {
            admin_release(h->admin, r.sink->state);
        }
        admin_event(h->admin, &e);
    }
}

static void set_sinks(struct house *h, const struct config_export *c)
{
    for (size_t i = 0; i < courier_view_count(h->courier); i++) {
        admin_release(h->admin, courier_view_sink(h->courier, i)->state);
    }
    h->exported = *c;
    courier_view_set(h->courier, c->sinks, c->n);
}

/* ---- life ---- */

static void notify(void *ctx)
{
    struct house *h = ctx;
    loop_wake(h->loop);
}

static uint64_t mono_ms(const struct house *h)
{
    return h->parts.clock.mono_ms(h->parts.clock.ctx);
}

static const char *websocket_path(const struct config *c, const char *name)
{
    const struct config_listener *l = config_listener_find(c, name);
    return l != NULL && l->websocket ? l->path : NULL;
}

/* c: of the start, which stays, and so does the address. */
static const char *bind_of(const struct config *c, const char *name)
{
    const struct config_listener *l = config_listener_find(c, name);
    return l != NULL ? l->bind : NULL;
}

static enum err certificate_changed(void *ctx, struct why *why)
{
    struct house *h = ctx;
    return reload_certificate(&h->reload, why);
}

/* Those of sallyport.yaml that the supervisor passed no socket for. */
static size_t fill_unopened(struct house *h)
{
    const struct config *c = &h->parts.config;
    size_t n = 0;
    for (size_t i = 0; i < c->n_listeners; i++) {
        const struct config_listener *l = &c->listeners[i];
        size_t at = 0;
        while (at < h->boot->n_listeners && strcmp(h->boot->listeners[at].name, l->name) != 0) {
            at++;
        }
        if (at == h->boot->n_listeners) {
            h->unopened[n++] = (struct admin_unopened){
                .name = l->name,
                .door = config_door_name(l->door),
                .bind = l->bind,
                .why = config_is_absent(l) ? "not opened: this kind of door is not there yet"
                                           : "not opened: the log of the start says why"};
        }
    }
    return n;
}

static enum err open_admin(struct house *h, const struct sandbox_report *sandbox)
{
    struct assembly *p = &h->parts;
    struct audit_setup audit = {.disk = p->disk,
                                .clock = p->clock,
                                .root = keyring_root(p->vault.keyring),
                                .random = p->random,
                                .link = scribe_socket(&h->scribe.fd)};
    TRY(audit_open(&audit, &h->audit));
    size_t n = 0;
    for (size_t i = 0; i < h->boot->n_listeners; i++) {
        const struct boot_listener *b = &h->boot->listeners[i];
        h->listeners[n++] =
            (struct admin_listener){.name = b->name,
                                    .door = p->serving->entrances[i].entrance.protocol,
                                    .path = websocket_path(&p->serving->config, b->name),
                                    .is_plain = p->serving->entrances[i].entrance.is_plain,
                                    .is_loopback = p->serving->entrances[i].entrance.is_open,
                                    .is_oscore = p->serving->entrances[i].entrance.is_oscore,
                                    .is_stream = p->serving->entrances[i].entrance.is_stream,
                                    .takes_v31 = p->serving->entrances[i].entrance.takes_v31,
                                    .port = b->port,
                                    .bind = bind_of(&p->config, b->name)};
    }
    (void)snprintf(h->sandbox_line, sizeof(h->sandbox_line), "Landlock %d, seccomp %s",
                   sandbox->landlock_abi, sandbox->seccomp ? "on" : "off (test build)");
    struct admin_setup setup = {
        .loop = h->loop,
        .directory = p->directory,
        .disk = p->disk,
        .pki = p->pki,
        .authority = p->authority,
        .makers = &p->makers,
        .broker = p->broker,
        .log = p->vault.log,
        .keyring = p->vault.keyring,
        .key_source = key_source_at(h->boot->key_source),
        .kept_clock = &p->kept_clock,
        .tickets = p->tickets,
        .staple = p->staple,
        .audit = h->audit,
        .metrics = h->metrics,
        .policy = p->policy,
        .trust = p->trust,
        .extra = p->extra,
        .role_start = p->config.role_limits,
        .responses = &p->config.responses,
        .renewal_grace_s = p->config.settings.limits.renewal_grace_s,
        .clock = p->clock,
        .random = p->random,
        .host = p->config.n_hosts > 0 ? p->config.hosts[0] : "localhost",
        .listeners = h->listeners,
        .n_listeners = n,
        .unopened = h->unopened,
        .n_unopened = fill_unopened(h),
        .uid = geteuid(),
        .sandbox = h->sandbox_line,
        .ctx = h,
        .certificate_changed = certificate_changed,
    };
    TRY(admin_new(&setup, &h->admin));
    h->reload =
        (struct reload){.boot = h->boot, .parts = p, .admin = h->admin, .listeners = h->listeners};
    return admin_attach(h->admin, h->boot->control_fd);
}

/* Not more than once in a while, however much of it comes. */
static void report_bad(struct house *h)
{
    uint64_t now_ms = mono_ms(h);
    uint64_t n = now_ms >= h->bad_at_ms ? courier_view_bad(h->courier) : 0;
    if (n > 0) {
        struct event e = event_make(EVENT_exposure);
        e.severity = SEVERITY_ALERT;
        e.count = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
        event_reason(&e, "the courier's process says what it never says, or more than it should: "
                         "somebody may have taken it over. Restart the server and keep the audit "
                         "trail");
        admin_event(h->admin, &e);
        h->bad_at_ms = now_ms + BAD_MS;
    }
}

static void courier_ready(struct loop_source *s, uint32_t events)
{
    struct house *h = (struct house *)(void *)((char *)s - offsetof(struct house, courier_link));
    (void)events;
    courier_view_receive(h->courier);
}

static enum err open_courier(struct house *h)
{
    h->courier_link = (struct loop_source){.fd = h->boot->courier_fd, .ready = courier_ready};
    TRY(courier_view_new(h->boot->courier_fd, &h->parts.clock, &h->courier));
    admin_set_courier(h->admin, h->courier);
    set_sinks(h, &h->parts.config.sinks);
    return loop_add(h->loop, &h->courier_link, EPOLLIN);
}

static void say(const struct house *h, enum message_type type, const char *text)
{
    struct message m = {.type = type};
    (void)snprintf(m.text, sizeof(m.text), "%s", text);
    if (message_send(h->link.fd, &m) != OK) {
        log_line(LOG_ERROR, "the supervisor has gone");
    }
}

static void hear_early(struct house *h)
{
    struct message m;
    enum err err = OK;
    while (err == OK && !atomic_load(&h->opening.is_given_up)) {
        err = message_receive(h->link.fd, &m);
        if (err == ERR_CLOSED || (err == OK && m.type == MESSAGE_STOP)) {
            atomic_store(&h->opening.is_given_up, true);
        } else if (err == OK && m.type == MESSAGE_RELOAD) {
            atomic_store(&h->is_reload_early, true);
        }
    }
}

/* While the store is read and what it kept is put back; by a thread of its own. */
static void still_opening(void *ctx, unsigned seconds)
{
    struct house *h = ctx;
    char text[160], all[32] = "";
    const char *what = atomic_load(&h->opening.what);
    uint64_t n = atomic_load(&h->opening.all);
    hear_early(h);
    if (n > 0) {
        (void)snprintf(all, sizeof(all), " of %" PRIu64, n);
    }
    (void)snprintf(text, sizeof(text),
                   "still reading the store, after %u seconds: %" PRIu64 "%s %s", seconds,
                   what != NULL ? atomic_load(&h->opening.done) : 0, all,
                   what != NULL ? what : "segments read");
    say(h, MESSAGE_STARTING, text);
}

static void stop(struct house *h)
{
    if (!h->is_stopping) {
        h->is_stopping = true;
        h->stop_at_ms = mono_ms(h) + DRAIN_MS;
        broker_drain(h->parts.broker);
    }
}

/* What the signer has to say, for the audit trail. */
static void note_event(struct house *h, const struct message *m)
{
    struct event e = event_make((enum event_category)m->category);
    e.severity = (enum event_severity)m->severity;
    EVENT_TEXT(&e, target, slice_text(m->name));
    event_reason(&e, "%s", m->text);
    admin_event(h->admin, &e);
}

static void link_ready(struct loop_source *s, uint32_t events)
{
    struct house *h = (struct house *)(void *)s;
    struct message m;
    (void)events;
    enum err err = message_receive(s->fd, &m);
    if (err == ERR_CLOSED || (err == OK && m.type == MESSAGE_STOP)) {
        stop(h);
        if (err == ERR_CLOSED) {
            loop_remove(h->loop, s);
        }
    } else if (err == OK && m.type == MESSAGE_RELOAD) {
        reload_begin(&h->reload);
    } else if (err == OK && m.type == MESSAGE_EVENT) {
        note_event(h, &m);
    } else if (err == OK && m.type == MESSAGE_ALIVE) {
        say(h, MESSAGE_ALIVE, "");
    }
}

static void scribe_ready(struct loop_source *s, uint32_t events)
{
    struct house *h = CONTAINER_OF(s, struct house, scribe);
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        loop_remove(h->loop, s); /* the supervisor has gone, and the scribe after it */
    }
}

static bool is_over(const struct house *h, uint64_t now_ms)
{
    return h->is_stopping && (broker_is_drained(h->parts.broker) || now_ms >= h->stop_at_ms);
}

static void take_reloaded_sinks(struct house *h)
{
    const struct config_export *now = &h->parts.serving->config.sinks;
    if (!config_export_equal(&h->exported, now)) {
        set_sinks(h, now);
    }
}

static enum err turns(struct house *h)
{
    for (;;) {
        uint64_t next = admin_tick(h->admin);
        report_denials(h);
        report_sinks(h);
        report_bad(h);
        if (reload_tick(&h->reload)) {
            take_reloaded_sinks(h);
            say(h, MESSAGE_RELOADED, h->reload.refused);
        }
        uint64_t now_ms = mono_ms(h);
        size_t n;
        if (is_over(h, now_ms)) {
            return OK;
        }
        /* Nobody wakes us when the last connection has gone, or the last worker has a reload. */
        uint64_t soon = now_ms + (h->is_stopping || h->reload.is_waiting ? 20 : 1000);
        TRY(loop_turn(h->loop, loop_timeout(now_ms, next < soon ? next : soon), &n));
    }
}

static enum err house_open(struct house *h, const struct sandbox_report *sandbox, struct why *why)
{
    TRY(loop_new(&h->loop));
    struct assembly_watcher watcher = {.ctx = h,
                                       .notify = notify,
                                       .fixed_bytes =
                                           ceiling_fixed(metrics_resident_bytes(h->metrics)),
                                       .progress = &h->opening};
    struct patience patience;
    patience_begin(&patience, still_opening, h);
    enum err err = assembly_open(h->boot, &watcher, &h->parts, why);
    patience_end(&patience);
    TRY(err);
    TRY(open_admin(h, sandbox));
    TRY(open_courier(h));
    h->link.ready = link_ready;
    TRY(loop_add(h->loop, &h->link, EPOLLIN));
    h->scribe.ready = scribe_ready;
    TRY(loop_add(h->loop, &h->scribe, EPOLLIN));
    return broker_start(h->parts.broker);
}

static void follow_early(struct house *h)
{
    if (atomic_load(&h->is_reload_early)) {
        reload_begin(&h->reload);
    }
    if (atomic_load(&h->opening.is_given_up)) {
        stop(h);
    }
}

/* The threads end first: their last events still reach the audit trail. */
static void house_close(struct house *h)
{
    if (h->parts.broker != NULL) {
        broker_stop(h->parts.broker);
    }
    if (h->admin != NULL) {
        (void)admin_tick(h->admin);
    }
    h->admin = admin_free(h->admin);
    h->courier = courier_view_free(h->courier);
    h->audit = audit_free(h->audit);
    assembly_close(&h->parts);
    h->loop = loop_free(h->loop);
    h->metrics = metrics_free(h->metrics);
}

int broker_run(const struct boot *boot, const struct sandbox_report *sandbox,
               struct metrics *metrics, int link_fd)
{
    struct house *h = mem_zalloc(sizeof(*h));
    struct why why = {0};
    if (h == NULL) {
        metrics_free(metrics);
        return 1;
    }
    h->boot = boot;
    h->metrics = metrics;
    h->link.fd = link_fd;
    h->scribe.fd = boot->scribe_fd;
    enum err err = house_open(h, sandbox, &why);
    if (err == ERR_CLOSED && atomic_load(&h->opening.is_given_up)) {
        log_line(LOG_NOTICE,
                 "stopped while the store was read: nobody was served, nothing changed");
        err = OK;
    } else if (err != OK) {
        char text[BOOT_TEXT_BYTES];
        (void)snprintf(text, sizeof(text), "%.250s",
                       why.text[0] != '\0' ? why.text : err_name(err));
        say(h, MESSAGE_FAILED, text);
    } else {
        report_start(h, sandbox);
        report_groups(h, &h->parts.serving->config);
        say(h, MESSAGE_READY, "");
        follow_early(h);
        err = turns(h);
    }
    house_close(h);
    mem_free(h);
    return err == OK ? 0 : 1;
}
