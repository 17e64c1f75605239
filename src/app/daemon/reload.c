#include "app/daemon/reload.h"

#include <stdarg.h>

#include "base/mem.h"

#define CONFIG_FILE "sallyport.yaml"
#define PKI_FOLDER  "pki"
#define HELD        "reload refused" /* the alert that stays until one succeeds */

/* ---- what can change while it runs ---- */

__attribute__((format(printf, 2, 3))) static void add_rest(struct reload_rest *rest,
                                                           const char *format, ...)
{
    va_list args;
    if (rest->n == RELOAD_RESTS_MAX) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(rest->name[rest->n++], RELOAD_REST_BYTES, format, args);
    va_end(args);
}

size_t reload_rest_text(const struct reload_rest *rest, size_t at, char *dst, size_t cap)
{
    size_t used = 0;
    dst[0] = '\0';
    for (; at < rest->n && used + strlen(rest->name[at]) + 2 < cap; at++) {
        used +=
            (size_t)snprintf(dst + used, cap - used, "%s%s", used > 0 ? ", " : "", rest->name[at]);
    }
    return at;
}

static bool same_hosts(const struct config *a, const struct config *b)
{
    bool same = a->n_hosts == b->n_hosts;
    for (size_t i = 0; same && i < a->n_hosts; i++) {
        same = strcmp(a->hosts[i], b->hosts[i]) == 0;
    }
    return same;
}

static void compare_process(const struct config *start, const struct config *now,
                            struct reload_rest *rest)
{
    const struct global_settings *a = &start->settings, *b = &now->settings;
    const struct {
        bool differs;
        const char *name;
    } rows[] = {
        {start->workers != now->workers, "workers"},
        {strcmp(start->user, now->user) != 0, "user"},
        {!config_enrol_same(&start->enrol, &now->enrol), "enrol"},
        {strcmp(start->master_key, now->master_key) != 0, "master_key"},
        {!same_hosts(start, now), "hosts"},
        {strcmp(start->pki_url, now->pki_url) != 0, "pki"},
        {a->segment_bytes != b->segment_bytes, "segment_bytes"},
        {a->keep_bytes != b->keep_bytes, "keep_bytes"},
        {a->tls_ticket_expiry_s != b->tls_ticket_expiry_s, "tls_ticket_expiry"},
        {a->certificate_life_s != b->certificate_life_s, "certificate_life"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].differs) {
            add_rest(rest, "%s", rows[i].name);
        }
    }
}

static bool is_oscore(const struct config_listener *l)
{
    return l->auth == CONFIG_AUTH_OSCORE;
}

/* A listener of the start as it can be now. */
static void merge_listener(const struct config_listener *start,
                           const struct config_listener *served, const struct config_listener *now,
                           struct config_listener *ret, struct reload_rest *rest)
{
    if (now == NULL || now->door != start->door || now->plain != start->plain ||
        is_oscore(now) != is_oscore(start) ||
        config_is_datagram(now) != config_is_datagram(start)) {
        /* Its socket is another kind's, or should not be there: half of it would be worse. */
        add_rest(rest, "listener %s (%s)", start->name,
                 now == NULL                          ? "is gone"
                 : now->door != start->door           ? "door"
                 : now->plain != start->plain         ? "plain"
                 : is_oscore(now) != is_oscore(start) ? "auth: oscore"
                                                      : "tcp");
        *ret = *served;
        return;
    }
    *ret = *now;
    if (strcmp(now->bind, start->bind) != 0) {
        add_rest(rest, "listener %s (bind)", start->name);
        (void)slice_to_text(slice_text(start->bind), ret->bind, sizeof ret->bind);
    }
    if (!net_multicast_equal(&now->multicast, &start->multicast)) {
        add_rest(rest, "listener %s (multicast)", start->name);
        ret->multicast = start->multicast;
    }
}

void reload_merge(const struct config *start, const struct config *served, const struct config *now,
                  struct config *ret, struct reload_rest *rest)
{
    *ret = *now;
    compare_process(start, now, rest);
    if (!config_has_proxy(start) && config_has_proxy(now)) {
        add_rest(rest, "proxy (is new)"); /* its sockets are opened at the start */
        ret->proxy = start->proxy;
    }
    for (size_t i = 0; i < start->n_listeners; i++) {
        const struct config_listener *l = &start->listeners[i];
        merge_listener(l, &served->listeners[i], config_listener_find(now, l->name),
                       &ret->listeners[i], rest);
    }
    ret->n_listeners = start->n_listeners;
    for (size_t i = 0; i < now->n_listeners; i++) {
        if (config_listener_find(start, now->listeners[i].name) == NULL) {
            add_rest(rest, "listener %s (is new)", now->listeners[i].name);
        }
    }
}

/* ---- reading ---- */

/* What the files say, read and tried; nothing of it is in force. */
struct found {
    struct config config; /* as far as it can be */
    struct pki *pki;
    const struct trust *trust;
    const struct crl_set *extra;
    const struct policy *policy;
    const struct serving *serving;
};

static void found_done(struct found *f)
{
    f->pki = pki_free(f->pki);
    f->trust = trust_unref(f->trust);
    f->extra = crl_set_unref(f->extra);
    f->policy = policy_unref(f->policy);
    f->serving = serving_unref(f->serving);
}

static void add_fault(struct reload *r, const char *file, enum err err, const struct why *why)
{
    struct reload_fault *fault = &r->faults[r->n_faults++];
    (void)slice_to_text(slice_text(file), fault->file, sizeof fault->file);
    why_set(&fault->why, "%s%s%s", why->text[0] == '\0' ? file : why->text,
            why->text[0] == '\0' ? ": " : "", why->text[0] == '\0' ? err_name(err) : "");
}

static void read_config(struct reload *r, struct found *f)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {0};
    struct config now;
    const struct config *served = &r->parts->serving->config;
    enum err err = config_load_by(r->parts->disk, r->boot->dir, &machine, &complaint, &now);
    err = err == OK ? config_check_export_by(r->parts->disk, r->boot->dir, &now.sinks, &complaint)
                    : err;
    if (err == OK) {
        reload_merge(&r->parts->config, served, &now, &f->config, &r->rest);
        return;
    }
    struct why why = {0};
    why_set(&why, "%.300s", complaint.text);
    add_fault(r, CONFIG_FILE, err, &why);
    f->config = *served; /* the other files can be looked at all the same */
}

/* What ends while it is in force is no reason to refuse the rest; what is newly put there is. */
static bool has_ended(const struct assembly *p, const struct pki *pki)
{
    return pki_server_not_after(pki) <= p->clock.wall_ms(p->clock.ctx) &&
           !slice_equal(pki_server_chain_pem(pki), buf_slice(&p->serving->chain_pem));
}

static enum err read_pki(const struct assembly *p, struct pki **ret, struct why *why)
{
    AUTO(pki_autofree) struct pki *pki = NULL;
    TRY(pki_open(p->disk, keyring_root(p->vault.keyring), &pki, why));
    enum err err = authority_reload(p->authority, why);
    bool is_away = err == ERR_TIMEOUT || err == ERR_CLOSED || err == ERR_IO;
    TRY(is_away ? OK : err); /* the next one reads them at its start */
    if (has_ended(p, pki)) {
        why_set(why, "the certificate in DIR/pki/server.sealed has expired: put a newer one there, "
                     "or make one with `sallyport certs renew`");
        return ERR_CONFIG;
    }
    *ret = TAKE(pki);
    return OK;
}

static enum err make_serving(const struct reload *r, const struct config *config,
                             const struct pki *pki, const struct serving **ret, struct why *why)
{
    const struct serving *before = r->parts->serving;
    struct serving_setup setup = {.number = before->edition.number + 1,
                                  .before = before,
                                  .boot = r->boot,
                                  .config = config,
                                  .pki = pki,
                                  .clock = r->parts->clock,
                                  .random = &r->parts->random,
                                  .tickets = r->parts->tickets,
                                  .staple = r->parts->staple,
                                  .makers = &r->parts->makers};
    return serving_new(&setup, ret, why);
}

/* Two files that are right do not have to go together. */
static void try_together(struct reload *r, struct found *f)
{
    struct why why = {0}, ignored = {0};
    const struct serving *alone = NULL;
    enum err err = make_serving(r, &f->config, f->pki, &f->serving, &why);
    if (err == OK) {
        return;
    }
    bool is_pki = make_serving(r, &r->parts->serving->config, f->pki, &alone, &ignored) != OK;
    serving_unref(alone);
    add_fault(r, is_pki ? PKI_FOLDER : CONFIG_FILE, err, &why);
}

/* Held against the authorities of now: those just read, else the ones in force. */
static void read_lists(struct reload *r, struct found *f)
{
    const struct assembly *p = r->parts;
    struct why why = {0};
    enum err err = revocation_load(p->disk, REVOCATION_EXTRA_FILE,
                                   pki_ca_pem(f->pki != NULL ? f->pki : p->pki),
                                   p->clock.wall_ms(p->clock.ctx), &f->extra, &why);
    if (err != OK) {
        add_fault(r, REVOCATION_EXTRA_FILE, err, &why);
    }
}

static void read_all(struct reload *r, struct found *f)
{
    struct why pki = {0}, keys = {0}, policy = {0};
    read_config(r, f);
    const struct config_tokens *tokens = &f->config.tokens;
    enum err err = read_pki(r->parts, &f->pki, &pki);
    if (err != OK) {
        add_fault(r, PKI_FOLDER, err, &pki);
    }
    read_lists(r, f);
    err = assembly_trust(r->parts, tokens, &f->trust, &keys);
    if (err != OK) {
        add_fault(r, tokens->n == 1 ? tokens->issuers[0].keys : "tokens", err, &keys);
    }
    err = assembly_policy(r->parts, ADMIN_POLICY_FILE, &f->config.role_limits, &f->policy, &policy);
    if (err != OK) {
        add_fault(r, ADMIN_POLICY_FILE, err, &policy);
    }
    if (r->n_faults == 0) {
        try_together(r, f);
    }
}

/* ---- in force ---- */

/* Takes both; the workers are told by then, and who serves by the old ones has a reference. */
static void replace(struct reload *r, const struct serving *s, struct pki *pki)
{
    const struct serving *old = r->parts->serving;
    for (size_t i = 0; i < s->edition.n_entrances; i++) {
        const struct driver_entrance *e = &s->entrances[i];
        const struct config_listener *l = config_listener_find(&s->config, e->entrance.name);
        r->listeners[i].takes_v31 = e->entrance.takes_v31;
        r->listeners[i].path = l != NULL && l->websocket ? l->path : NULL;
    }
    pki_free(r->parts->pki);
    r->parts->pki = pki;
    r->parts->serving = s;
    serving_unref(old);
}

static enum err install(struct reload *r, struct found *f)
{
    struct admin_reload n = {.policy = f->policy,
                             .trust = f->trust,
                             .extra = f->extra,
                             .role_start = f->config.role_limits,
                             .pki = f->pki,
                             .responses = &f->config.responses,
                             .ages = f->config.settings.secrets,
                             .edition = &f->serving->edition};
    TRY(admin_reload(r->admin, &n, &r->epoch));
    replace(r, TAKE(f->serving), TAKE(f->pki));
    return OK;
}

/* One event says it all: the first mistake with its place and fix, and which files have others. */
static void refuse(struct reload *r)
{
    struct event e = event_make(EVENT_config_reject);
    char others[80] = "";
    size_t used = 0, part = sizeof r->refused / r->n_faults;
    for (size_t i = 1; i < r->n_faults; i++) {
        size_t at = strlen(others);
        (void)snprintf(others + at, sizeof others - at, "%s%.30s", i == 1 ? "; wrong, too: " : ", ",
                       r->faults[i].file);
    }
    for (size_t i = 0; i < r->n_faults; i++) {
        used += (size_t)snprintf(r->refused + used, sizeof r->refused - used, "%s%.*s",
                                 i > 0 ? "; " : "", (int)part - 3, r->faults[i].why.text);
    }
    e.severity = SEVERITY_ALERT;
    EVENT_TEXT(&e, target, slice_text(r->faults[0].file));
    event_reason(&e, "reload refused, the old stays in force: %.*s%s",
                 (int)(sizeof e.reason - 42 - strlen(others)), r->faults[0].why.text, others);
    admin_hold(r->admin, HELD, &e);
}

/* ---- both ends ---- */

static void forget(struct reload *r)
{
    r->rest.n = r->n_faults = 0;
    r->refused[0] = '\0';
}

void reload_begin(struct reload *r)
{
    AUTO(found_done) struct found f = {.pki = NULL};
    forget(r);
    r->only_certificate = false;
    read_all(r, &f);
    if (r->n_faults == 0) {
        enum err err = install(r, &f);
        if (err != OK) {
            struct why why = {0};
            why_set(&why, "it cannot be put on record (%s): look at the disk, then reload again",
                    err_name(err));
            add_fault(r, CONFIG_FILE, err, &why);
        }
    }
    if (r->n_faults > 0) {
        refuse(r);
    } else {
        admin_release(r->admin, HELD);
    }
    r->is_waiting = true;
}

enum err reload_certificate(struct reload *r, struct why *why)
{
    AUTO(found_done) struct found f = {.pki = NULL};
    TRY(read_pki(r->parts, &f.pki, why));
    TRY(make_serving(r, &r->parts->serving->config, f.pki, &f.serving, why));
    admin_set_certificate(r->admin, f.pki, &f.serving->edition);
    replace(r, TAKE(f.serving), TAKE(f.pki));
    if (!r->is_waiting) { /* else what is under way is told of, and this with it */
        forget(r);
        r->only_certificate = true;
        r->is_waiting = true;
    }
    return OK;
}

static void report(struct reload *r)
{
    char names[150];
    size_t at = 0;
    if (r->n_faults > 0) {
        return;
    }
    do {
        const char *begin = at > 0                ? "reloaded, but more"
                            : r->only_certificate ? "reloaded: the server's certificate"
                                                  : "reloaded: limits, listeners, certificate, "
                                                    "tokens and policy are in force";
        struct event e = event_make(EVENT_config_change);
        e.severity = SEVERITY_NOTICE;
        EVENT_TEXT(&e, target, slice_text(CONFIG_FILE));
        bool is_first = at == 0;
        at = reload_rest_text(&r->rest, at, names, sizeof names);
        event_reason(&e, "%s%s%s%s", begin, at == 0 || !is_first ? "" : ";",
                     at == 0 ? "" : " needs a restart: ", names);
        admin_event(r->admin, &e);
    } while (at < r->rest.n);
}

bool reload_tick(struct reload *r)
{
    const struct broker *b = r->parts->broker;
    bool is_everywhere =
        broker_edition(b) >= r->parts->serving->edition.number && broker_realm_epoch(b) >= r->epoch;
    if (!r->is_waiting || (r->n_faults == 0 && !is_everywhere)) {
        return false;
    }
    r->is_waiting = false;
    report(r);
    return true;
}
