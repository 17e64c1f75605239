/* Who has which role, and what the others of it do. */
#include "service/detect/detect_private.h"

struct role *role_of(struct detect *d, const struct identity *i)
{
    return &d->role[i->habits.role];
}

/* Its row, a free one, or the one for the rest. */
static uint8_t row_of(const struct detect *d, uint64_t hash)
{
    uint8_t row = ROLES - 1;
    for (uint8_t k = ROLES - 1; k > 0; k--) {
        const struct role *r = &d->role[k - 1];
        if (r->first_s != 0 && r->hash == hash) {
            return k - 1;
        }
        row = r->first_s == 0 ? k - 1 : row;
    }
    return row;
}

void role_join(struct detect *d, struct identity *i, struct slice role, uint32_t now_s)
{
    struct habits *h = &i->habits;
    uint64_t hash = detect_hash(d, role);
    if (h->is_known && (h->role == ROLES - 1 || d->role[h->role].hash == hash)) {
        return;
    }
    role_leave(d, i); /* another role is another life */
    *h = (struct habits){.is_known = true, .role = row_of(d, hash), .first_s = now_s};
    struct role *r = role_of(d, i);
    if (r->first_s == 0) {
        *r = (struct role){.hash = hash, .first_s = now_s > 0 ? now_s : 1};
    }
    r->n_members++;
}

void role_leave(struct detect *d, struct identity *i)
{
    struct habits *h = &i->habits;
    struct role *r = role_of(d, i);
    if (!h->is_known) {
        return;
    }
    r->n_members--;
    r->n_silent -= h->silent_s != 0 ? 1 : 0;
    r->n_fast -= h->fast_s != 0 ? 1 : 0;
    r->n_odd -= h->odd_s != 0 ? 1 : 0;
    h->is_known = false;
}

bool role_shares(const struct detect *d, const struct role *r, uint32_t n)
{
    return n >= d->t.peers_least &&
           (uint64_t)n * 100 >= (uint64_t)r->n_members * d->t.peers_percent;
}

bool is_learned(const struct detect *d, const struct habits *h, uint32_t now_s)
{
    return now_s - h->first_s >= d->t.learn_s;
}

uint64_t role_hours(const struct role *r, uint32_t now_s)
{
    enum { HOUR_S = 3600 };
    return (uint64_t)r->n_members * (now_s - r->first_s) / HOUR_S;
}
