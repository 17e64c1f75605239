/*
 * browse - the service thread looks through the retained messages of one worker, page by page, and
 * has pages of them cleared, or put back.
 *
 * Whoever has the browse may touch it, nobody else: browse_begin makes it, broker_browse gives it
 * to the worker, and while browse_is_ready it is the service's again. Memory of one page, whatever
 * the index holds; the worker works on it a bounded while in each of its turns.
 */
#ifndef SERVICE_BROKER_BROWSE_H
#define SERVICE_BROKER_BROWSE_H

#include <stdatomic.h>

#include "base/list.h"
#include "core/retained.h"

enum {
    BROWSE_PAGE = 1024,                 /* messages */
    BROWSE_PAGE_BYTES = 4 * 1024 * 1024 /* and no more after this much */
};

enum browse_job {
    BROWSE_LOOK,   /* the next page */
    BROWSE_CLEAR,  /* the page is cleared, as far as its topics hold these very messages, on record;
                      then the next page */
    BROWSE_RESTORE /* the page's messages become retained again where nothing is; no next page */
};

struct browse {
    /* the asker's */
    enum browse_job job;
    bool is_over; /* nothing more is wanted: the worker forgets it */
    struct slice filter;
    /* the answer */
    struct msg *page[BROWSE_PAGE]; /* owned references; NULL: given away */
    size_t n;
    size_t n_done; /* of the page before: cleared, or put back */
    enum err err;  /* the journal's, or ERR_NOMEM: the rest of that page was not done */
    bool is_end;   /* nothing is behind this page */
    /* the worker's */
    struct list_node node;
    struct retained_cursor cursor;
    size_t at;
    uint64_t lsn; /* the answer waits for it */
    uint64_t page_bytes;
    bool is_working;
    atomic_uint refs;
    atomic_bool is_ready;
    uint8_t bytes[];
};

/* browse_begin - to look through what filter (checked; copied) matches. ERR_NOMEM. */
MUST_USE enum err browse_begin(struct slice filter, struct browse **ret);
struct browse *browse_ref(struct browse *b);
struct browse *browse_unref(struct browse *b); /* NULL is fine; returns NULL */
/* browse_clear - the page is empty; while the service has it. */
void browse_clear(struct browse *b);
/* browse_is_ready - the service has it. */
bool browse_is_ready(const struct browse *b);

#endif
