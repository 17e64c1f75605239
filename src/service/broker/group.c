/* Shared subscriptions: which member gets a message, and who gets it when that one is gone. Every
 * worker knows all members; the worker where a message comes in chooses. docs/ORDER.md, rule 6. */
#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/groups.h"
#include "service/broker/commit_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

/* How often a message may go from worker to worker after members that have gone or must not have
 * it. */
enum { HOPS_MAX = 8 };

/* ---- what was chosen, on its way ---- */

struct wmsg_chosen *chosen_ref(struct wmsg_chosen *c)
{
    if (c != NULL) {
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    }
    return c;
}

struct wmsg_chosen *chosen_unref(struct wmsg_chosen *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(c);
    }
    return NULL;
}

static enum err chosen_new(size_t most, struct wmsg_chosen **ret)
{
    struct wmsg_chosen *c = mem_zalloc(sizeof(*c) + most * sizeof(c->at[0]));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&c->refs, 1);
    *ret = c;
    return OK;
}

static void chosen_add(struct wmsg_chosen *c, const struct member *m, uint8_t n_hops)
{
    c->at[c->n++] =
        (struct wmsg_place){.member = m->facts.id, .group = m->group->hash, .n_hops = n_hops};
}

/* ---- whose turn ---- */

struct turn {
    struct worker *w;
    const struct msg *m;
    const struct session * not ; /* does not get it */
    bool is_local;               /* nobody on another worker gets it */
};

static struct session *session_of(const struct member *m)
{
    return (struct session *)(void *)m->sub->subscriber;
}

static uint32_t window_of(const struct session *s, const struct conn *c)
{
    uint32_t window = mqtt_server_terms(c->engine)->client_receive_max;
    uint32_t role = grants_limits(&s->account->grants)->inflight;
    return role < window ? role : window;
}

/* The right to this is asked again at the delivery, too: asked here, a denial is the next one's
 * turn. */
static uint64_t load_here(struct worker *w, const struct msg *m, const struct member *member)
{
    struct session *s = session_of(member);
    const struct role_limits *limits = grants_limits(&s->account->grants);
    const struct conn *c = conn_find(w, s->conn);
    size_t waiting = session_count(s);
    bool is_lasting = s->subscriber.is_durable && m->qos > 0 && member->sub->qos > 0;
    bool is_awake = c != NULL && c->phase == CONN_OPEN;
    if (member->sub->is_pending || passage_deliver(s->account, member->sub, NULL) != OK ||
        passage_hear(s->account, m) != OK || (!is_awake && !is_lasting)) {
        return GROUP_NEVER;
    }
    if (waiting >= limits->queue_messages || s->queue->queued_bytes > limits->queue_bytes ||
        msg_cost(m) > limits->queue_bytes - s->queue->queued_bytes) {
        return GROUP_FULL;
    }
    if (!is_awake) {
        return GROUP_ASLEEP + waiting;
    }
    return waiting < window_of(s, c) ? GROUP_AT_ONCE : waiting;
}

static uint64_t load_of(void *ctx, const struct member *member)
{
    const struct turn *t = ctx;
    if (member->sub != NULL) {
        return session_of(member) == t->not ? GROUP_NEVER : load_here(t->w, t->m, member);
    }
    if (t->is_local ||
        (!member->facts.is_connected && (!member->facts.is_durable || t->m->qos == 0))) {
        return GROUP_NEVER;
    }
    return member->facts.is_connected ? GROUP_AT_ONCE : GROUP_ASLEEP + member->n_given;
}

/* The group's place in the match is its member's now. */
static void become(struct match *match, struct match_hit *hit, const struct member *member)
{
    const struct sub *sub = member->sub;
    hit->subscriber = sub->subscriber;
    hit->first = member->sub;
    hit->qos = sub->qos; /* SPEC: MQTT5-4.8.2-3 */
    hit->retain_as_published = sub->retain_as_published;
    hit->group = member->group->number;
    hit->n_ids = sub->id != 0 ? 1 : 0;
    if (sub->id != 0) {
        match->ids[hit->ids_at] = sub->id;
    }
    match->local_durable = match->local_durable || sub->subscriber->is_durable;
}

static struct group *group_hit(const struct match_hit *hit)
{
    return hit->subscriber->kind == SUBSCRIBER_GROUP ? (struct group *)(void *)hit->subscriber
                                                     : NULL;
}

static uint64_t bit_of(const struct member *m)
{
    return (uint64_t)1 << m->facts.worker;
}

MUST_USE enum err groups_choose(struct worker *w, const struct msg *m, struct match *match,
                                struct choice *ret)
{
    struct turn t = {.w = w, .m = m};
    struct choice c = {0};
    size_t n = 0;
    if (match->n_groups == 0) {
        return OK;
    }
    TRY(chosen_new(match->n_groups, &c.chosen));
    for (size_t i = 0; i < match->n_hits; i++) {
        struct match_hit hit = match->hits[i];
        struct group *group = group_hit(&hit);
        struct member *to = group != NULL ? group_pick(group, load_of, &t) : NULL;
        if (to != NULL && to->sub == NULL) {
            chosen_add(c.chosen, to, 0);
            c.to |= bit_of(to);
            /* Who gets it instead when this one has gone may last, and has no body else. */
            c.owed |= group->n_durable > 0 ? bit_of(to) : 0;
        } else if (to != NULL) {
            become(match, &hit, to);
        } else if (group != NULL) {
            count_add(&counts(w)->dropped_asleep, 1);
        }
        if (group == NULL || (to != NULL && to->sub != NULL)) {
            match->hits[n++] = hit;
        }
    }
    match->n_hits = n;
    match->n_groups = 0;
    if (c.chosen->n == 0) {
        c.chosen = chosen_unref(c.chosen);
    }
    *ret = c;
    return OK;
}

/* ---- from one member to another ---- */

/* Not retained, for that it was already; a record of its own, so that it stands when the first
 * one's ends. */
static enum err copy_for_group(const struct msg *m, const struct group *group, uint64_t body_id,
                               struct msg **ret)
{
    struct msg *copy = NULL;
    TRY(msg_copy(m, &copy));
    copy->for_group = group->hash;
    copy->body_id = body_id;
    *ret = copy;
    return OK;
}

static enum err give_here(struct worker *w, const struct msg *m, const struct member *to)
{
    struct match_hit hit = {0};
    uint32_t id = 0;
    uint64_t lsn;
    struct match match = {.hits = &hit, .n_hits = 1, .ids = &id};
    become(&match, &hit, to);
    TRY(pending_reserve(w, fan_pending(m, &match)));
    if (m->body_id != 0) {
        TRY(record_body(w, m, 0, &lsn));
        TRY(fan_durable(w, m, &match, w->setup.index, false, &lsn));
    }
    fan_others(w, m, &match);
    return OK;
}

/* The body says who owes its record, so after a crash the group is asked again. It is handed over
 * with the end of what was its first one's: after a crash one of the two has it. */
static enum err give_there(struct worker *w, const struct msg *m, const struct member *to)
{
    uint64_t lsn;
    struct wmsg out = {.kind = WMSG_PUBLISH,
                       .durable = m->body_id != 0,
                       .is_for_groups = true,
                       .debtor = (uint8_t)to->facts.worker,
                       .asker = (uint8_t)w->setup.index};
    TRY(outbox_reserve(w, bit_of(to)));
    TRY(chosen_new(1, &out.chosen));
    chosen_add(out.chosen, to, 0);
    enum err err = m->body_id != 0 ? record_body(w, m, bit_of(to), &lsn) : OK;
    if (err != OK) {
        chosen_unref(out.chosen);
        return err;
    }
    out.msg = msg_ref(m);
    outbox_push_held(w, to->facts.worker, &out);
    return OK;
}

/* Does what is passed on to this member stand on a record? On another worker one that lasts may get
 * it in its place. */
static bool is_kept(const struct msg *m, const struct member *to)
{
    bool may_last = to->sub != NULL ? to->facts.is_durable : to->group->n_durable > 0;
    return may_last && m->qos > 0 && !PLANTED(PLANT_GROUP_UNRECORDED);
}

static enum err give(struct worker *w, const struct msg *m, const struct member *to)
{
    struct msg *copy = NULL;
    uint64_t body_id = is_kept(m, to) ? worker_id(w, &w->next_body) : 0;
    TRY(copy_for_group(m, to->group, body_id, &copy));
    enum err err = to->sub != NULL ? give_here(w, copy, to) : give_there(w, copy, to);
    msg_unref(copy);
    return err;
}

MUST_USE enum err group_give(struct worker *w, uint32_t number, const struct msg *m,
                             const struct session *from)
{
    struct group *group = number != 0 ? groups_numbered(w->groups, number) : NULL;
    struct turn t = {.w = w, .m = m, .not = from};
    bool is_over = m->expires_at_ms <= w->now_ms || !publisher_ok(w, m);
    struct member *to = group != NULL && !is_over ? group_pick(group, load_of, &t) : NULL;
    return to != NULL ? give(w, m, to) : OK;
}

/* The store does not take what this one is to go on with. False: it is lost. */
static bool wait_for_room(struct worker *w, const struct session *s, const struct delivery *d,
                          bool stays_on_record, enum err err)
{
    if (!orphan_keep(w, stays_on_record && d->is_recorded ? s->id : 0, d)) {
        report_store(w, NULL, d->msg->topic, err, "a message of a shared subscription");
        return false;
    }
    return true;
}

void group_pass_on(struct worker *w, const struct session *s, const struct delivery *d)
{
    if (d->qos == 2 && delivery_may_have_left(d)) {
        return; /* SPEC: MQTT5-4.8.2-5 */
    }
    enum err err = group_give(w, d->group, d->msg, s);
    if (err == ERR_SPACE || err == ERR_IO) {
        (void)wait_for_room(w, s, d, false, err);
    } else if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

/* What went on before the first that waits is not of this session any more, whose record stays. */
static void settle_before(struct worker *w, const struct session *s, uint64_t seq)
{
    size_t at = 0;
    uint64_t lsn;
    const struct delivery *d;
    while ((d = session_next_shared(s, &at)) != NULL && d->seq < seq) {
        if (d->is_recorded && record_settle(w, JOURNAL_ACK, s->id, d->seq, 0, &lsn) != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
}

bool groups_end_session(struct worker *w, const struct session *s)
{
    size_t at = 0;
    uint64_t first = 0; /* that waits; all behind it do, too, in order */
    enum err refusal = OK;
    const struct delivery *d;
    while (!PLANTED(PLANT_GROUP_LOST) && (d = session_next_shared(s, &at)) != NULL) {
        enum err err = first == 0 ? group_give(w, d->group, d->msg, s) : refusal;
        if (err == ERR_SPACE || err == ERR_IO) {
            refusal = err;
            bool waits = wait_for_room(w, s, d, true, err);
            first = first == 0 && waits ? d->seq : first;
        } else if (err != OK) {
            count_add(&counts(w)->dropped_memory, 1);
        }
    }
    if (first == 0 || !s->is_on_record) {
        return false;
    }
    settle_before(w, s, first);
    orphan_ends_session(w, s->id);
    return true;
}

/* ---- chosen by another worker ---- */

static unsigned worker_of(const struct wmsg_place *at)
{
    return at->member & ((1u << WORKER_ID_BITS) - 1);
}

static bool is_ours(const struct worker *w, const struct wmsg_place *at)
{
    return worker_of(at) == w->setup.index;
}

/* Which member of this group the message is for, as far as this worker has to see to it; NULL:
 * none. */
static const struct wmsg_place *place_of(const struct worker *w, const struct wmsg *in,
                                         const struct group *group)
{
    for (size_t i = 0; in->chosen != NULL && i < in->chosen->n; i++) {
        const struct wmsg_place *at = &in->chosen->at[i];
        if (at->group == group->hash && (is_ours(w, at) || in->is_for_groups)) {
            return at;
        }
    }
    return NULL;
}

/* Who gets it now. It may be told where it is to go without being asked whether it can have it: its
 * own worker does that. */
static struct member *member_now(struct worker *w, const struct wmsg *in, struct group *group,
                                 struct wmsg_place *place)
{
    struct turn t = {.w = w, .m = in->msg, .is_local = place->n_hops >= HOPS_MAX};
    struct member *to = groups_member(w->groups, place->member);
    bool is_on_its_way = to != NULL && to->group == group && to->sub == NULL && !is_ours(w, place);
    if (is_on_its_way || (to != NULL && to->group == group && load_of(&t, to) < GROUP_FULL)) {
        return to;
    }
    to = group_pick(group, load_of, &t);
    place->n_hops++;
    return to;
}

/* Who gets it here; NULL: nobody, or it goes on to another worker. */
static enum err member_here(struct worker *w, const struct wmsg *in, struct group *group,
                            size_t n_groups, struct choice *onward, struct member **ret)
{
    const struct wmsg_place *chosen = place_of(w, in, group);
    *ret = NULL;
    if (chosen == NULL && !PLANTED(PLANT_GROUP_TWICE)) {
        return OK;
    }
    struct wmsg_place place = chosen != NULL ? *chosen : (struct wmsg_place){0};
    struct member *to = member_now(w, in, group, &place);
    if (to == NULL) {
        count_add(&counts(w)->dropped_asleep, 1);
    } else if (to->sub != NULL) {
        *ret = to;
    } else {
        if (onward->chosen == NULL) {
            TRY(chosen_new(n_groups, &onward->chosen));
            onward->to = bit_of(to);
        }
        chosen_add(onward->chosen, to, place.n_hops);
    }
    return OK;
}

MUST_USE enum err groups_chosen(struct worker *w, const struct wmsg *in, struct match *match,
                                struct choice *onward)
{
    size_t n = 0;
    for (size_t i = 0; i < match->n_hits; i++) {
        struct match_hit hit = match->hits[i];
        struct group *group = group_hit(&hit);
        struct member *to = NULL;
        if (group != NULL) {
            TRY(member_here(w, in, group, match->n_groups, onward, &to));
        }
        if (to != NULL) {
            become(match, &hit, to);
        }
        if (to != NULL || (group == NULL && !in->is_for_groups)) {
            match->hits[n++] = hit;
        }
    }
    match->n_hits = n;
    match->n_groups = 0;
    return OK;
}

/* All places go to the worker of the first one: it sees to its own, and sends the others on. Who
 * takes over the debt waits for the record of what was given here, which is handed over before. */
void group_send_on(struct worker *w, const struct wmsg *in, struct wmsg_chosen *chosen,
                   bool is_owed)
{
    struct wmsg out = {.kind = WMSG_PUBLISH,
                       .durable = is_owed,
                       .is_for_groups = true,
                       .debtor = in->debtor,
                       .asker = in->asker,
                       .token = is_owed ? in->token : 0,
                       .chosen = chosen_ref(chosen),
                       .msg = msg_ref(in->msg)};
    outbox_push_held(w, worker_of(&chosen->at[0]), &out);
}

/* ---- after a restart ---- */

/* All workers say the same: the durable member that joined first, unless the group has had it. */
static struct member *missed_by(const struct group *group, const uint64_t *sessions, size_t n)
{
    struct member *first = NULL;
    for (size_t i = 0; i < n; i++) {
        if (sessions[i] == journal_group_session(group->hash)) {
            return NULL;
        }
    }
    list_for_each (node, &group->members) {
        struct member *m = LIST_ENTRY(node, struct member, in_group);
        if (m->facts.is_durable && (first == NULL || m->facts.id < first->facts.id)) {
            first = m;
        }
    }
    return first;
}

void groups_missed(struct worker *w, const struct msg *m, const uint64_t *sessions, size_t n,
                   struct match *match)
{
    size_t left = 0;
    (void)w;
    for (size_t i = 0; i < match->n_hits; i++) {
        struct match_hit hit = match->hits[i];
        const struct group *group = group_hit(&hit);
        bool is_asked = group != NULL && (m->for_group == 0 || m->for_group == group->hash);
        struct member *to = is_asked ? missed_by(group, sessions, n) : NULL;
        if (to != NULL && to->sub != NULL) {
            become(match, &hit, to);
        }
        if (hit.group != 0 || (group == NULL && m->for_group == 0)) {
            match->hits[left++] = hit;
        }
    }
    match->n_hits = left;
    match->n_groups = 0;
}

/* Did this subscription bring a delivery with these identifiers? */
static bool has_brought(const struct sub *sub, const uint32_t *ids, size_t n_ids)
{
    bool has = sub->id == 0 && n_ids == 0;
    for (size_t i = 0; i < n_ids; i++) {
        has = has || (ids[i] == sub->id && (!sub->is_member || n_ids == 1));
    }
    return has;
}

/* The record names no group: identifiers tell apart what several subscriptions would have brought,
 * where the client gave any. An ordinary one comes first, for it loses nothing. What none of those
 * of now has brought is its own: in another group it would be a second copy. */
uint32_t group_of_restored(const struct session *s, struct slice topic, const uint32_t *ids,
                           size_t n_ids)
{
    uint32_t group = 0;
    list_for_each (n, &s->subscriber.subs) {
        const struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
        if (!topic_matches(sub_filter(sub), topic) || !has_brought(sub, ids, n_ids)) {
            continue;
        }
        if (!sub->is_member) {
            return 0;
        }
        group = sub->member->group->number;
    }
    return group;
}

/* ---- who is a member ---- */

/* False: some worker was not told, for want of memory. */
static bool announce(struct worker *w, const struct member *m, bool is_there)
{
    bool all_told = true;
    struct slice text = m->group->text;
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (i == w->setup.index) {
            continue;
        }
        struct wmsg_text *copy = mem_alloc(sizeof(*copy) + text.n);
        struct wmsg out = {.kind = WMSG_MEMBER,
                           .any = is_there,
                           .durable = m->facts.is_durable,
                           .connected = m->facts.is_connected,
                           .id = m->facts.id,
                           .token = m->facts.session,
                           .text = copy};
        if (copy != NULL) {
            copy->n = text.n;
            slice_copy(copy->bytes, text);
        }
        if (copy == NULL || outbox_push(w, i, &out) != OK) {
            mem_free(copy);
            count_add(&counts(w)->dropped_memory, 1);
            all_told = false;
        }
    }
    return all_told;
}

MUST_USE enum err group_join(struct worker *w, struct session *s, struct slice text,
                             struct sub **ret)
{
    struct member_facts facts = {.session = s->id,
                                 .worker = w->setup.index,
                                 .is_connected = s->conn != 0,
                                 .is_durable = s->subscriber.is_durable};
    struct member *m = NULL;
    if (group_sub_of(&s->subscriber, text) != NULL) {
        return ERR_EXISTS;
    }
    facts.id = worker_id(w, &w->next_member);
    TRY(groups_put(w->groups, text, &facts, &s->subscriber, &m));
    if (!announce(w, m, true)) {
        (void)announce(w, m, false);
        groups_leave(w->groups, m);
        return ERR_NOMEM;
    }
    *ret = m->sub;
    return OK;
}

/* Untold, the others choose one that has gone, and this worker chooses again. */
void group_leave(struct worker *w, struct sub *sub)
{
    (void)announce(w, sub->member, false);
    groups_leave(w->groups, sub->member);
    count_set(&counts(w)->subscriptions, filters_sub_count(w->filters));
}

void groups_session_changed(struct worker *w, struct session *s)
{
    list_for_each (n, &s->subscriber.subs) {
        const struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
        struct member *m = sub->is_member ? sub->member : NULL;
        bool is_connected = s->conn != 0, is_durable = s->subscriber.is_durable;
        if (m != NULL &&
            (m->facts.is_connected != is_connected || m->facts.is_durable != is_durable)) {
            struct member_facts facts = m->facts;
            facts.is_connected = is_connected;
            facts.is_durable = is_durable;
            groups_change(m, &facts);
            (void)announce(w, m, true);
        }
    }
}

MUST_USE enum err member_told(struct worker *w, const struct wmsg *in)
{
    struct member_facts facts = {.id = in->id,
                                 .session = in->token,
                                 .worker = in->from,
                                 .is_connected = in->connected,
                                 .is_durable = in->durable};
    struct member *m = groups_member(w->groups, in->id);
    if (in->any) {
        TRY(groups_put(w->groups, slice_of(in->text->bytes, in->text->n), &facts, NULL, &m));
    } else if (m != NULL) {
        groups_leave(w->groups, m);
    }
    mem_free(in->text);
    return OK;
}
