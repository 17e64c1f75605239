#include "service/enrol/enrol_pages.h"

#include "service/broker/enrolment.h"
#include "service/broker/handed.h"
#include "service/broker/http_conn.h"
#include "service/enrol/est.h"
#include "service/enrol/shown.h"
#include "service/enrol/whoami.h"
#include "service/pki/status_door.h"

static void say_der(struct http_conn *c, const char *type, struct slice der)
{
    AUTO(buf_done) struct buf text = {0};
    if (est_text(der, &text) != OK) {
        http_server_close(c->engine);
        return;
    }
    struct http_answer a = {.status = 200, .type = type, .body = buf_slice(&text)};
    http_say(c, &a);
}

static void say_issued(struct http_conn *c, const struct enrolment *e)
{
    if (e->want != ENROLMENT_PAIR) {
        say_der(c, EST_CERTS_TYPE, buf_slice(&e->certs_der));
        return;
    }
    AUTO(buf_wipe) struct buf body = {0};
    if (est_pair(buf_slice(&e->key_der), buf_slice(&e->certs_der), &body) != OK) {
        http_server_close(c->engine);
        return;
    }
    struct http_answer a = {.status = 200, .type = EST_PAIR_TYPE, .body = buf_slice(&body)};
    http_say(c, &a);
}

/* The text is for the person at the device. */
static void say_again(struct http_conn *c, unsigned status, const struct enrolment *e)
{
    char seconds[16], line[WHY_BYTES + 2];
    (void)snprintf(seconds, sizeof seconds, "%u", e->retry_after_s);
    (void)snprintf(line, sizeof line, "%s.\n", e->why.text);
    struct http_answer a = {.status = status,
                            .type = "text/plain",
                            .body = slice_text(line),
                            .fields = {{"Retry-After", seconds}}}; /* SPEC: RFC7030 4.2.3 */
    http_say(c, &a);
}

static void answer(struct http_conn *c, struct enrolment *e)
{
    switch (e->result) {
    case ENROLMENT_ISSUED:
        c->is_known = true;
        buf_done(&c->kept);
        c->kept = e->bundle_json;
        e->bundle_json = (struct buf){0};
        say_issued(c, e);
        break;
    case ENROLMENT_WAITS:
        say_again(c, 202, e);
        break;
    case ENROLMENT_TOO_MANY:
        say_again(c, 429, e);
        break;
    case ENROLMENT_BUSY:
        say_again(c, 503, e);
        break;
    case ENROLMENT_UNPROVEN:
        http_say_text(c, 401, e->why.text);
        break;
    case ENROLMENT_REFUSED:
        http_say_text(c, 403, e->why.text);
        break;
    case ENROLMENT_MALFORMED:
        http_say_text(c, 400, e->why.text);
        break;
    }
}

/* ---- requests ---- */

/* Without its parameters; empty: there is none. */
static struct slice type_of(const struct http1_request *r)
{
    struct slice field;
    bool more;
    if (!http1_request_find(r, "Content-Type", &field)) {
        return (struct slice){0};
    }
    struct slice bare = slice_cut(&field, ';', &more);
    while (bare.n > 0 && bare.p[bare.n - 1] == ' ') {
        bare = slice_head(bare, bare.n - 1);
    }
    return bare;
}

static void come_from(const struct http_conn *c, struct enrolment *e)
{
    const struct http_door *d = c->door;
    e->worker = worker_index(d->setup.worker);
    e->door = d->setup.entrance->index;
    e->client = c->id;
    e->want = (enum enrolment_want)c->want;
    e->protocol = EVENT_PROTOCOL_https;
    e->peer = c->peer;
    (void)slice_to_text(slice_text(d->setup.entrance->name), e->listener, sizeof e->listener);
}

static enum err fill(struct http_conn *c, const struct http_request *r, struct enrolment *e,
                     unsigned *ret_status, const char **ret_why)
{
    come_from(c, e);
    *ret_status = 400;
    *ret_why = "the body is no base64 of a certificate request (PKCS#10, DER)";
    TRY(est_body(r->body, ENROLMENT_CSR_MAX, &e->csr_der));
    *ret_status = 401;
    *ret_why = "the Authorization field is no Basic one with a claim token as its password";
    enum err err = est_basic(&r->head, e->user, e->secret);
    TRY(err == ERR_NOT_FOUND ? OK : err);
    return buf_append(&e->current_der, buf_slice(&c->leaf_der), ENROLMENT_CERT_MAX);
}

/* Takes e. */
static void hand_in(struct http_conn *c, struct enrolment *e)
{
    struct http_door *d = c->door;
    enum err err = ERR_UNSUPPORTED;
    if (d->setup.ask != NULL) {
        err = d->setup.ask(d->setup.ctx, e);
    } else {
        enrolment_free(e);
    }
    if (err != OK) {
        count_add(&d->setup.counters->refused_limit, 1);
        http_say_text(c, 503, "too many devices enrol at once: come again");
        return;
    }
    http_wait(c);
}

static void ask(struct http_conn *c, const struct http_request *r)
{
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    unsigned status = 503;
    const char *why = "the server is short of memory: come again";
    const struct http_door_setup *s = &c->door->setup;
    const struct shown_door shown = {s->worker, s->counters, s->ctx, s->event, false};
    if (!slice_is(type_of(&r->head), EST_CSR_TYPE)) { /* SPEC: RFC7030 4.2.1 */
        http_say_text(c, 415, "a certificate request is sent as application/pkcs10");
        return;
    }
    enum err err = enrolment_new(&e);
    if (err == OK) {
        err = fill(c, r, e, &status, &why);
    }
    if (err != OK) {
        http_say_text(c, err == ERR_NOMEM ? 503 : status, why);
    } else if (shown_look(&shown, e, c->door->wall_ms)) {
        hand_in(c, TAKE(e));
    } else {
        answer(c, e);
    }
}

/* ---- what the authority says of its certificates: to anybody, for it is signed ---- */

static void ask_status(struct http_conn *c, const struct status_question *q)
{
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    enum err err = enrolment_new(&e);
    c->want = ENROLMENT_STATUS;
    if (err == OK) {
        come_from(c, e);
        e->status_kind = q->kind;
        err = buf_append(&e->csr_der, slice_of(q->ocsp_der, q->n), OCSP_REQUEST_MAX);
    }
    if (err != OK) {
        http_say_text(c, 503, "the server is short of memory: come again");
        return;
    }
    hand_in(c, TAKE(e));
}

/* false: it asks for something else. */
static bool serve_status(struct http_conn *c, const struct http_request *r)
{
    struct status_question q;
    const char *allow = NULL;
    const struct status_request asked = {
        .method = r->head.method, .path = r->path, .type = type_of(&r->head), .body = r->body};
    enum err err = status_door_find(&asked, &q, &allow);
    if (err == ERR_NOT_FOUND) {
        return false;
    }
    if (err == OK) {
        ask_status(c, &q);
    } else if (err == ERR_UNSUPPORTED) {
        http_say_allowed(c, allow);
    } else if (err == ERR_PROTOCOL) {
        http_say_text(c, 415, "a question is sent as application/ocsp-request");
    } else if (err == ERR_TOO_LARGE) {
        http_say_text(c, 413, "the question is too long");
    } else {
        http_say_text(c, 400, "the path is no base64 of an OCSPRequest (DER)");
    }
    return true;
}

static void say_status(struct http_conn *c, const struct enrolment *e)
{
    if (e->result != ENROLMENT_ISSUED) {
        http_say_text(c, 503, "the authority does not answer now: come again");
    } else if (e->certs_der.n > ENROL_PAGES_LIST_MAX) {
        http_say_text(c, 503, "the list is larger than what this port gives: ask by /ocsp");
    } else {
        struct http_answer a = {.status = 200, .type = e->type, .body = buf_slice(&e->certs_der)};
        http_say(c, &a);
    }
}

/* Names and ports of this server, for who was certified on this very connection. */
static void say_bundle(struct http_conn *c)
{
    if (c->kept.n == 0) {
        http_say_text(c, 403,
                      "the rest of a bundle is for who was given a certificate before, on the "
                      "same connection");
        return;
    }
    struct http_answer a = {.status = 200, .type = "application/json", .body = buf_slice(&c->kept)};
    http_say(c, &a);
}

static void say_who(struct http_conn *c, const struct http_request *r)
{
    const struct http_door *d = c->door;
    struct whoami w;
    if (!slice_is(r->head.method, "GET")) {
        http_say_allowed(c, "GET");
        return;
    }
    if (whoami_answer(worker_realm(d->setup.worker), buf_slice(&c->leaf_der),
                      worker_limits(d->setup.worker)->renewal_grace_s, d->wall_ms, &w) != OK) {
        http_say_text(c, 503, "the server is short of memory: come again");
        return;
    }
    struct http_answer a = {.status = w.status,
                            .type = w.status == 200 ? WHOAMI_TYPE : "text/plain",
                            .body = slice_text(w.text)};
    http_say(c, &a);
}

static void serve(struct http_conn *c, const struct http_request *r)
{
    enum est_operation o = EST_CACERTS;
    const char *why;
    if (slice_is(r->path, ENROL_PAGES_BUNDLE) && slice_is(r->head.method, "GET")) {
        say_bundle(c);
        return;
    }
    if (slice_is(r->path, WHOAMI_PATH)) {
        say_who(c, r);
        return;
    }
    if (serve_status(c, r)) {
        return;
    }
    enum err err = est_find(r->path, &o, &why);
    if (err != OK) {
        http_say_text(c, err == ERR_UNSUPPORTED ? 501 : 404,
                      err == ERR_UNSUPPORTED ? why
                                             : "this port is for enrolment alone: EST below "
                                               "/.well-known/est");
        return;
    }
    if (!slice_is(r->head.method, est_method(o))) {
        http_say_allowed(c, est_method(o));
        return;
    }
    switch (o) {
    case EST_CACERTS:
        say_der(c, EST_CERTS_TYPE, c->door->setup.entrance->cacerts);
        return;
    case EST_CSRATTRS:
        say_der(c, EST_ATTRS_TYPE, est_csr_attributes());
        return;
    case EST_SIMPLEENROLL:
        c->want = ENROLMENT_FIRST;
        break;
    case EST_SIMPLEREENROLL:
        c->want = ENROLMENT_AGAIN;
        break;
    case EST_SERVERKEYGEN:
        c->want = ENROLMENT_PAIR;
        break;
    case EST_OPERATIONS:
        return;
    }
    ask(c, r);
}

static void answered(struct http_door *d, struct enrolment *e)
{
    struct http_conn *c = http_waiting(d, e->client);
    if (c == NULL) {
        return;
    }
    if (c->want == ENROLMENT_STATUS) {
        say_status(c, e);
    } else {
        answer(c, e);
    }
    http_resume(c);
}

static void turn(struct http_door *d)
{
    struct enrolment *e;
    while ((e = worker_next_enrolled(d->setup.worker, d->setup.entrance->index)) != NULL) {
        answered(d, e);
        enrolment_free(e);
    }
}

const struct http_pages enrol_pages = {.purpose = "devices that enrol (EST over HTTPS)",
                                       .challenge = "Basic realm=\"claim token\"",
                                       .answer_bytes = HTTP_ANSWER_MAX,
                                       .serve = serve,
                                       .turn = turn};
