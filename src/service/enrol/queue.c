/* Requests that wait for a person. */
#include "base/mem.h"
#include "service/enrol/enrol_private.h"

static bool is_used(const struct enrol_waiting *w, uint64_t now_ms)
{
    return w->id != 0 && now_ms - w->last_ms < ENROL_QUEUE_MS;
}

const struct enrol_waiting *enrol_next(const struct enrol *d, size_t *at)
{
    while (*at < ENROL_QUEUE_MAX) {
        const struct enrol_waiting *w = &d->waiting[(*at)++];
        if (w->id != 0) {
            return w;
        }
    }
    return NULL;
}

static struct enrol_waiting *find_id(struct enrol *d, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < ENROL_QUEUE_MAX; i++) {
        if (d->waiting[i].id == id) {
            return &d->waiting[i];
        }
    }
    return NULL;
}

/* The row of this very request, else a free one; NULL: there is none, or its network has enough. */
static struct enrol_waiting *row_of(struct enrol_case *c)
{
    struct enrol *d = c->d;
    struct net_prefix prefix = net_peer_prefix(&c->e->peer);
    struct enrol_waiting *free_row = NULL;
    size_t n_prefix = 0;
    for (size_t i = 0; i < ENROL_QUEUE_MAX; i++) {
        struct enrol_waiting *w = &d->waiting[i];
        if (!is_used(w, c->now_ms)) {
            w->id = 0;
            free_row = free_row == NULL ? w : free_row;
            continue;
        }
        if (strcmp(w->name, c->name) == 0 &&
            slice_equal(digest_slice(&w->spki), digest_slice(&c->spki))) {
            return w;
        }
        struct net_prefix other = net_peer_prefix(&w->peer);
        n_prefix += slice_equal(slice_of(&prefix, sizeof prefix), slice_of(&other, sizeof other));
    }
    return n_prefix < ENROL_QUEUE_PREFIX_MAX ? free_row : NULL;
}

static void tell_new(struct enrol_case *c, const struct enrol_waiting *w)
{
    char peer[NET_PEER_TEXT_BYTES];
    struct event ev = event_make(EVENT_enrolment);
    net_peer_text(&c->e->peer, peer);
    ev.wall_ms = c->now_wall_ms;
    ev.protocol = c->e->protocol;
    EVENT_TEXT(&ev, peer, slice_text(peer));
    EVENT_TEXT(&ev, listener, slice_text(c->e->listener));
    EVENT_TEXT(&ev, target, slice_text(w->name));
    event_reason(&ev,
                 "a device without proof asks for a certificate in this name. If it is yours: "
                 "`sallyport enrol approve %llu --role ROLE`, else `enrol reject %llu`",
                 (unsigned long long)w->id, (unsigned long long)w->id);
    c->d->setup.event(c->d->setup.ctx, &ev);
}

void enrol_queue(struct enrol_case *c)
{
    struct enrol_waiting *w = row_of(c);
    if (w == NULL) {
        enrol_answer(c, ENROLMENT_BUSY,
                     "too many devices wait for approval: come again later, or use a claim token "
                     "(`sallyport enrol token` on the server)");
        c->e->retry_after_s = 60;
        return;
    }
    if (w->id == 0) {
        *w = (struct enrol_waiting){.id = ++c->d->next_id,
                                    .spki = c->spki,
                                    .peer = c->e->peer,
                                    .first_wall_ms = c->now_wall_ms};
        (void)slice_to_text(slice_text(c->name), w->name, sizeof w->name);
        tell_new(c, w);
    }
    w->peer = c->e->peer;
    w->last_ms = c->now_ms;
    w->last_wall_ms = c->now_wall_ms;
    if (w->state == ENROL_REJECTED) {
        enrol_answer(c, ENROLMENT_REFUSED,
                     "an operator refused the certificate for %s: ask them, or use a claim token",
                     c->name);
        return;
    }
    enrol_answer(c, ENROLMENT_WAITS,
                 "the certificate for %s waits for an operator's approval (request %llu); ask "
                 "again with the same request",
                 c->name, (unsigned long long)w->id);
    c->e->retry_after_s = ENROL_AGAIN_S;
}

static void version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

enum err enrol_approve(struct enrol *d, uint64_t id, struct slice role,
                       const struct principal_attr *attrs, size_t n_attrs, bool is_check,
                       int64_t now_wall_ms, struct why *why)
{
    struct enrol_waiting *w = find_id(d, id);
    if (w == NULL) {
        why_set(why, "no request %llu waits; see `sallyport enrol list`", (unsigned long long)id);
        return ERR_NOT_FOUND;
    }
    if (!d->setup.has_role(d->setup.ctx, role)) {
        struct slice shown = slice_head(role, 64);
        why_set(why, "the policy in force has no role %.*s; say --role with one that it has",
                SLICE_ARG(shown));
        return ERR_MALFORMED;
    }
    AUTO(version_release) const struct directory_version *v = directory_current(d->setup.directory);
    const struct directory_entry *entry = directory_find(v, slice_text(w->name));
    if (entry != NULL && (w->state != ENROL_APPROVED || entry->n_credentials > 0)) {
        why_set(why,
                "a device named %s is there already, and whoever asks now may be somebody else: "
                "`enrol reject %llu`; the right one gets `enrol token --name %s`",
                w->name, (unsigned long long)id, w->name);
        return ERR_EXISTS;
    }
    struct directory_order order = {
        .name = slice_text(w->name), .role = role, .attrs = attrs, .n_attrs = n_attrs};
    uint64_t ignored;
    if (is_check) {
        return OK;
    }
    if (entry == NULL) {
        TRY(directory_add(d->setup.directory, &order, now_wall_ms, &ignored, why));
    }
    w->state = ENROL_APPROVED;
    return OK;
}

enum err enrol_reject(struct enrol *d, uint64_t id)
{
    struct enrol_waiting *w = find_id(d, id);
    if (w == NULL || w->state == ENROL_APPROVED) {
        return ERR_NOT_FOUND;
    }
    w->state = ENROL_REJECTED;
    return OK;
}
