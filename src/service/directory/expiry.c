#include "service/directory/expiry.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum expiry_state state_of(const struct credential *c, int64_t now_wall_ms)
{
    int64_t life = c->expires_wall_ms - c->created_wall_ms;
    return c->expires_wall_ms <= now_wall_ms              ? EXPIRY_OVER
           : c->expires_wall_ms - now_wall_ms <= life / 3 ? EXPIRY_DUE
                                                          : EXPIRY_FINE;
}

/* NULL: it has none of this kind. */
static const struct credential *last_of_kind(const struct directory_entry *e, unsigned kind)
{
    const struct credential *last = NULL;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (c->kind == (enum credential_kind)kind &&
            (last == NULL || c->expires_wall_ms >= last->expires_wall_ms)) {
            last = c;
        }
    }
    return last;
}

static void add(struct expiry_list *l, const struct directory_entry *e, const struct credential *c,
                int64_t now_wall_ms)
{
    if (c->expires_wall_ms == CREDENTIAL_NEVER) {
        l->n_endless++;
        return;
    }
    struct expiry_item *item = &l->items[l->n++];
    *item = (struct expiry_item){.entry = e,
                                 .credential = c,
                                 .state = state_of(c, now_wall_ms),
                                 .is_renewed = c->created_wall_ms != e->created_wall_ms};
    l->n_over += item->state == EXPIRY_OVER ? 1 : 0;
    l->n_due += item->state == EXPIRY_DUE ? 1 : 0;
    l->n_never_renewed += item->is_renewed ? 0 : 1;
}

static int by_end(const void *a, const void *b)
{
    const struct expiry_item *x = a, *y = b;
    int64_t one = x->credential->expires_wall_ms, other = y->credential->expires_wall_ms;
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
            const struct credential *c =
                e->principal->status == PRINCIPAL_ACTIVE ? last_of_kind(e, kind) : NULL;
            if (c != NULL) {
                add(&l, e, c, now_wall_ms);
            }
        }
    }
    qsort(l.items, l.n, sizeof(l.items[0]), by_end);
    *ret = l;
    return OK;
}

void expiry_done(struct expiry_list *l)
{
    l->items = mem_free(l->items);
    l->n = 0;
}

static int64_t day_of(const struct expiry_item *item)
{
    return item->credential->expires_wall_ms / EXPIRY_DAY_MS;
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
    case EXPIRY_OVER:
        return "expired";
    }
    return "unknown";
}
