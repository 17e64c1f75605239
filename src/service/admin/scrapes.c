/* Who reads numbers over a metrics listener: answered here, between all else that this thread does.
 * Whoever asks often gets the same page for a while, so it costs no more than asking once. */
#include "service/admin/admin_private.h"

enum { SCRAPES_A_TICK = 32, PAGE_KEEP_MS = 1000, TEXT_MAX = 4096 };

void admin_scrapes_begin(struct admin *a)
{
    list_init(&a->scraped);
}

void admin_scrapes_end(struct admin *a)
{
    struct list_node *n;
    while (a->scraped.head.next != NULL && (n = list_first(&a->scraped)) != NULL) {
        list_unlink(n);
        scrape_free(LIST_ENTRY(n, struct scrape, node));
    }
    buf_done(&a->page);
}

static enum err numbers(struct admin *a, struct scrape *s, uint64_t now_ms)
{
    if (a->page.n == 0 || now_ms >= a->page_until_ms) {
        const struct counters *sets[BROKER_WORKERS_MAX];
        struct log_status store;
        struct respond_counts responses;
        struct metrics_sources sources = admin_sources(a, sets, &store, &responses);
        buf_done(&a->page);
        enum err err = metrics_text(a->setup.metrics, &sources, &a->page);
        if (err != OK) {
            buf_done(&a->page); /* never half a page */
            return err;
        }
        a->page_until_ms = now_ms + PAGE_KEEP_MS;
    }
    return buf_append(&s->text, buf_slice(&a->page), METRICS_TEXT_MAX);
}

/* A line for each reason; too little memory for one is a reason, too. */
static void reason(struct scrape *s, const char *text)
{
    s->status = 503;
    if (buf_append(&s->text, slice_text(text), TEXT_MAX) == OK) {
        (void)!buf_append(&s->text, slice_text("\n"), TEXT_MAX);
    }
}

static enum err ready(struct admin *a, struct scrape *s)
{
    struct log_status store;
    log_status(a->setup.log, &store);
    if (store.state == LOG_FULL) {
        reason(s, "not ready: the disk is full, what needs room is refused");
    } else if (store.state == LOG_FAILING) {
        reason(s, "not ready: the disk fails, nothing is acknowledged that should survive");
    }
    if (a->memory_step == PRESSURE_FULL) {
        reason(s, "not ready: memory is at memory_bytes, nobody new is let in");
    }
    if (a->is_realm_due) {
        reason(s, "not ready: a change of policy or devices has not reached every worker");
    }
    if (a->setup.pki != NULL && pki_server_not_after(a->setup.pki) <= admin_wall_ms(a)) {
        reason(s, "not ready: the server's certificate has ended");
    }
    return s->status == 200 ? buf_append(&s->text, slice_text("ready\n"), TEXT_MAX) : OK;
}

static void answer(struct admin *a, struct scrape *s, uint64_t now_ms)
{
    enum err err = OK;
    s->status = 200;
    switch (s->want) {
    case SCRAPE_NOTHING:
        break;
    case SCRAPE_NUMBERS:
        err = numbers(a, s, now_ms);
        break;
    case SCRAPE_ALIVE:
        err = buf_append(&s->text, slice_text("alive\n"), TEXT_MAX);
        break;
    case SCRAPE_READY:
        err = ready(a, s);
        break;
    }
    if (err != OK) {
        s->status = 503;
        buf_done(&s->text);
    }
}

bool admin_scrapes(struct admin *a, uint64_t now_ms)
{
    struct scrape *s;
    for (unsigned n = 0; n < SCRAPES_A_TICK && (s = broker_next_scrape(a->setup.broker)) != NULL;
         n++) {
        answer(a, s, now_ms);
        list_append(&a->scraped, &s->node);
    }
    list_for_each_safe (n, next, &a->scraped) {
        list_unlink(n);
        if (broker_scraped(a->setup.broker, LIST_ENTRY(n, struct scrape, node)) != OK) {
            list_append(&a->scraped, n); /* its worker's ring is full: with the next tick */
            break;
        }
    }
    return !list_is_empty(&a->scraped);
}
