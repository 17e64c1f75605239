/*
 * scrape - a question for the numbers of the server, on its way from the door where it came to the
 * service thread, which alone has all of them, and back. The door has asked the policy before.
 */
#ifndef SERVICE_BROKER_SCRAPE_H
#define SERVICE_BROKER_SCRAPE_H

#include "base/buf.h"
#include "base/list.h"

enum {
    SCRAPES_WAITING = 16 /* of one worker, for the service thread; more are told to come again */
};

enum scrape_want {
    SCRAPE_NOTHING,
    SCRAPE_NUMBERS, /* the text of `metrics` */
    SCRAPE_ALIVE,   /* whoever answers is */
    SCRAPE_READY    /* and serves everybody? */
};

struct scrape {
    struct list_node node; /* of who has it */
    unsigned worker, door; /* entrance.index of where it came */
    uint64_t client;       /* the door's name for who asks */
    enum scrape_want want;

    /* ---- the answer ---- */
    unsigned status; /* of HTTP */
    struct buf text;
};

/* scrape_new - ERR_NOMEM. */
MUST_USE enum err scrape_new(struct scrape **ret);
struct scrape *scrape_free(struct scrape *s);
static inline void scrape_autofree(struct scrape **s)
{
    *s = scrape_free(*s);
}

struct worker;
/* worker_next_scraped - gives the next answer for this door; NULL: none. */
struct scrape *worker_next_scraped(struct worker *w, unsigned door);
/* For the worker: an answer has come; all that nobody took go. */
void scraped_arrived(struct worker *w, struct scrape *s);
void scraped_clear(struct worker *w);

#endif
