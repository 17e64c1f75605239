/* Requests whose answer waits: for a commit, or for the barrier of a watch. */
#include "base/mem.h"
#include "base/poison.h"
#include "service/gateway/door_private.h"

/* The last that was freed is the next one, so that a PUT asks the heap for its message alone. */
static struct ticket *take_ticket(struct coap_door *d)
{
    struct ticket *t = d->spare_ticket;
    if (t == NULL) {
        return mem_zalloc(sizeof(*t));
    }
    d->spare_ticket = NULL;
    unpoison(t, sizeof(*t));
    *t = (struct ticket){.cookie = 0};
    return t;
}

static void give_ticket(struct coap_door *d, struct ticket *t)
{
    if (d->spare_ticket != NULL) {
        (void)mem_free(t);
        return;
    }
    poison(t, sizeof(*t));
    d->spare_ticket = t;
}

void tickets_done(struct coap_door *d)
{
    if (d->spare_ticket != NULL) {
        unpoison(d->spare_ticket, sizeof(*d->spare_ticket));
        d->spare_ticket = mem_free(d->spare_ticket);
    }
}

enum err ticket_new(const struct asker *asker, uint64_t cookie, struct watch *watch,
                    struct ticket **ret)
{
    struct association *a = asker->a;
    if (a->n_tickets >= TICKETS_MAX) {
        return ERR_LIMIT;
    }
    struct ticket *t = take_ticket(a->door);
    if (t == NULL) {
        return ERR_NOMEM;
    }
    t->asker = *asker;
    t->cookie = cookie;
    t->watch = watch;
    if (cookie != 0 && map_add(&a->door->tickets, t) != OK) {
        give_ticket(a->door, t);
        return ERR_NOMEM;
    }
    thin_append(&a->tickets, &t->node);
    a->n_tickets++;
    *ret = t;
    return OK;
}

struct ticket *ticket_free(struct ticket *t)
{
    if (t != NULL) {
        struct association *a = t->asker.a;
        thin_remove(&a->tickets, &t->node);
        a->n_tickets--;
        if (t->cookie != 0) {
            (void)map_remove(&a->door->tickets, slice_of(&t->cookie, sizeof(t->cookie)));
        }
        give_ticket(a->door, t);
    }
    return NULL;
}

void ticket_committed(struct ticket *t)
{
    (void)answer_text(&t->asker, t->code, NULL);
    ticket_free(t);
}
