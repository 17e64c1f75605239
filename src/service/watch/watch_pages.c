/*
 * The pages of a metrics listener: /metrics, /health, /ready. By TLS they are for whom the policy
 * grants their paths; without it, on loopback, for whoever is on this machine. Who may is asked
 * anew with each request, so what is taken back is taken back from an open connection, too.
 */
#include "core/passage.h"
#include "security/identity/identity.h"
#include "service/broker/handed.h"
#include "service/broker/http_conn.h"
#include "service/broker/scrape.h"
#include "service/directory/late.h"
#include "service/watch/metrics.h"

enum { NUMBERS_AT_ONCE = 4 /* of one door: pages of numbers that wait, or were not read yet */ };

static const struct page {
    const char *path;
    enum scrape_want want;
} pages[] = {{"/metrics", SCRAPE_NUMBERS}, {"/health", SCRAPE_ALIVE}, {"/ready", SCRAPE_READY}};

static const struct page *page_find(struct slice path)
{
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        if (slice_is(path, pages[i].path)) {
            return &pages[i];
        }
    }
    return NULL;
}

/* ---- who may ---- */

__attribute__((format(printf, 5, 6))) static bool refuse(struct http_conn *c,
                                                         enum event_category category,
                                                         const char *name, struct slice target,
                                                         const char *format, ...)
{
    const struct http_door_setup *door = &c->door->setup;
    struct event e = http_event(c, category);
    char text[sizeof e.reason];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    EVENT_TEXT(&e, principal, slice_text(name));
    EVENT_TEXT(&e, target, target);
    EVENT_TEXT(&e, reason, slice_text(text));
    count_add(&door->counters->refused_denied, 1);
    door->event(door->ctx, &e);
    http_say_text(c, 403, "this may not be read from here; the audit trail of the server says why");
    return false;
}

/* Whose certificate it is, now. */
static const struct directory_entry *owner(struct http_conn *c, const struct x509_info *i,
                                           const char *name, struct slice path)
{
    const struct realm *realm = worker_realm(c->door->setup.worker);
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    enum err err = directory_login_x509(realm->directory, slice_text(name), &i->spki,
                                        c->door->wall_ms, &entry, &credential);
    if (realm_revokes(realm, &i->id) || (credential != NULL && credential_is_revoked(credential))) {
        count_add(&c->door->setup.counters->refused_revoked, 1);
        (void)refuse(c, EVENT_revoked, name, path,
                     "the certificate that %s showed is revoked. Give it a new one: `sallyport "
                     "device rotate %s`",
                     name, name);
    } else if (err == ERR_DENIED) {
        (void)refuse(c, EVENT_revoked, name, path,
                     "%s is disabled or revoked: `sallyport device show %s` says why", name, name);
    } else if (err == ERR_EXPIRED || late_is(i->not_after_wall_ms, c->door->wall_ms)) {
        (void)refuse(c, EVENT_credential_expiring, name, path,
                     "the certificate of %s is past its time. Have it renewed by `sallyport "
                     "agent`, or give it a new one: `sallyport device rotate %s`",
                     name, name);
    } else if (err != OK) {
        (void)refuse(c, EVENT_auth_fail, name, path,
                     "the certificate names %s, but that principal does not own this key. Use the "
                     "bundle of this device, or `sallyport device rotate %s` for a new one",
                     name, name);
    } else if (entry->principal->step_up != 0 && c->is_resumed) {
        (void)refuse(c, EVENT_auth_fail, name, path,
                     "a response asks %s for a full handshake: a ticket does not let it in. "
                     "`sallyport respond list` says until when",
                     name);
    } else {
        credential_used(credential, c->door->wall_ms);
        return entry;
    }
    return NULL;
}

static void account_release(struct account **a)
{
    *a = account_free(*a);
}

static bool is_granted(struct http_conn *c, const struct directory_entry *entry, struct slice path)
{
    const struct http_door_setup *door = &c->door->setup;
    const struct realm *realm = worker_realm(door->worker);
    const char *name = entry->principal->name;
    const char *segment = door->entrance->segment;
    struct decision why;
    AUTO(account_release) struct account *a = NULL;
    if (account_new(realm->policy, entry->principal, realm->epoch, c->door->now_ms, &a) != OK) {
        http_say_text(c, 503, "the server is short of memory: come again");
        return false;
    }
    if (passage_segment(a, segment[0] != '\0' ? segment : PRINCIPAL_SEGMENT_DEFAULT, &why) != OK) {
        return refuse(c, EVENT_identity_mismatch, name, path, "%s", why.rule);
    }
    if (passage_resource(a, path, METHOD_GET, &why) != OK) {
        return refuse(c, EVENT_acl_deny, name, path,
                      "%s. A role that reads the numbers has resources: [ { path: %.*s, methods: "
                      "[GET] } ] in policy.yaml",
                      why.rule, (int)path.n, (const char *)path.p);
    }
    return true;
}

static bool may_by_certificate(struct http_conn *c, struct slice path)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    char name[IDENTITY_NAME_BYTES];
    if (c->leaf_der.n == 0 || x509_from_der(buf_slice(&c->leaf_der), &x) != OK ||
        identity_from_x509(x, IDENTITY_ANY, name) != OK) {
        return refuse(c, EVENT_identity_mismatch, "", path,
                      "the client's certificate names no principal (SAN URI "
                      "urn:sallyport:device:NAME). Use the certificate of a bundle made by "
                      "`sallyport device add`");
    }
    const struct directory_entry *entry = owner(c, x509_info(x), name, path);
    return entry != NULL && is_granted(c, entry, path);
}

/* A page of a browser on this machine can make it ask, by a name of its own that leads here: what
 * it asks then says that name. */
static bool is_this_machine(struct slice host)
{
    static const char v6[] = "[::1]";
    bool more = false;
    struct slice name = host;
    struct net_peer peer;
    char text[40];
    if (slice_has_prefix(host, slice_text(v6))) {
        return host.n == sizeof v6 - 1 || host.p[sizeof v6 - 1] == ':';
    }
    name = slice_cut(&host, ':', &more);
    if (slice_is(name, "localhost")) {
        return true;
    }
    char port[] = ":0";
    if (!slice_to_text(name, text, sizeof text - sizeof port)) {
        return false;
    }
    (void)snprintf(text + name.n, sizeof port, "%s", port);
    return net_peer_parse(slice_text(text), &peer) == OK && net_peer_is_loopback(&peer);
}

static bool may_from_here(struct http_conn *c, const struct http_request *r)
{
    struct slice host;
    if (!http1_request_find(&r->head, "Host", &host) || is_this_machine(host)) {
        return true;
    }
    return refuse(c, EVENT_probe, "", host,
                  "the metrics listener on loopback was asked for under another host's name: a "
                  "page in a browser on this machine may have made it ask. Ask for localhost or "
                  "127.0.0.1");
}

/* ---- requests ---- */

static bool is_crowded(const struct http_door *d)
{
    unsigned n = 0;
    list_for_each (node, &d->conns) {
        const struct http_conn *c = LIST_ENTRY(node, struct http_conn, node);
        n += c->want == SCRAPE_NUMBERS && (c->is_asking || http_server_has_output(c->engine));
    }
    return n >= NUMBERS_AT_ONCE;
}

/* Takes nothing back: who asked waits, or was told to come again. */
static void ask(struct http_conn *c, enum scrape_want want)
{
    struct http_door *d = c->door;
    AUTO(scrape_autofree) struct scrape *s = NULL;
    enum err err = want == SCRAPE_NUMBERS && is_crowded(d) ? ERR_AGAIN : scrape_new(&s);
    if (err == OK) {
        s->worker = worker_index(d->setup.worker);
        s->door = d->setup.entrance->index;
        s->client = c->id;
        s->want = want;
        err = d->setup.scrape(d->setup.ctx, TAKE(s));
    }
    if (err != OK) {
        count_add(&d->setup.counters->refused_limit, 1);
        c->want = SCRAPE_NOTHING;
        http_say_text(c, 503, "too many ask at once: come again");
        return;
    }
    c->want = want;
    http_wait(c);
}

static void serve(struct http_conn *c, const struct http_request *r)
{
    const struct page *page = page_find(r->path);
    if (page == NULL) {
        http_say_text(c, 404, "here are /metrics, /health and /ready");
        return;
    }
    if (!slice_is(r->head.method, "GET")) {
        http_say_allowed(c, "GET");
        return;
    }
    bool may = c->door->setup.entrance->is_open ? may_from_here(c, r)
                                                : may_by_certificate(c, slice_text(page->path));
    if (!may) {
        return;
    }
    ask(c, page->want);
    c->is_known = true;
}

static void turn(struct http_door *d)
{
    struct scrape *s;
    while ((s = worker_next_scraped(d->setup.worker, d->setup.entrance->index)) != NULL) {
        struct http_conn *c = http_waiting(d, s->client);
        if (c != NULL) {
            struct http_answer a = {.status = s->status,
                                    .type = s->want == SCRAPE_NUMBERS ? METRICS_TYPE : "text/plain",
                                    .body = buf_slice(&s->text)};
            http_say(c, &a);
            http_resume(c);
        }
        scrape_free(s);
    }
}

const struct http_pages watch_pages = {.purpose = "who reads the numbers of the server",
                                       .answer_bytes = METRICS_TEXT_MAX + 1024,
                                       .serve = serve,
                                       .turn = turn};
