/* Shared subscriptions: which member gets a message, and who gets it when that one is gone. Every
 * worker knows all members; the worker where a message comes in chooses. docs/ORDER.md, rule 6. */
#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
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

static void chosen_add(struct wmsg_chosen *c, const struct member *m)
{
    c->at[c->n].member = m->facts.id;
    c->at[c->n].group = m->group->hash;
    c->n++;
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
    uint32_t role = grants_limits(s->account->grants)->inflight;
    return role < window ? role : window;
}

/* The right to this is asked again at the delivery, too: asked here, a denial is the next one's
 * turn. */
static uint64_t load_here(struct worker *w, const struct msg *m, const struct member *member)
{
    struct session *s = session_of(member);
    const struct role_limits *limits = grants_limits(s->account->grants);
    const struct conn *c = conn_find(w, s->conn);
    size_t waiting = session_count(s);
    bool is_lasting = s->subscriber.is_durable && m->qos > 0 && member->sub->qos > 0;
    bool is_awake = c != NULL && c->phase == CONN_OPEN;
    if (member->sub->is_pending || passage_deliver(s->account, member->sub, NULL) != OK ||
        passage_hear(s->account, m) != OK || (!is_awake && !is_lasting)) {
        return GROUP_NEVER;
    }
    if (waiting >= limits->queue_messages || s->queued_bytes > limits->queue_bytes ||
        msg_cost(m) > limits->queue_bytes - s->queued_bytes) {
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
            chosen_add(c.chosen, to);
            c.to |= bit_of(to);
            c.owed |= to->facts.is_durable ? bit_of(to) : 0;
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
        TRY(fan_durable(w, m, &match, NULL, false, &lsn));
    }
    fan_others(w, m, &match);
    return OK;
}

/* The body says who owes its record, so after a crash the group is asked again. It is handed over
 * with the end of what was its first one's: after a crash one of the two has it. */
static enum err give_there(struct worker *w, const struct msg *m, const struct member *to,
                           unsigned n_hops)
{
    uint64_t lsn;
    struct wmsg out = {.kind = WMSG_PUBLISH,
                       .durable = m->body_id != 0,
                       .is_for_groups = true,
                       .n_hops = (uint8_t)n_hops};
    TRY(outbox_reserve(w, bit_of(to)));
    TRY(chosen_new(1, &out.chosen));
    chosen_add(out.chosen, to);
    enum err err = m->body_id != 0 ? record_body(w, m, bit_of(to), &lsn) : OK;
    if (err != OK) {
        chosen_unref(out.chosen);
        return err;
    }
    out.msg = msg_ref(m);
    outbox_push_held(w, to->facts.worker, &out);
    return OK;
}

/* Does what is passed on to this member stand on a record? */
static bool is_kept(const struct msg *m, const struct member *to)
{
    return to->facts.is_durable && m->qos > 0 && !PLANTED(PLANT_GROUP_UNRECORDED);
}

static enum err give(struct worker *w, const struct msg *m, const struct member *to,
                     unsigned n_hops, bool is_recorded)
{
    struct msg *copy = NULL;
    uint64_t body_id = is_recorded ? worker_id(w, &w->next_body) : 0;
    TRY(copy_for_group(m, to->group, body_id, &copy));
    enum err err = to->sub != NULL ? give_here(w, copy, to) : give_there(w, copy, to, n_hops);
    msg_unref(copy);
    return err;
}

void group_pass_on(struct worker *w, const struct session *s, const struct delivery *d)
{
    struct group *group = d->group != 0 ? groups_numbered(w->groups, d->group) : NULL;
    struct turn t = {.w = w, .m = d->msg, .not = s};
    bool is_over = d->msg->expires_at_ms <= w->now_ms || !publisher_ok(w, d->msg) ||
                   (d->qos == 2 && delivery_may_have_left(d)); /* SPEC: MQTT5-4.8.2-5 */
    struct member *to = group != NULL && !is_over ? group_pick(group, load_of, &t) : NULL;
    if (to == NULL) {
        return;
    }
    enum err err = give(w, d->msg, to, 0, is_kept(d->msg, to));
    if (err == ERR_SPACE || err == ERR_IO) {
        report_store(w, NULL, d->msg->topic, err, "a message of a shared subscription");
    } else if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
    }
}

void groups_end_session(struct worker *w, const struct session *s)
{
    size_t at = 0;
    const struct delivery *d;
    while (!PLANTED(PLANT_GROUP_LOST) && (d = session_next_shared(s, &at)) != NULL) {
        group_pass_on(w, s, d);
    }
}

/* ---- chosen by another worker ---- */

static bool is_ours(const struct worker *w, const struct wmsg_place *at)
{
    return (at->member & ((1u << WORKER_ID_BITS) - 1)) == w->setup.index;
}

/* The place of this worker's member of this group; NULL: none was chosen, or what it was to have
 * has been passed on already. */
static struct wmsg_place *place_of(const struct worker *w, const struct wmsg *in,
                                   const struct group *group)
{
    for (size_t i = 0; in->chosen != NULL && i < in->chosen->n; i++) {
        struct wmsg_place *at = &in->chosen->at[i];
        if (is_ours(w, at) && at->group == group->hash) {
            return at->is_passed_on ? NULL : at;
        }
    }
    return NULL;
}

bool chosen_was_passed_on(const struct worker *w, const struct wmsg_chosen *c)
{
    bool was = false;
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        was = was || (is_ours(w, &c->at[i]) && c->at[i].is_on_record);
    }
    return was;
}

MUST_USE enum err chosen_record(struct worker *w, const struct wmsg_chosen *c)
{
    for (size_t i = 0; c != NULL && i < c->n; i++) {
        if (is_ours(w, &c->at[i]) && c->at[i].is_on_record) {
            TRY(record_group_entry(w, c->at[i].group));
        }
    }
    return OK;
}

/* What the store does not take goes without a record when nobody waits for one, and with QoS 2: its
 * publisher would send it again, and who has it already would get it twice. */
static enum err hand_on(struct worker *w, const struct wmsg *in, const struct member *to,
                        struct wmsg_place *place)
{
    bool is_recorded = is_kept(in->msg, to);
    enum err err = give(w, in->msg, to, in->n_hops + 1u, is_recorded);
    if ((err == ERR_SPACE || err == ERR_IO) && (in->msg->qos == 2 || !in->durable)) {
        err = give(w, in->msg, to, in->n_hops + 1u, false);
    }
    TRY(err);
    if (place != NULL) {
        place->is_passed_on = true; /* not again when this one is tried again */
        /* Also when the store did not take the copy: given once more after a crash it would be
         * the second one. The price is that a crash while the disk is full takes it. */
        place->is_on_record = is_recorded;
    }
    return OK;
}

/* Who gets it here; NULL: nobody, or it went on to another worker. */
static enum err member_here(struct worker *w, const struct wmsg *in, struct group *group,
                            struct member **ret)
{
    struct turn t = {.w = w, .m = in->msg, .is_local = in->n_hops >= HOPS_MAX};
    struct wmsg_place *place = place_of(w, in, group);
    *ret = NULL;
    if (place == NULL && !PLANTED(PLANT_GROUP_TWICE)) {
        return OK;
    }
    struct member *to = place != NULL ? groups_member(w->groups, place->member) : NULL;
    if (to == NULL || to->group != group || load_of(&t, to) >= GROUP_FULL) {
        to = group_pick(group, load_of, &t);
    }
    /* Nobody owes a record here when a member that does not last was to have it. There may be no
     * body, or none any more; what lasts needs one of its own, or its packet id, counted by what is
     * on record, would be given again after a crash. */
    bool is_alone = !in->durable && to != NULL && to->sub != NULL && to->sub->qos > 0;
    if (to == NULL) {
        count_add(&counts(w)->dropped_asleep, 1);
    } else if (to->sub != NULL && !(is_alone && is_kept(in->msg, to))) {
        *ret = to;
    } else {
        return hand_on(w, in, to, place);
    }
    return OK;
}

MUST_USE enum err groups_chosen(struct worker *w, const struct wmsg *in, struct match *match)
{
    size_t n = 0;
    for (size_t i = 0; i < match->n_hits; i++) {
        struct match_hit hit = match->hits[i];
        struct group *group = group_hit(&hit);
        struct member *to = NULL;
        if (group != NULL) {
            TRY(member_here(w, in, group, &to));
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
        has = has || (ids[i] == sub->id && (sub->member == NULL || n_ids == 1));
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
        if (sub->member == NULL) {
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
        struct member *m = LIST_ENTRY(n, struct sub, in_subscriber)->member;
        bool is_connected = s->conn != 0, is_durable = s->subscriber.is_durable;
        if (m != NULL &&
            (m->facts.is_connected != is_connected || m->facts.is_durable != is_durable)) {
            m->facts.is_connected = is_connected;
            m->facts.is_durable = is_durable;
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
