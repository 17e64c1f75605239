#include "service/directory/expiry.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum expiry_state state_of(const struct expiry_item *item, bool is_aged, int64_t now_wall_ms)
{
    int64_t ends = item->ends_wall_ms;
    return ends <= now_wall_ms                                                 ? EXPIRY_OVER
           : item->waiting != NULL                                             ? EXPIRY_WAITING
           : is_aged                                                           ? EXPIRY_AGED
           : ends != CREDENTIAL_NEVER && ends - now_wall_ms <= item->window_ms ? EXPIRY_DUE
                                                                               : EXPIRY_FINE;
}

/* Of those that wait or do not, the one that ends last; NULL: it has none of this kind. */
static const struct credential *last_of_kind(const struct directory_version *v,
                                             const struct directory_entry *e, unsigned kind,
                                             bool waits)
{
    const struct credential *last = NULL;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (c->kind == (enum credential_kind)kind && credential_waits(c) == waits &&
            (last == NULL || directory_ends(v, c) >= directory_ends(v, last))) {
            last = c;
        }
    }
    return last;
}

static void add(const struct directory_version *v, struct expiry_list *l,
                const struct directory_entry *e, const struct expiry_item *found,
                int64_t now_wall_ms)
{
    struct expiry_item item = *found;
    const struct credential *c = item.credential;
    bool is_aged = secret_reported_at(directory_ages(v), c) <= now_wall_ms;
    item.entry = e;
    item.ends_wall_ms = directory_ends(v, c);
    item.is_renewed = c->created_wall_ms != e->created_wall_ms;
    if (item.ends_wall_ms != CREDENTIAL_NEVER) {
        item.window_ms = (item.ends_wall_ms - c->created_wall_ms) / 3;
    }
    item.silence_ms = atomic_load_explicit(&c->silence_ms, memory_order_relaxed);
    item.state = state_of(&item, is_aged, now_wall_ms);
    l->n_aged += is_aged ? 1 : 0;
    l->n_waiting += item.waiting != NULL ? 1 : 0;
    l->n_silent += expiry_is_silent(&item) ? 1 : 0;
    if (item.ends_wall_ms == CREDENTIAL_NEVER) {
        l->n_endless++;
    } else {
        l->n++;
        l->n_over += item.state == EXPIRY_OVER ? 1 : 0;
        l->n_due += item.state == EXPIRY_DUE ? 1 : 0;
        l->n_never_renewed += item.is_renewed ? 0 : 1;
    }
    if (item.ends_wall_ms != CREDENTIAL_NEVER || item.state != EXPIRY_FINE) {
        l->items[l->n_listed++] = item;
    }
}

bool expiry_is_silent(const struct expiry_item *item)
{
    return item->credential->kind == CREDENTIAL_X509 && item->ends_wall_ms != CREDENTIAL_NEVER &&
           item->silence_ms > item->window_ms;
}

static int by_end(const void *a, const void *b)
{
    const struct expiry_item *x = a, *y = b;
    int64_t one = x->ends_wall_ms, other = y->ends_wall_ms;
    return one != other ? (one < other ? -1 : 1)
                        : strcmp(x->entry->principal->name, y->entry->principal->name);
}

enum err expiry_collect(const struct directory_version *v, int64_t now_wall_ms,
                        struct expiry_list *ret)
{
    struct expiry_list l = {
        .items = mem_array(directory_version_count(v) * CREDENTIAL_KINDS + 1, sizeof(*l.items))};
    size_t at = 0;
    const struct directory_entry *e;
    if (l.items == NULL) {
        return ERR_NOMEM;
    }
    while ((e = directory_next(v, &at)) != NULL) {
        for (unsigned kind = 0; kind < CREDENTIAL_KINDS; kind++) {
            struct expiry_item found = {.credential = last_of_kind(v, e, kind, false),
                                        .waiting = last_of_kind(v, e, kind, true)};
            if (found.credential == NULL) {
                found.credential = found.waiting;
            }
            if (e->principal->status == PRINCIPAL_ACTIVE && found.credential != NULL) {
                add(v, &l, e, &found, now_wall_ms);
            }
        }
    }
    qsort(l.items, l.n_listed, sizeof(l.items[0]), by_end);
    *ret = l;
    return OK;
}

void expiry_done(struct expiry_list *l)
{
    l->items = mem_free(l->items);
    l->n = l->n_listed = 0;
}

static int64_t day_of(const struct expiry_item *item)
{
    return item->ends_wall_ms / EXPIRY_DAY_MS;
}

bool expiry_next_day(const struct expiry_list *l, size_t *at, struct expiry_day *ret)
{
    if (*at >= l->n) {
        return false;
    }
    *ret = (struct expiry_day){.day = day_of(&l->items[*at])};
    for (; *at < l->n && day_of(&l->items[*at]) == ret->day; (*at)++) {
        ret->n++;
    }
    ret->is_cliff =
        ret->n >= EXPIRY_CLIFF_LEAST && ret->n * 100 >= l->n * (size_t)EXPIRY_CLIFF_PERCENT;
    return true;
}

int64_t expiry_week_of(int64_t day)
{
    return day - (day + 3) % EXPIRY_WEEK_DAYS; /* day 0 was a Thursday */
}

void expiry_day_text(int64_t day, char dst[CLOCK_ISO8601_BYTES])
{
    clock_iso8601(day * EXPIRY_DAY_MS, dst);
    dst[strcspn(dst, "T")] = '\0';
}

const char *expiry_state_name(enum expiry_state s)
{
    switch (s) {
    case EXPIRY_FINE:
        return "fine";
    case EXPIRY_DUE:
        return "due";
    case EXPIRY_AGED:
        return "aged";
    case EXPIRY_WAITING:
        return "unconfirmed";
    case EXPIRY_OVER:
        return "expired";
    }
    return "unknown";
}
