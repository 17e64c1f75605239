/* Who is this? From the CONNECT and what TLS has proven to a principal, and from there to the home
 * worker. */
#include "base/mem.h"
#include "base/utf8.h"
#include "service/broker/conn_private.h"
#include "service/broker/handover.h"
#include "service/broker/handshake.h"
#include "service/broker/login_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/worker_private.h"
#include "service/directory/late.h"

/* ---- how it came in ---- */

const struct conn_login LOGIN_NONE = {.token_until_ms = UINT64_MAX};

static struct conn_login *login_none(void)
{
    return (struct conn_login *)(uintptr_t)&LOGIN_NONE; /* where nothing is written */
}

enum err login_own(struct conn *c)
{
    if (c->login != &LOGIN_NONE) {
        return OK;
    }
    struct conn_login *own = mem_alloc(sizeof(*own));
    if (own == NULL) {
        return ERR_NOMEM;
    }
    *own = LOGIN_NONE;
    c->login = own;
    return OK;
}

struct conn_login *login_take(struct conn *c)
{
    struct conn_login *l = c->login;
    c->login = login_none();
    return l;
}

void login_put(struct conn *c, struct conn_login *l)
{
    c->login = l != NULL ? l : login_none();
}

struct conn_login *login_free(struct conn_login *l)
{
    if (l != NULL && l != &LOGIN_NONE) {
        lane_done(&l->lane);
        scram_free(l->scram);
        mem_free(l->shown);
        mem_free(l);
    }
    return NULL;
}

/* ---- the question for the verify pool ---- */

MUST_USE enum err verified_new(uint64_t conn, unsigned worker, const struct realm *realm,
                               struct slice name, struct slice password, struct verified **ret)
{
    struct verified *v = mem_zalloc(sizeof(*v) + password.n);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    v->conn = conn;
    v->worker = worker;
    v->realm = realm_ref(realm);
    v->result = ERR_AUTH;
    /* A name that does not fit, or holds a NUL, is no principal's: left empty it matches nobody, at
     * the usual cost. */
    bool fits = slice_to_text(name, v->name, sizeof(v->name));
    (void)fits;
    slice_copy(v->bytes, password);
    v->password = slice_of(v->bytes, password.n);
    *ret = v;
    return OK;
}

struct verified *verified_free(struct verified *v)
{
    if (v != NULL) {
        realm_unref(v->realm);
        principal_unref(v->principal);
        mem_wipe(v->bytes, v->password.n);
        mem_free(v);
    }
    return NULL;
}

void verified_check(struct verified *v, int64_t now_wall_ms)
{
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    v->result = directory_login_password(v->realm->directory, slice_text(v->name), v->password,
                                         now_wall_ms, &entry, &credential);
    if (v->result == OK) {
        v->principal = principal_ref(entry->principal);
        v->credential = credential->id;
        credential_used(credential, now_wall_ms);
    }
}

/* ---- refusals ---- */

void login_refuse(struct worker *w, struct conn *c, enum mqtt_reason reason, const struct event *e)
{
    count_add(&counts(w)->refused_denied, 1);
    worker_report(w, e);
    conn_close(w, c, reason);
}

/* What this listener takes, for the hint in the refusal. */
const char *login_ways_in(const struct entrance *e)
{
    if (e->auth_x509 && e->auth_password) {
        return "a client certificate from its bundle (cert.pem, key.pem), or its name and password "
               "(password.txt)";
    }
    return e->auth_x509 ? "a client certificate from its bundle (cert.pem, key.pem)"
                        : "its name and password (password.txt of its bundle)";
}

static void refuse_unknown(struct worker *w, struct conn *c, const struct mqtt_connect *connect)
{
    struct event e = event_of(w, EVENT_auth_fail, c);
    if (connect->has_username && c->login->shown == NULL) {
        report_claim(&e, connect->username);
    }
    event_reason(&e,
                 "a client without credentials was refused: nobody is anonymous here. Let it use "
                 "%s; `sallyport device add NAME --role ROLE --out DIR` makes a bundle",
                 login_ways_in(c->entrance));
    login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
}

void login_refuse_inactive(struct worker *w, struct conn *c, const struct directory_entry *entry)
{
    struct event e = event_of(w, EVENT_revoked, c);
    bool is_disabled = entry->principal->status == PRINCIPAL_DISABLED;
    EVENT_TEXT(&e, principal, slice_text(entry->principal->name));
    if ((entry->principal->answers & PRINCIPAL_SHUT_OUT) != 0) {
        event_reason(&e,
                     "%s is shut out by a response; `sallyport respond list` says why and until "
                     "when",
                     entry->principal->name);
        login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
        return;
    }
    event_reason(&e, "%s is %s%s%s; %s", entry->principal->name,
                 is_disabled ? "disabled" : "revoked", entry->reason[0] != '\0' ? ": " : "",
                 entry->reason,
                 is_disabled ? "`sallyport device enable` lets it in again"
                             : "remove it and add it anew to let it in again");
    login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
}

/* ---- where it goes ---- */

unsigned home_of(const struct worker *w, const struct principal *p, struct slice client_id,
                 bool is_many)
{
    uint64_t hash = siphash(&w->setup.key, slice_of(&p->id, sizeof(p->id)));
    if (is_many) {
        hash ^= siphash(&w->setup.key, client_id);
    }
    return (unsigned)(hash % w->setup.n_workers);
}

struct handover *handover_free(struct handover *h)
{
    if (h != NULL) {
        mqtt_gate_free(h->gate);
        principal_unref(h->principal);
        buf_free(h->unread);
        login_free(h->login);
        mem_free(h);
    }
    return NULL;
}

/* Rule 2: exactly once, before CONNACK, the connection goes home with all that was read and not
 * used. */
static enum err hand_over(struct worker *w, struct conn *c, const struct principal *p,
                          unsigned home)
{
    struct handover *h = mem_zalloc(sizeof(*h));
    if (h == NULL) {
        return ERR_NOMEM;
    }
    enum err err = OK;
    if (w->feeding != NULL && w->feeding->n > 0) {
        /* Its principal is known: what it sent ahead is no stranger's any more. */
        err = conn_keep(c, *w->feeding, (size_t)w->packet_most + UNREAD_SLACK);
    }
    if (err != OK) {
        mem_free(h);
        return err;
    }
    h->entrance = c->entrance;
    h->transport = c->transport;
    h->gate = TAKE(c->gate);
    h->principal = principal_ref(p);
    h->credential = c->credential;
    h->login = login_take(c);
    h->is_resumed = c->is_resumed;
    h->unread = TAKE(c->unread);
    h->peer = c->peer;
    w->setup.driver.depart(w->setup.driver.ctx, h->transport);
    struct wmsg m = {.kind = WMSG_HANDOVER, .handover = h};
    if (outbox_push(w, home, &m) != OK) {
        w->setup.driver.discard(w->setup.driver.ctx, h->transport);
        handover_free(h);
    }
    conn_forget(w, c);
    return OK;
}

bool role_is_many(const struct worker *w, const struct principal *p)
{
    return policy_is_many(w->realm->policy, slice_text(p->role));
}

void login_go_home(struct worker *w, struct conn *c, const struct principal *p)
{
    const struct mqtt_connect *connect = mqtt_gate_connect(c->gate);
    unsigned home =
        w->setup.n_workers == 1 ? 0 : home_of(w, p, connect->client_id, role_is_many(w, p));
    if (home == w->setup.index) {
        open_here(w, c, p);
    } else if (hand_over(w, c, p, home) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
    }
}

/* ---- ways in ---- */

static void refuse_revoked(struct worker *w, struct conn *c)
{
    struct event e = event_of(w, EVENT_revoked, c);
    EVENT_TEXT(&e, principal, slice_text(c->login->shown->name));
    event_reason(&e,
                 "the certificate that %s showed is revoked. Give it a new one: `sallyport device "
                 "rotate %s`",
                 c->login->shown->name, c->login->shown->name);
    count_add(&counts(w)->refused_revoked, 1);
    login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
}

static void login_x509(struct worker *w, struct conn *c)
{
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    if (late_is(c->login->lane.ends_wall_ms, w->wall_ms) && !conn_is_taken_back(w, c)) {
        lane_login(w, c);
        return;
    }
    enum err err = directory_login_x509(w->realm->directory, slice_text(c->login->shown->name),
                                        &c->login->shown->spki, w->wall_ms, &entry, &credential);
    bool is_listed = conn_is_taken_back(w, c);
    if (err == OK && !is_listed) {
        c->credential = credential->id;
        credential_used(credential, w->wall_ms);
        login_go_home(w, c, entry->principal);
        return;
    }
    if (err == ERR_DENIED) {
        login_refuse_inactive(w, c, entry);
        return;
    }
    /* Who was removed has no new one to be given: that is said below. */
    bool is_known = directory_find(w->realm->directory, slice_text(c->login->shown->name)) != NULL;
    if ((is_listed && is_known) || (credential != NULL && credential_is_revoked(credential))) {
        refuse_revoked(w, c);
        return;
    }
    struct event e =
        event_of(w, err == ERR_EXPIRED ? EVENT_credential_expiring : EVENT_auth_fail, c);
    event_reason(
        &e,
        err == ERR_EXPIRED
            ? "the certificate of %s is past its time in the directory. Give it a new one: "
              "`sallyport device rotate %s`"
            : "the certificate names %s, but that principal does not own this key. Use the "
              "bundle of this device, or `sallyport device rotate %s` for a new one",
        c->login->shown->name, c->login->shown->name);
    e.is_foreign_key = err != ERR_EXPIRED;
    login_refuse(w, c, MQTT_NOT_AUTHORIZED, &e);
}

static void login_password(struct worker *w, struct conn *c, const struct mqtt_connect *connect)
{
    struct verified *v = NULL;
    enum err err =
        verified_new(c->handle, w->setup.index, w->realm, connect->username, connect->password, &v);
    if (err == OK) {
        err = w->setup.driver.verify(w->setup.driver.ctx, v);
    }
    if (err != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return;
    }
    c->phase = CONN_ASKED;
}

static void verdict(struct worker *w, struct conn *c, const struct verified *v)
{
    if (v->result == OK) {
        /* The directory may have moved on while the pool was busy: the newest word counts. */
        const struct directory_entry *entry =
            directory_find(w->realm->directory, slice_text(v->name));
        if (entry != NULL && entry->principal->id == v->principal->id) {
            if (entry->principal->status != PRINCIPAL_ACTIVE) {
                login_refuse_inactive(w, c, entry);
            } else {
                c->credential = v->credential;
                login_go_home(w, c, entry->principal);
            }
            return;
        }
    }
    const struct directory_entry *entry = directory_find(w->realm->directory, slice_text(v->name));
    if (v->result == ERR_DENIED && entry != NULL) {
        login_refuse_inactive(w, c, entry);
        return;
    }
    struct event e = event_of(w, EVENT_auth_fail, c);
    report_claim(&e, slice_text(v->name));
    const struct credential *aged =
        directory_aged(w->realm->directory, entry, CREDENTIAL_PASSWORD, w->wall_ms);
    if (aged != NULL) {
        handshake_say_aged(&e, entry, aged);
        login_refuse(w, c, MQTT_BAD_CREDENTIALS, &e);
        return;
    }
    event_reason(&e,
                 "wrong name or password for '%s'. The password is in password.txt of its bundle; "
                 "`sallyport device rotate NAME --credential password` makes a new one",
                 v->name);
    login_refuse(w, c, MQTT_BAD_CREDENTIALS, &e);
}

void login_verified(struct worker *w, struct verified *v)
{
    struct conn *c = conn_find(w, v->conn);
    if (c == NULL || c->phase != CONN_ASKED) {
        return;
    }
    c->phase = CONN_GATE;
    verdict(w, c, v);
    c = conn_find(w, v->conn); /* it may have moved */
    if (c != NULL && c->phase == CONN_OPEN) {
        conn_feed(w, c, (struct slice){0});
    }
}

/* ---- anonymous clients ---- */

const struct directory_exception *worker_let_in(const struct worker *w, const struct entrance *e,
                                                unsigned allow)
{
    return directory_exception_find(w->realm->directory, slice_text(e->name),
                                    allow | DIRECTORY_ALLOW_ANONYMOUS, w->wall_ms);
}

enum err worker_anonymous(struct worker *w, const struct entrance *e,
                          const struct directory_exception *x, const struct principal **ret)
{
    struct principal *p = NULL;
    struct principal_attr segment = {.key = PRINCIPAL_SEGMENT};
    char name[PRINCIPAL_NAME_MAX + 1];
    uint64_t serial = ++w->next_anonymous_id;
    (void)snprintf(name, sizeof(name), "anonymous-%u-%llu", w->setup.index,
                   (unsigned long long)serial);
    (void)snprintf(segment.value, sizeof(segment.value), "%s", entrance_segment(e));
    /* What it would be taken for without it needs no room in each connection. */
    size_t n_attrs = strcmp(segment.value, PRINCIPAL_SEGMENT_DEFAULT) == 0 ? 0 : 1;
    /* The top bit sets these ids apart from the directory's. */
    uint64_t id = (uint64_t)1 << 63 | (uint64_t)w->setup.index << 48 | serial;
    TRY(principal_new(id, slice_text(name), slice_text(x->role), &segment, n_attrs, &p));
    p->is_anonymous = true;
    *ret = p;
    return OK;
}

/* An exception may let anonymous clients in: each is a principal of its own for quotas, with the
 * exception's role. */
static bool login_anonymous(struct worker *w, struct conn *c)
{
    const struct directory_exception *x = worker_let_in(w, c->entrance, 0);
    const struct principal *p = NULL;
    if (x == NULL) {
        return false;
    }
    if (worker_anonymous(w, c->entrance, x, &p) != OK) {
        conn_close(w, c, MQTT_SERVER_BUSY);
        return true;
    }
    login_go_home(w, c, p);
    principal_unref(p);
    return true;
}

void login_begin(struct worker *w, struct conn *c)
{
    const struct mqtt_connect *connect = mqtt_gate_connect(c->gate);
    if (mqtt_props_has(&connect->props, MQTT_PROP_AUTH_METHOD)) {
        auth_begin(w, c);
    } else if (c->login->shown != NULL && c->entrance->auth_x509) {
        login_x509(w, c);
    } else if (connect->has_password && c->entrance->auth_token &&
               trust_looks_like_token(connect->password)) {
        auth_token(w, c, connect);
    } else if (connect->has_username && connect->has_password && c->entrance->auth_password) {
        login_password(w, c, connect);
    } else if (!login_anonymous(w, c)) {
        refuse_unknown(w, c, connect);
    }
}
