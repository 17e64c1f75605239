/* Messages that were set aside: kept, listed, queued again, dropped; and what bounds them.
 * docs/ORDER.md, rule 8. */
#include "service/broker/aside.h"

#include "base/mem.h"
#include "service/broker/aside_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

struct aside {
    struct list_node node; /* in the order of ids, the oldest first */
    uint64_t id, session, principal;
    int64_t since_wall_ms;
    uint8_t reason, n_tries, qos;
    bool retain;           /* the flag to send */
    const struct msg *msg; /* shared */
    struct slice client_id;
    uint8_t bytes[];
};

static uint64_t cost_of(const struct aside *a)
{
    return sizeof(*a) + a->client_id.n + msg_cost(a->msg);
}

static void count(struct worker *w)
{
    count_set(&counts(w)->aside_messages, w->n_asides);
    count_set(&counts(w)->aside_bytes, w->aside_bytes);
}

static struct aside *first_of(const struct worker *w)
{
    struct list_node *n = list_first(&w->asides);
    return n != NULL ? LIST_ENTRY(n, struct aside, node) : NULL;
}

static bool is_alike(const struct aside *a, const struct aside *b)
{
    return a->session == b->session && slice_equal(a->msg->topic, b->msg->topic);
}

/* ---- in and out ---- */

static enum err aside_new(const struct journal_set_aside *s, struct slice client_id,
                          const struct msg *m, struct aside **ret)
{
    struct aside *a = mem_zalloc(sizeof(*a) + client_id.n);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->id = s->id;
    a->session = s->session;
    a->principal = s->principal;
    a->since_wall_ms = s->since_wall_ms;
    a->reason = s->reason;
    a->n_tries = s->n_tries;
    a->qos = s->m.qos;
    a->retain = s->m.retain;
    a->msg = msg_ref(m);
    slice_copy(a->bytes, client_id);
    a->client_id = slice_of(a->bytes, client_id.n);
    *ret = a;
    return OK;
}

/* A restart reads them in no order. */
static void insert(struct worker *w, struct aside *a)
{
    struct list_node *before = w->asides.head.prev;
    while (before != &w->asides.head && LIST_ENTRY(before, struct aside, node)->id > a->id) {
        before = before->prev;
    }
    list_insert(before, &a->node);
    w->n_asides++;
    w->aside_bytes += cost_of(a);
    count(w);
}

static void aside_free(struct worker *w, struct aside *a)
{
    list_unlink(&a->node);
    w->n_asides--;
    w->aside_bytes -= cost_of(a);
    msg_unref(a->msg);
    mem_free(a);
    count(w);
}

static struct event event_about(const struct worker *w, const struct aside *a)
{
    const struct directory_entry *e = directory_find_id(w->realm->directory, a->principal);
    struct event said = event_of(w, EVENT_poison_message, NULL);
    said.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&said, principal, slice_text(e != NULL ? e->principal->name : "-"));
    EVENT_TEXT(&said, client_id, a->client_id);
    EVENT_TEXT(&said, target, a->msg->topic);
    return said;
}

/* The last of a session and topic closes their alert. */
static void say_handled(struct worker *w, const struct aside *a, const char *how)
{
    list_for_each (n, &w->asides) {
        const struct aside *other = LIST_ENTRY(n, struct aside, node);
        if (other != a && is_alike(a, other)) {
            return;
        }
    }
    struct event e = event_about(w, a);
    e.severity = SEVERITY_NOTICE;
    event_reason(&e, "nothing is set aside here any more: message %llu %s",
                 (unsigned long long)a->id, how);
    worker_report(w, &e);
}

/* Ends it, on record. Without the record it would come back with a restart, so then it stays. */
static enum err end(struct worker *w, struct aside *a, const char *how)
{
    TRY(record_set_aside_end(w, a->id));
    say_handled(w, a, how);
    aside_free(w, a);
    return OK;
}

void asides_free(struct worker *w)
{
    struct aside *a;
    while (w->asides.head.next != NULL && (a = first_of(w)) != NULL) {
        aside_free(w, a);
    }
    struct list_node *n;
    while (w->asks.head.next != NULL && (n = list_first(&w->asks)) != NULL) {
        list_unlink(n);
        aside_ask_unref(LIST_ENTRY(n, struct aside_ask, node));
    }
}

/* ---- bounds ---- */

static uint64_t share(const struct worker *w, uint64_t all)
{
    uint64_t part = all / w->setup.n_workers;
    return part > 0 ? part : 1;
}

/* Whose oldest has to go: of the newcomer's principal when that has the larger part, so that nobody
 * fills the place with his own to be rid of the others'. */
static struct aside *next_to_go(const struct worker *w, const struct aside *newcomer)
{
    size_t n = 0;
    struct aside *own = NULL;
    list_for_each (at, &w->asides) {
        struct aside *a = LIST_ENTRY(at, struct aside, node);
        if (a->principal == newcomer->principal) {
            own = own != NULL ? own : a;
            n++;
        }
    }
    return n > w->n_asides / 2 ? own : first_of(w);
}

static void give_up(struct worker *w, struct aside *a, const char *limit)
{
    struct event e = event_about(w, a);
    e.severity = SEVERITY_WARNING;
    event_reason(&e,
                 "message %llu, set aside, is gone for good: %s. Look at `setaside list` sooner, "
                 "or raise the limit",
                 (unsigned long long)a->id, limit);
    worker_report(w, &e);
    if (record_set_aside_end(w, a->id) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* it goes again after a restart */
    }
    say_handled(w, a, "is gone");
    aside_free(w, a);
}

static void keep_bounds(struct worker *w, const struct aside *newcomer)
{
    const struct limits *l = w->setup.limits;
    while (w->n_asides > share(w, l->aside_messages)) {
        give_up(w, next_to_go(w, newcomer), "there are more than setaside_messages");
    }
    /* One message alone may be larger than the share. */
    while (w->n_asides > 1 && w->aside_bytes > share(w, l->aside_bytes)) {
        give_up(w, next_to_go(w, newcomer), "they have more than setaside_bytes");
    }
}

void asides_expire(struct worker *w)
{
    int64_t most_ms = (int64_t)w->setup.limits->aside_seconds * 1000;
    struct aside *a;
    while ((a = first_of(w)) != NULL && w->wall_ms - a->since_wall_ms >= most_ms) {
        give_up(w, a, "nobody asked for it within setaside_expiry");
    }
}

void asides_recheck(struct worker *w)
{
    const struct directory_version *v = w->realm->directory;
    list_for_each_safe (n, next, &w->asides) {
        struct aside *a = LIST_ENTRY(n, struct aside, node);
        bool is_named = a->msg->publisher != 0 && a->msg->publisher >> 63 == 0;
        if (directory_find_id(v, a->principal) == NULL ||
            (is_named && directory_find_id(v, a->msg->publisher) == NULL)) {
            /* Nobody can have it any more, and its record cannot be read for long. */
            give_up(w, a, "a device it belongs to was removed");
        }
    }
}

/* ---- setting aside ---- */

MUST_USE enum err aside_take(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_id)
{
    uint64_t lsn;
    struct aside *a = NULL;
    struct journal_set_aside about = {.id = worker_id(w, &w->next_set_aside),
                                      .session = s->id,
                                      .principal = s->account->principal->id,
                                      .since_wall_ms = w->wall_ms,
                                      .reason = EVENT_poison_message,
                                      .n_tries = d->n_sent,
                                      .m = {.qos = d->qos, .retain = d->retain}};
    TRY(aside_new(&about, session_client_id(s), d->msg, &a));
    enum err err = record_set_aside(w, &about, d->msg, &lsn);
    if (err != OK) {
        msg_unref(a->msg);
        mem_free(a);
        return err;
    }
    *ret_id = a->id;
    insert(w, a);
    keep_bounds(w, a);
    return OK;
}

MUST_USE enum err aside_restore(struct worker *w, const struct journal_set_aside *s,
                                struct slice client_id, const struct msg *m)
{
    struct aside *a = NULL;
    TRY(aside_new(s, client_id, m, &a));
    insert(w, a);
    return OK;
}

void asides_report(struct worker *w)
{
    list_for_each (n, &w->asides) {
        const struct aside *a = LIST_ENTRY(n, struct aside, node);
        bool is_told = false;
        for (struct list_node *p = a->node.prev; p != &w->asides.head && !is_told; p = p->prev) {
            is_told = is_alike(a, LIST_ENTRY(p, struct aside, node));
        }
        if (is_told) {
            continue;
        }
        struct event e = event_about(w, a);
        event_reason(&e,
                     "still set aside: message %llu was sent on %u connections and never "
                     "acknowledged. Look at what the client does with it, then `setaside replay "
                     "%llu`, or drop it",
                     (unsigned long long)a->id, a->n_tries, (unsigned long long)a->id);
        worker_report(w, &e);
    }
}

bool aside_holds(const struct worker *w, const struct session *s, const struct msg *m)
{
    list_for_each (n, &w->asides) {
        const struct aside *a = LIST_ENTRY(n, struct aside, node);
        if (m->number != 0 && a->session == s->id && a->msg->number == m->number) {
            return true;
        }
    }
    return false;
}

/* ---- queued again ---- */

static struct session *session_of(const struct worker *w, const struct aside *a)
{
    const struct account *account =
        map_find(&w->accounts, slice_of(&a->principal, sizeof(a->principal)));
    size_t at = 0;
    struct session *s = NULL;
    while (account != NULL && (s = session_set_next(&account->sessions, &at)) != NULL) {
        if (s->id == a->session) {
            return s;
        }
    }
    return NULL;
}

static enum aside_fate fate_of(enum err err, enum aside_fate denied)
{
    switch ((unsigned)err) {
    case OK:
        return ASIDE_REPLAYED;
    case ERR_NOMEM:
        return ASIDE_NO_MEMORY;
    case ERR_QUOTA:
        return ASIDE_QUEUE_FULL;
    case ERR_SPACE:
    case ERR_IO:
        return ASIDE_STORE_REFUSES;
    default:
        return denied;
    }
}

/* Both ends are asked under the policy of now, as for anything that waited (rule 9). */
static enum aside_fate judge(struct worker *w, const struct aside *a, const struct session *s)
{
    if (s == NULL) {
        return ASIDE_NO_SESSION;
    }
    if (s->account->is_closed) {
        return ASIDE_CLOSED;
    }
    if (a->msg->expires_at_ms <= w->now_ms) {
        return ASIDE_EXPIRED;
    }
    enum aside_fate fate = fate_of(publisher_judge(w, a->msg), ASIDE_PUBLISHER_DENIED);
    if (fate == ASIDE_REPLAYED) {
        fate = fate_of(grants_subscribe(&s->account->grants, a->msg->topic, NULL),
                       ASIDE_SUBSCRIBER_DENIED);
    }
    return fate;
}

/* The subscription identifiers of now; of a shared subscription, or of none any more, there are
 * none. */
static enum err ids_of(struct worker *w, const struct session *s, const struct msg *m,
                       const uint32_t **ret, uint16_t *ret_n)
{
    struct match match;
    *ret = NULL;
    *ret_n = 0;
    TRY(filters_match(w->filters, m->topic, NULL, &match));
    for (size_t i = 0; i < match.n_hits; i++) {
        if (match.hits[i].subscriber == &s->subscriber) {
            *ret = match.ids + match.hits[i].ids_at;
            *ret_n = match.hits[i].n_ids;
        }
    }
    return OK;
}

/* The delivery and the end of what was set aside are one handover: after a crash there is either
 * one or the other, never both, never none. */
static enum err record_replay(struct worker *w, const struct session *s, const struct msg *m,
                              const struct journal_delivery *d, const uint32_t *ids,
                              uint64_t *ret_lsn)
{
    uint64_t lsn;
    buf_clear(&w->record);
    TRY(record_entry(w, s, d, ids));
    TRY(record_body(w, m, 0, &lsn));
    return record_deliver(w, m->body_id, w->setup.index, ret_lsn);
}

static enum err queue_again(struct worker *w, const struct aside *a, struct session *s,
                            const struct msg *m)
{
    const uint32_t *ids;
    uint64_t lsn;
    struct journal_delivery d = {.qos = a->qos, .retain = a->retain};
    TRY(ids_of(w, s, m, &ids, &d.n_ids));
    TRY(pending_reserve(w, 1));
    TRY(session_enqueue(s, m, d.qos, d.retain, ids, d.n_ids, 0, grants_limits(&s->account->grants),
                        &d.seq));
    enum err err = record_replay(w, s, m, &d, ids, &lsn);
    if (err != OK) {
        session_take_back(s, d.seq);
        return err;
    }
    session_set_lsn(s, d.seq, lsn);
    struct pending at_commit = {.lsn = lsn, .action = PENDING_WAKE, .id = s->conn};
    struct conn *c = conn_find(w, s->conn);
    if (c != NULL) {
        conn_mark_dirty(w, c);
        err = pending_add(w, &at_commit); /* reserved */
    }
    return err;
}

/* A new message: its own record, a fresh count of tries. */
static enum aside_fate replay(struct worker *w, struct aside *a)
{
    struct session *s = session_of(w, a);
    enum aside_fate fate = judge(w, a, s);
    struct msg *copy = NULL;
    if (fate != ASIDE_REPLAYED) {
        return fate;
    }
    enum err err = msg_copy(a->msg, &copy);
    if (err == OK) {
        copy->qos = a->qos;
        copy->retain = a->retain;
        copy->body_id = worker_id(w, &w->next_body);
        err = queue_again(w, a, s, copy);
        msg_unref(copy);
    }
    if (err == OK && end(w, a, "was queued again") != OK) {
        /* It is queued, and after a restart in this list as well, where nobody sends it. */
        count_add(&counts(w)->dropped_memory, 1);
        aside_free(w, a);
    }
    return fate_of(err, ASIDE_NO_MEMORY);
}

static enum aside_fate drop(struct worker *w, struct aside *a)
{
    enum err err = end(w, a, "was dropped");
    return err == OK ? ASIDE_DROPPED : fate_of(err, ASIDE_STORE_REFUSES);
}

/* ---- an administrator asks ---- */

static enum err row_add(const struct worker *w, struct aside_ask *ask, const struct aside *a)
{
    if (ask->n_rows == ask->cap_rows) {
        size_t cap = ask->cap_rows > 0 ? ask->cap_rows * 2 : 16;
        struct aside_row *more = mem_grow(ask->rows, cap * sizeof(*more));
        if (more == NULL) {
            return ERR_NOMEM;
        }
        ask->rows = more;
        ask->cap_rows = cap;
    }
    struct event about = event_about(w, a);
    struct aside_row *r = &ask->rows[ask->n_rows++];
    *r = (struct aside_row){.id = a->id,
                            .since_wall_ms = a->since_wall_ms,
                            .reason = a->reason,
                            .n_tries = a->n_tries,
                            .qos = a->qos,
                            .msg = msg_ref(a->msg)};
    event_text(r->principal, sizeof(r->principal), slice_text(about.principal));
    event_text(r->client_id, sizeof(r->client_id), a->client_id);
    return OK;
}

static bool is_meant(const struct worker *w, const struct aside_ask *ask, const struct aside *a)
{
    if ((ask->id != 0 && ask->id != a->id) || a->id <= ask->after) {
        return false;
    }
    const struct directory_entry *e = directory_find_id(w->realm->directory, a->principal);
    return ask->principal[0] == '\0' ||
           (e != NULL && slice_is(slice_text(ask->principal), e->principal->name));
}

static enum aside_fate act(struct worker *w, enum aside_verb verb, struct aside *a)
{
    switch (verb) {
    case ASIDE_LIST:
        break;
    case ASIDE_REPLAY:
        return replay(w, a);
    case ASIDE_DROP:
        return drop(w, a);
    }
    return ASIDE_STAYS;
}

void aside_asked(struct worker *w, struct aside_ask *ask)
{
    list_for_each_safe (n, next, &w->asides) {
        struct aside *a = LIST_ENTRY(n, struct aside, node);
        if (ask->err != OK || ask->has_more || !is_meant(w, ask, a)) {
            continue;
        }
        if (ask->most > 0 && ask->n_rows == ask->most) {
            ask->has_more = true;
            continue;
        }
        ask->err = row_add(w, ask, a); /* first: what was done is always told */
        if (ask->err == OK) {
            ask->rows[ask->n_rows - 1].fate = act(w, ask->verb, a);
        }
    }
    ask->lsn = w->last_lsn;
    list_append(&w->asks, &ask->node);
}

bool asks_are_due(const struct worker *w)
{
    const struct list_node *n = list_first(&w->asks);
    return n != NULL && LIST_ENTRY(n, struct aside_ask, node)->lsn <= w->committed;
}

void asks_run(struct worker *w)
{
    while (asks_are_due(w)) {
        struct aside_ask *ask = LIST_ENTRY(list_first(&w->asks), struct aside_ask, node);
        list_unlink(&ask->node);
        atomic_store_explicit(&ask->is_done, true, memory_order_release);
        aside_ask_unref(ask);
    }
}
