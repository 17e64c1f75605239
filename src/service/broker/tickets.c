/*
 * Tickets for those who have logged in, when there is time.
 *
 * Sealing one is a fifth of a full handshake, so it is no part of one (TLS 1.3): one in a turn,
 * none while handshakes wait, and within their share of time. Again after half a ticket's life, so
 * that a connection of weeks has a good one when the server restarts.
 */
#include "service/broker/driver_private.h"

enum { TICKET_BLOCKED_MS = 10 * 1000 /* its client does not read: later */ };

void tickets_init(struct driver *d)
{
    list_init(&d->tickets_due);
    list_init(&d->tickets_later);
}

void tickets_join(struct link *l)
{
    struct driver *d = l->driver;
    if (!list_is_linked(&l->waiting) && stream_ticket_ms(link_stream(l)) != 0) {
        list_append(&d->tickets_due, &l->waiting);
    }
}

void tickets_leave(struct link *l)
{
    list_unlink(&l->waiting);
}

static struct link *first_of(const struct list *list)
{
    struct list_node *n = list_first(list);
    return n != NULL ? LIST_ENTRY(n, struct link, waiting) : NULL;
}

static void give(struct driver *d, struct link *l)
{
    enum err err = stream_give_ticket(link_stream(l), d->io);
    tickets_leave(l);
    if (err != OK && err != ERR_AGAIN) {
        link_failed(l, err);
        return;
    }
    l->waiting_to_ms =
        d->now_ms + (err == OK ? stream_ticket_ms(link_stream(l)) : TICKET_BLOCKED_MS);
    list_append(&d->tickets_later, &l->waiting);
    count_add(&d->counters->tickets, err == OK ? 1 : 0);
}

void tickets_turn(struct driver *d)
{
    struct link *l = first_of(&d->tickets_later);
    /* Those who were blocked stand behind some who come later: that does no harm. */
    if (l != NULL && l->waiting_to_ms <= d->now_ms) {
        tickets_leave(l);
        list_append(&d->tickets_due, &l->waiting);
    }
    l = first_of(&d->tickets_due);
    if (l != NULL && d->admit.line.n == 0 && admit_may(d)) {
        uint64_t start_us = d->setup.clock.mono_us(d->setup.clock.ctx);
        give(d, l);
        admit_spend(d, d->setup.clock.mono_us(d->setup.clock.ctx) - start_us);
    }
}

uint64_t tickets_deadline(const struct driver *d)
{
    const struct link *l = first_of(&d->tickets_later);
    if (!list_is_empty(&d->tickets_due) && d->admit.line.n == 0) {
        return admit_again_ms(d);
    }
    return l != NULL ? l->waiting_to_ms : UINT64_MAX;
}
