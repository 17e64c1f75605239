/* What the log kept, read back: bodies, then session by session, then what is still open. */
#include "base/mem.h"
#include "core/flow.h"
#include "service/broker/aside_private.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/group_private.h"
#include "service/broker/login_private.h"
#include "service/broker/reading.h"
#include "service/broker/restore_private.h"
#include "service/broker/sessions_private.h"
#include "service/broker/will_private.h"

/* ---- bodies ---- */

static struct slice body_key(const void *value)
{
    const struct restore_body *b = value;
    return slice_of(&b->id, sizeof(b->id));
}

static uint64_t mono_of(const struct restore *r, int64_t expires_wall_ms)
{
    if (expires_wall_ms == INT64_MAX) {
        return UINT64_MAX;
    }
    return r->now_ms +
           (expires_wall_ms > r->wall_ms ? (uint64_t)(expires_wall_ms - r->wall_ms) : 0);
}

/* Its epoch is older than every realm's, so both ends are asked again before it is heard. */
static enum err message_new(const struct journal_message *m, uint64_t expires_at_ms, bool is_husk,
                            struct msg **ret)
{
    struct msg *copy = NULL;
    struct slice none = {0};
    TRY(msg_new(m->topic, is_husk ? none : m->props, is_husk ? none : m->payload, &copy));
    copy->n_away = is_husk ? (uint32_t)(m->props.n + m->payload.n) : 0;
    copy->qos = m->qos;
    copy->retain = m->retain;
    copy->is_utf8 = m->is_utf8;
    copy->for_group = m->for_group;
    copy->expires_at_ms = expires_at_ms;
    copy->publisher = m->publisher;
    copy->number = m->number;
    /* Smaller numbers are of a former version, in which all were of one segment. */
    copy->segment = m->segment >= FLOW_SEGMENT_LEAST
                        ? m->segment
                        : flow_segment(slice_text(PRINCIPAL_SEGMENT_DEFAULT));
    copy->content_format = m->content_format;
    *ret = copy;
    return OK;
}

/* Where what a principal has retained is counted: at its home, and at every worker that may be. */
static enum err count_retained(struct restore *r, const struct msg *m)
{
    const struct realm *realm = r->workers[0]->realm;
    const struct directory_entry *e = directory_find_id(realm->directory, m->publisher);
    if (e == NULL) {
        return OK;
    }
    bool is_many = role_is_many(r->workers[0], e->principal);
    unsigned home = home_of(r->workers[0], e->principal, (struct slice){0}, false);
    for (unsigned i = 0; i < r->n; i++) {
        if (is_many || i == home) {
            struct account *a = NULL;
            TRY(account_of(r->workers[i], e->principal, &a));
            a->n_retained++;
        }
    }
    return OK;
}

static enum err put_retained(struct restore *r, const struct msg *m)
{
    struct retained_change change = {0};
    if (m->payload.n == 0 || m->expires_at_ms <= r->now_ms) {
        return OK; /* nobody older is on its way any more */
    }
    for (unsigned i = 0; i < r->n; i++) {
        struct worker *w = r->workers[i];
        TRY(retained_put(w->retained, m, &change));
        count_set(&counts(w)->retained_messages, retained_count(w->retained));
        count_set(&counts(w)->retained_bytes, retained_bytes(w->retained));
    }
    if (change.is_applied) {
        r->report->retained++;
        return count_retained(r, m);
    }
    return OK;
}

static enum err keep_body(struct restore *r, const struct journal_body *b, const struct msg *m)
{
    struct restore_body *kept = mem_zalloc(sizeof(*kept));
    if (kept == NULL) {
        return ERR_NOMEM;
    }
    kept->id = b->id;
    kept->owed = b->owed;
    kept->msg = m;
    enum err err = map_add(&r->bodies, kept);
    if (err != OK) {
        mem_free(kept);
        return err;
    }
    msg_ref(m);
    return OK;
}

/* More may wait than memory takes: it stays where it is, as it would have gone there. */
static bool stays_on_disk(const struct restore *r, const struct journal_message *m)
{
    const struct ceiling *c = r->workers[0]->setup.ceiling;
    return r->log != NULL && spill_takes(r->workers[0], m->props.n + m->payload.n) &&
           pressure_spills(false, ceiling_used(c), c->bytes);
}

static enum err on_body(void *ctx, const struct journal_body *b, bool is_retained)
{
    struct restore *r = ctx;
    struct msg *m = NULL;
    bool is_husk = !is_retained && stays_on_disk(r, &b->m);
    r->report->on_disk += is_husk ? 1 : 0;
    TRY(message_new(&b->m, mono_of(r, b->m.expires_wall_ms), is_husk, &m));
    m->body_id = b->id;
    enum err err = keep_body(r, b, m);
    if (err == OK && is_retained) {
        err = put_retained(r, m);
    }
    msg_unref(m);
    return err;
}

struct restore_body *restore_body_of(const struct restore *r, uint64_t id)
{
    return map_find(&r->bodies, slice_of(&id, sizeof(id)));
}

MUST_USE enum err restore_body_whole(const struct restore *r, struct restore_body *b)
{
    struct reading reading = {.husk = b->msg};
    if (msg_is_husk(b->msg)) {
        reading_do(&reading, r->log);
        TRY(reading.result);
        msg_unref(b->msg);
        b->msg = reading.whole;
    }
    return OK;
}

/* ---- sessions ---- */

static enum err will_end(struct restore *r, uint64_t session)
{
    r->report->ended++;
    return buf_append(&r->ended, slice_of(&session, sizeof(session)), SIZE_MAX);
}

static enum err note(struct restore *r, struct worker *home, struct session *s, uint64_t seq)
{
    struct restore_note n = {.home = home, .s = s, .seq = seq};
    return buf_append(&r->notes, slice_of(&n, sizeof(n)), SIZE_MAX);
}

/* It slept while nobody was there, too. */
static uint64_t slept_ms(const struct restore *r, const struct journal_session *s)
{
    bool is_now = s->asleep_wall_ms == INT64_MAX || s->asleep_wall_ms >= r->wall_ms;
    return is_now ? 0 : (uint64_t)r->wall_ms - (uint64_t)s->asleep_wall_ms;
}

static uint64_t left_ms(uint64_t whole_ms, uint64_t passed_ms)
{
    return passed_ms < whole_ms ? whole_ms - passed_ms : 0;
}

static void uncount(struct restore *r, const struct session *s)
{
    if (s->expiry_s == 0) { /* it was over, and is said to have ended twice now */
        r->report->ended--;
        return;
    }
    r->report->sessions--;
    r->report->deliveries -= session_count(s);
    list_for_each (n, &s->subscriber.subs) {
        (void)n;
        r->report->subscriptions--;
    }
}

/* Of two of one name the older has had its end, and the record of that was lost for want of memory:
 * its will was published, and what was for others of its groups went to them. */
static enum err end_other(struct restore *r, struct worker *w, struct session *other)
{
    struct restore_note *notes = (struct restore_note *)(void *)r->notes.p;
    size_t n = r->notes.n / sizeof(*notes), kept = 0;
    TRY(will_end(r, other->id));
    for (size_t i = 0; i < n; i++) {
        if (notes[i].s != other) {
            notes[kept++] = notes[i];
        }
    }
    r->notes.n = kept * sizeof(*notes);
    uncount(r, other);
    session_forget(w, other);
    return OK;
}

static enum err wake_session(struct restore *r, const struct journal_session *s,
                             const struct principal *p)
{
    struct worker *any = r->workers[0];
    struct worker *w = r->workers[home_of(any, p, s->client_id, role_is_many(any, p))];
    struct account *a = NULL;
    struct session *back = NULL;
    TRY(account_of(w, p, &a));
    uint32_t most_s = grants_limits(&a->grants)->session_expiry_s;
    uint32_t expiry_s = s->expiry_s < most_s ? s->expiry_s : most_s;
    r->slept_ms = slept_ms(r, s);
    struct session *other = session_set_find(&a->sessions, s->client_id);
    if (other != NULL && other->id > s->id) {
        return will_end(r, s->id);
    }
    if (other != NULL) {
        TRY(end_other(r, w, other));
    }
    TRY(session_add(w, a, s->id, s->client_id, true, &back));
    back->is_on_record = true;
    r->home = w;
    r->session = back;
    r->next_seq = s->next_seq;
    r->is_over = r->slept_ms >= (uint64_t)expiry_s * 1000;
    if (r->is_over) { /* restore_finish ends it */
        r->report->ended++;
        return OK;
    }
    back->expiry_s = expiry_s;
    back->rest->ends_at_ms = r->now_ms + left_ms((uint64_t)expiry_s * 1000, r->slept_ms);
    session_arm(w, back);
    if (s->asleep_wall_ms == INT64_MAX) {
        TRY(note(r, w, back, 0));
    }
    r->report->sessions++;
    return OK;
}

/* Its deliveries come between its record and this, with lower counts. */
void restore_leave_session(struct restore *r)
{
    if (r->session != NULL) {
        session_restore_next(r->session, r->next_seq);
    }
    r->home = NULL;
    r->session = NULL;
    r->is_over = false;
}

static enum err on_session(void *ctx, const struct journal_session *s)
{
    struct restore *r = ctx;
    const struct directory_entry *e =
        directory_find_id(r->workers[0]->realm->directory, s->principal);
    restore_leave_session(r);
    return e == NULL ? will_end(r, s->id) : wake_session(r, s, e->principal);
}

static enum err on_sub(void *ctx, const struct journal_sub *sub)
{
    struct restore *r = ctx;
    struct interest_change change;
    struct sub *back = NULL;
    if (r->session == NULL) {
        return OK;
    }
    struct slice group, filter;
    enum err err = OK;
    if (topic_share_split(sub->filter, &group, &filter)) {
        err = group_join(r->home, r->session, sub->filter, &back); /* tells the other workers */
    } else {
        err = filters_add(r->home->filters, filter, &r->session->subscriber, &back, &change);
    }
    if (err == ERR_EXISTS) {
        return OK;
    }
    TRY(err);
    back->qos = sub->qos;
    back->no_local = sub->no_local;
    back->retain_as_published = sub->retain_as_published;
    back->retain_handling = sub->retain_handling;
    back->id = sub->id;
    r->report->subscriptions += r->is_over ? 0 : 1;
    count_set(&counts(r->home)->subscriptions, filters_sub_count(r->home->filters));
    return OK;
}

static enum err on_will(void *ctx, const struct journal_will *will)
{
    struct restore *r = ctx;
    struct msg *m = NULL;
    struct session *s = r->session;
    if (s == NULL) {
        return OK;
    }
    bool is_for_ever = will->m.expires_wall_ms == INT64_MAX;
    TRY(message_new(&will->m, is_for_ever ? UINT64_MAX : (uint64_t)will->m.expires_wall_ms, false,
                    &m));
    msg_unref(s->rest->will);
    s->rest->will = m;
    s->rest->is_will_on_record = true;
    s->rest->will_delay_s = will->delay_s;
    if (!r->is_over) {
        s->rest->will_at_ms = r->now_ms + left_ms(will_delay_ms(s), r->slept_ms);
        session_arm(r->home, s);
    }
    return OK;
}

static enum err on_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    struct restore *r = ctx;
    enum inbound ignored;
    return r->session != NULL && r->session->id == session
               ? session_inbound_add(r->session, packet_id, UINT16_MAX, &ignored)
               : OK;
}

static enum err lose_delivery(struct restore *r, uint64_t seq)
{
    session_restore_next(r->session, seq + 1);
    r->report->lost++;
    return note(r, r->home, r->session, seq);
}

static bool is_lost(enum err err)
{
    return err == ERR_NOT_FOUND || err == ERR_CRYPTO || err == ERR_MALFORMED;
}

static enum err on_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                            uint64_t body_id)
{
    struct restore *r = ctx;
    struct restore_body *b = body_id != 0 ? restore_body_of(r, body_id) : NULL;
    uint32_t group = 0;
    if (r->session == NULL || d->seq < r->session->next_seq || d->qos == 0) {
        return OK;
    }
    if (b == NULL && !d->is_received) {
        return lose_delivery(r, d->seq);
    }
    if (b != NULL) {
        group = group_of_restored(r->session, b->msg->topic, ids, d->n_ids);
    }
    if (group != 0 && !d->is_received) { /* another member may have to have it at once */
        enum err err = restore_body_whole(r, b);
        if (is_lost(err)) {
            return lose_delivery(r, d->seq);
        }
        TRY(err);
    }
    r->report->deliveries += r->is_over ? 0 : 1;
    TRY(session_restore(r->session, d->is_received ? NULL : b->msg, d->seq, d->qos, d->retain, ids,
                        d->n_ids));
    session_restore_tries(r->session, d->n_tries);
    session_set_group(r->session, group);
    return OK;
}

/* ---- the rest ---- */

static enum err on_unanswered(void *ctx, uint64_t body_id, const uint64_t *sessions, size_t n)
{
    struct restore *r = ctx;
    uint64_t head[2] = {body_id, n};
    TRY(buf_append(&r->missed, slice_of(head, sizeof(head)), SIZE_MAX));
    return buf_append(&r->missed, slice_of(sessions, n * sizeof(*sessions)), SIZE_MAX);
}

/* Where its session is, or would be. */
static struct worker *home_of_aside(const struct restore *r, const struct journal_set_aside *s,
                                    const struct principal *p, struct slice *ret_client_id)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct account *a =
            map_find(&r->workers[i]->accounts, slice_of(&s->principal, sizeof(s->principal)));
        size_t at = 0;
        const struct session *one;
        while (a != NULL && (one = session_set_next(&a->sessions, &at)) != NULL) {
            if (one->id == s->session) {
                *ret_client_id = session_client_id(one);
                return r->workers[i];
            }
        }
    }
    return r->workers[home_of(r->workers[0], p, (struct slice){0}, false)];
}

static enum err on_set_aside(void *ctx, const struct journal_set_aside *s)
{
    struct restore *r = ctx;
    const struct directory_entry *e =
        directory_find_id(r->workers[0]->realm->directory, s->principal);
    struct slice client_id = {0};
    struct msg *m = NULL;
    if (e == NULL) {
        return buf_append(&r->ended_asides, slice_of(&s->id, sizeof(s->id)), SIZE_MAX);
    }
    TRY(message_new(&s->m, mono_of(r, s->m.expires_wall_ms), false, &m));
    struct worker *home = home_of_aside(r, s, e->principal, &client_id);
    enum err err = aside_restore(home, s, client_id, m);
    msg_unref(m);
    r->report->set_aside += err == OK ? 1 : 0;
    return err;
}

void restore_init(struct restore *r, struct worker *const *workers, unsigned n, uint64_t now_ms,
                  int64_t wall_ms, struct restore_report *report)
{
    *report = (struct restore_report){0};
    *r = (struct restore){
        .workers = workers, .n = n, .now_ms = now_ms, .wall_ms = wall_ms, .report = report};
    map_init(&r->bodies, &workers[0]->setup.key, body_key);
    for (unsigned i = 0; i < n; i++) {
        worker_set_time(workers[i], now_ms, wall_ms);
    }
}

void restore_done(struct restore *r)
{
    size_t at = 0;
    struct restore_body *b;
    while ((b = map_next(&r->bodies, &at)) != NULL) {
        msg_unref(b->msg);
        mem_free(b);
    }
    map_done(&r->bodies);
    buf_done(&r->ended);
    buf_done(&r->ended_asides);
    buf_done(&r->notes);
    buf_done(&r->missed);
}

struct log_sink restore_sink(struct restore *r)
{
    return (struct log_sink){.ctx = r,
                             .session = on_session,
                             .sub = on_sub,
                             .will = on_will,
                             .inbound = on_inbound,
                             .delivery = on_delivery,
                             .body = on_body,
                             .unanswered = on_unanswered,
                             .set_aside = on_set_aside};
}
