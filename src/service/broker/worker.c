/* The worker itself: birth, turns, ring messages, end. */
#include "service/broker/worker.h"

#include "base/fetch.h"
#include "base/mem.h"
#include "core/groups.h"
#include "core/msg_pool.h"
#include "service/broker/aside.h"
#include "service/broker/aside_private.h"
#include "service/broker/browse.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/enrolment.h"
#include "service/broker/group_private.h"
#include "service/broker/handover.h"
#include "service/broker/login_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/reading.h"
#include "service/broker/replay_private.h"
#include "service/broker/route_private.h"
#include "service/broker/scrape.h"
#include "service/broker/sessions_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/usage.h"
#include "service/broker/worker_private.h"

enum { MARKER_SWEEP_MS = 1000, EXPIRE_BATCH = 1000, TURN_MESSAGES_MAX = 4096 };

static struct mqtt_wire_limits wire_limits(const struct limits *l)
{
    return (struct mqtt_wire_limits){
        .topic_bytes = (uint16_t)l->topic_bytes,
        .topic_levels = l->topic_levels,
        .filters_per_packet = (uint16_t)l->filters_per_packet,
        .user_properties = l->user_properties,
        .client_id_bytes = (uint16_t)l->client_id_bytes,
        .topic_alias_max = (uint16_t)l->topic_aliases,
    };
}

static void set_limits(struct worker *w, const struct limits *l)
{
    w->setup.limits = l;
    w->wire = wire_limits(l);
    w->packet_most = l->packet_bytes > w->packet_most ? l->packet_bytes : w->packet_most;
    w->preauth_most = l->preauth_bytes > w->preauth_most ? l->preauth_bytes : w->preauth_most;
}

/* For what begins from here on: a connection has its terms, and its gate, since it came. Takes e.
 */
static void edition_changed(struct worker *w, const struct edition *e)
{
    const struct edition *old = w->edition;
    w->edition = e;
    set_limits(w, &e->limits);
    lane_pace_follow(w);
    w->setup.server_reference = e->server_reference;
    edition_unref(old);
}

const struct edition *worker_edition(const struct worker *w)
{
    return w->edition;
}

static enum err worker_init(struct worker *w, uint64_t now_ms)
{
    TRY(filters_new(&w->setup.key, &w->filters));
    TRY(groups_new(&w->setup.key, w->filters, &w->groups));
    TRY(retained_new(&w->setup.key, &w->retained));
    retained_watch(w->retained, retained_expired, w);
    w->outboxes = mem_array(w->setup.n_workers, sizeof(struct outbox));
    if (w->outboxes == NULL) {
        return ERR_NOMEM;
    }
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        w->outboxes[i].ring = w->setup.to[i];
    }
    map_init(&w->accounts, &w->setup.key, account_key);
    list_init(&w->dirty);
    list_init(&w->paused);
    list_init(&w->replaying);
    list_init(&w->browses);
    list_init(&w->usages);
    list_init(&w->barriers);
    list_init(&w->complaints);
    list_init(&w->thirsty);
    list_init(&w->shedders);
    list_init(&w->observers_dirty);
    list_init(&w->asides);
    list_init(&w->orphans);
    numbers_init(&w->numbers, &w->setup.key);
    desk_init(&w->desk, &w->setup.key, now_ms);
    roster_init(&w->roster, &w->setup.key, now_ms);
    list_init(&w->asks);
    list_init(&w->handed);
    list_init(&w->enrolled);
    list_init(&w->scraped);
    wheel_init(&w->conn_wheel, now_ms);
    wheel_init(&w->session_wheel, now_ms);
    return OK;
}

MUST_USE enum err worker_new(const struct worker_setup *s, uint64_t now_ms, int64_t wall_ms,
                             struct worker **ret)
{
    struct worker *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->setup = *s;
    w->now_ms = now_ms;
    w->wall_ms = wall_ms;
    set_limits(w, s->limits);
    lane_pace_init(w);
    w->realm = realm_ref(s->realm);
    people_init(w);
    w->next_sweep_ms = now_ms + MARKER_SWEEP_MS;
    w->call_at_ms = UINT64_MAX;
    w->thirst_at_ms = UINT64_MAX;
    atomic_init(&w->realm_epoch, s->realm->epoch);
    enum err err = worker_init(w, now_ms);
    if (err != OK) {
        worker_free(w);
        return err;
    }
    *ret = w;
    return OK;
}

static void accounts_free(struct worker *w)
{
    size_t at = 0;
    struct account *a;
    while ((a = map_next(&w->accounts, &at)) != NULL) {
        size_t session_at = 0;
        struct session *s;
        while ((s = session_set_next(&a->sessions, &session_at)) != NULL) {
            struct list_node *n;
            struct interest_change ignored;
            while ((n = list_first(&s->subscriber.subs)) != NULL) {
                struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
                if (sub->is_member) {
                    groups_leave(w->groups, sub->member);
                } else {
                    filters_remove(w->filters, sub, &ignored);
                }
            }
            session_disarm(w, s);
            session_set_remove(&a->sessions, s);
            session_free(s);
        }
        map_remove(&w->accounts, account_key(a));
        account_free(a);
    }
    map_done(&w->accounts);
    numbers_done(&w->numbers);
}

static void outboxes_free(struct worker *w)
{
    for (unsigned i = 0; w->outboxes != NULL && i < w->setup.n_workers; i++) {
        struct outbox *o = &w->outboxes[i];
        while (o->at < o->n) {
            wmsg_done(&o->overflow[o->at++]);
        }
        mem_free(o->overflow);
    }
    mem_free(w->outboxes);
}

struct worker *worker_free(struct worker *w)
{
    if (w == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < w->n_slots; i++) {
        struct conn *c = w->conns[i];
        if (c != NULL) {
            if (c->session != NULL) {
                c->session->conn = 0;
            }
            c->session = NULL;
            c->account = NULL;
            conn_forget(w, c);
        }
    }
    accounts_free(w);
    struct list_node *n;
    while (w->barriers.head.next != NULL && (n = list_first(&w->barriers)) != NULL) {
        list_unlink(n);
        mem_free(LIST_ENTRY(n, struct barrier, node));
    }
    asides_free(w);
    desk_done(w);
    roster_done(w);
    orphans_free(w);
    if (w->retained != NULL) {
        browses_end(w);
    }
    outboxes_free(w);
    handed_clear(w);
    enrolled_clear(w);
    scraped_clear(w);
    publishers_clear(w);
    groups_free(w->groups);
    filters_free(w->filters);
    retained_free(w->retained);
    buf_done(&w->record);
    buf_done(&w->hits);
    realm_unref(w->realm);
    edition_unref(w->edition);
    mem_free(w->conns);
    mem_free(w->tokens);
    mem_free(w->pending);
    mem_free(w->done);
    mem_free(w);
    return NULL;
}

/* ---- ring messages ---- */

static void take_interest(struct worker *w, const struct wmsg *m)
{
    struct slice filter = slice_of(m->text->bytes, m->text->n);
    if (filters_set_remote(w->filters, filter, m->from, m->any, m->durable) != OK) {
        /* Too little memory to know what it wants: from now on it is sent everything. */
        w->wants_all |= (uint64_t)1 << m->from;
        count_add(&counts(w)->dropped_memory, 1);
    }
    mem_free(m->text);
}

static void answer_barrier(struct worker *w, const struct wmsg *m)
{
    struct wmsg ack = {.kind = WMSG_BARRIER_ACK, .id = m->id};
    if (outbox_push(w, m->from, &ack) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* that SUBACK never leaves: the client repeats */
    }
}

/* False: it cannot be taken in yet, and nothing of it was. */
static bool take_message(struct worker *w, struct wmsg *m)
{
    switch (m->kind) {
    case WMSG_HANDOVER:
        handover_arrived(w, m->handover);
        break;
    case WMSG_INTEREST:
        take_interest(w, m);
        break;
    case WMSG_MEMBER:
        return member_told(w, m) == OK;
    case WMSG_BARRIER:
        answer_barrier(w, m);
        break;
    case WMSG_BARRIER_ACK:
        barrier_acked(w, m);
        break;
    case WMSG_PUBLISH:
        return publish_remote(w, m) == OK;
    case WMSG_TOKEN:
        if (m->id == 0) {
            token_close_one(w, m->token);
        } else {
            token_fail(w, m->token);
        }
        break;
    case WMSG_VERIFIED:
        login_verified(w, m->verified);
        verified_free(m->verified);
        break;
    case WMSG_BROWSE:
        browse_arrived(w, m->browse);
        break;
    case WMSG_BODY:
        spill_arrived(w, m->reading);
        break;
    case WMSG_REALM: /* one step: nothing here sees the one without the other */
        if (m->edition != NULL) {
            edition_changed(w, m->edition);
        }
        realm_changed(w, m->realm);
        break;
    case WMSG_ASIDE:
        aside_asked(w, m->ask);
        break;
    case WMSG_COMMAND:
        desk_take(w, m->note);
        break;
    case WMSG_DRAIN:
        worker_drain(w);
        break;
    case WMSG_HANDED:
        handed_arrived(w, m->handed);
        break;
    case WMSG_ENROLLED:
        enrolled_arrived(w, m->enrolment);
        break;
    case WMSG_ROSTER:
        roster_take(w, m->roster);
        break;
    case WMSG_RENEWED:
        lane_answered(w, m->renewal);
        break;
    case WMSG_SCRAPED:
        scraped_arrived(w, m->scrape);
        break;
    case WMSG_ANNOUNCE:
        publish_announced(w, (struct msg *)(uintptr_t)m->msg);
        break;
    }
    return true;
}

void wmsg_done(struct wmsg *m)
{
    switch (m->kind) {
    case WMSG_HANDOVER:
        handover_free(m->handover);
        break;
    case WMSG_INTEREST:
    case WMSG_MEMBER:
        mem_free(m->text);
        break;
    case WMSG_PUBLISH:
        msg_unref(m->msg);
        chosen_unref(m->chosen);
        break;
    case WMSG_VERIFIED:
        verified_free(m->verified);
        break;
    case WMSG_BROWSE:
        browse_unref(m->browse);
        break;
    case WMSG_BODY:
        reading_free(m->reading);
        break;
    case WMSG_REALM:
        realm_unref(m->realm);
        edition_unref(m->edition);
        break;
    case WMSG_ASIDE:
        aside_ask_unref(m->ask);
        break;
    case WMSG_COMMAND:
        command_note_free(m->note);
        break;
    case WMSG_HANDED:
        mem_free(m->handed);
        break;
    case WMSG_ENROLLED:
        enrolment_free(m->enrolment);
        break;
    case WMSG_ROSTER:
        roster_note_free(m->roster);
        break;
    case WMSG_RENEWED:
        renewal_free(m->renewal);
        break;
    case WMSG_SCRAPED:
        scrape_free(m->scrape);
        break;
    case WMSG_ANNOUNCE:
        msg_unref(m->msg);
        break;
    case WMSG_BARRIER:
    case WMSG_BARRIER_ACK:
    case WMSG_TOKEN:
    case WMSG_DRAIN:
        break;
    }
}

/* ---- turns ---- */

/* The lines of a message that crosses are in another core until they are asked for, and asking one
 * after the other is most of what it costs. What decides is in the first ones, which are written,
 * too, for its references; what is sent is behind them, where those say. */
static void fetch_ahead(const struct ring *r)
{
    enum { HEAD = 192, HEAD_AHEAD = 4, BODY_AHEAD = 2, BODY_MOST = 512 };
    const struct wmsg *far = ring_next(r, HEAD_AHEAD), *near = ring_next(r, BODY_AHEAD);
    if (far != NULL && far->kind == WMSG_PUBLISH) {
        const uint8_t *head = (const uint8_t *)far->msg;
        fetch_to_write(head, FETCH_LINE);
        fetch(head + FETCH_LINE, HEAD - FETCH_LINE);
    }
    if (near != NULL && near->kind == WMSG_PUBLISH && near->msg->payload.n > 0) {
        struct slice body = slice_head(near->msg->payload, BODY_MOST);
        fetch(body.p, body.n);
    }
}

/* What there is no memory for stays where it is, and what came behind it on this ring, too. */
void worker_hear(struct worker *w)
{
    w->is_short = false;
    for (unsigned i = 0; i < w->setup.n_from; i++) {
        struct ring *r = w->setup.from[i];
        struct wmsg *m = NULL;
        bool is_taken = true;
        for (int n = 0; r != NULL && n < TURN_MESSAGES_MAX && (m = ring_front(r)) != NULL; n++) {
            fetch_ahead(r);
            is_taken = take_message(w, m);
            if (!is_taken) {
                break;
            }
            ring_drop(r);
        }
        w->is_short = w->is_short || !is_taken;
    }
}

static void accounts_sweep(struct worker *w)
{
    if (!w->has_tired_accounts) {
        return;
    }
    w->has_tired_accounts = false; /* set again by each that still has to wait */
    size_t at = 0;
    struct account *a;
    while ((a = map_next(&w->accounts, &at)) != NULL) {
        account_drop_if_unused(w, a);
    }
}

static void timers_run(struct worker *w)
{
    struct timer *t;
    wheel_advance(&w->conn_wheel, w->now_ms);
    while ((t = wheel_next(&w->conn_wheel)) != NULL) {
        conn_timeout(w, CONTAINER_OF(t, struct conn, timer));
    }
    wheel_advance(&w->session_wheel, w->now_ms);
    while ((t = wheel_next(&w->session_wheel)) != NULL) {
        session_due(w, CONTAINER_OF(t, struct session_rest, due)->session);
    }
    if (w->now_ms >= w->next_sweep_ms) {
        w->next_sweep_ms = w->now_ms + MARKER_SWEEP_MS;
        markers_sweep(w);
        slow_sweep(w);
        accounts_sweep(w);
        asides_expire(w);
        msg_pool_age(msg_pool_own());
        (void)retained_expire(w->retained, w->now_ms, EXPIRE_BATCH);
    }
}

void worker_set_time(struct worker *w, uint64_t now_ms, int64_t wall_ms)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    w->wall_ms = wall_ms;
}

void worker_turn(struct worker *w, uint64_t now_ms, int64_t wall_ms)
{
    worker_set_time(w, now_ms, wall_ms);
    accounts_retry(w);
    worker_hear(w);
    commits_run(w);
    timers_run(w);
    orphans_turn(w);
    ceiling_turn(w);
    spill_retry(w);
    replays_turn(w);
    browses_turn(w);
    desk_turn(w);
    roster_turn(w);
    usage_turn(w);
    outboxes_drain(w);
    if (!list_is_empty(&w->paused)) {
        conns_resume(w);
    }
    worker_handover(w);
    count_set(&counts(w)->queued_messages, w->load.messages);
    count_set(&counts(w)->queued_bytes, w->load.bytes);
    count_add(&counts(w)->turns, 1);
}

uint64_t worker_take_wakes(struct worker *w)
{
    uint64_t wakes = w->wakes;
    w->wakes = 0;
    return wakes;
}

static bool rings_have_more(const struct worker *w)
{
    for (unsigned i = 0; i < w->setup.n_from; i++) {
        if (w->setup.from[i] != NULL && ring_count(w->setup.from[i]) > 0) {
            return true;
        }
    }
    return false;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t worker_deadline(const struct worker *w)
{
    bool is_dirty = !list_is_empty(&w->dirty);
    if ((is_dirty && w->rest_until_ms <= w->now_ms) || commits_are_due(w) || asks_are_due(w)) {
        return w->now_ms;
    }
    uint64_t at = least(wheel_deadline(&w->conn_wheel), wheel_deadline(&w->session_wheel));
    at = is_dirty ? least(at, w->rest_until_ms) : at;
    at = least(least(at, w->call_at_ms), least(ceiling_deadline(w), spill_deadline(w)));
    if (rings_have_more(w)) {
        at = least(at, w->now_ms + (w->is_short ? SHORT_RETRY_MS : 0));
    }
    if (browses_wait(w)) {
        at = least(at, w->now_ms + 1);
    }
    if (outboxes_are_full(w, 1)) {
        at = least(at, w->now_ms + 1); /* a full ring: look again soon */
    }
    list_for_each (n, &w->paused) {
        const struct conn *c = LIST_ENTRY(n, struct conn, paused);
        at = least(at, c->paused_until_ms == UINT64_MAX ? w->now_ms + 10 : c->paused_until_ms);
    }
    at = least(least(at, orphans_deadline(w)), least(roster_deadline(w), usage_deadline(w)));
    return least(least(at, least(replays_deadline(w), desk_deadline(w))), w->next_sweep_ms);
}

uint64_t worker_realm_epoch(const struct worker *w)
{
    return atomic_load_explicit(&w->realm_epoch, memory_order_acquire);
}

bool worker_is_draining(const struct worker *w)
{
    return w->is_draining;
}

bool worker_is_drained(const struct worker *w)
{
    return w->is_draining && w->n_conns == 0;
}

bool worker_is_replaying(const struct worker *w)
{
    return !list_is_empty(&w->replaying);
}

bool worker_has_uncommitted(const struct worker *w)
{
    return w->last_lsn > w->committed;
}

uint64_t worker_next_conn(const struct worker *w, uint64_t *at)
{
    while (*at < w->n_slots) {
        const struct conn *c = w->conns[(*at)++];
        if (c != NULL) {
            return c->handle;
        }
    }
    return 0;
}

const struct realm *worker_realm(const struct worker *w)
{
    return w->realm;
}

const struct limits *worker_limits(const struct worker *w)
{
    return w->setup.limits;
}
