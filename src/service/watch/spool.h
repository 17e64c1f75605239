/*
 * spool - lines that wait for the scribe, in order of their numbers, which follow each other; each
 * lies as what it has that the line before has not (base/differ.h), for there may be many, and they
 * are much alike. Blocks of them come from the heap and go back when their last line is dropped.
 */
#ifndef SERVICE_WATCH_SPOOL_H
#define SERVICE_WATCH_SPOOL_H

#include "base/list.h"
#include "base/slice.h"
#include "service/watch/trail.h"

enum { SPOOL_BLOCK_BYTES = 16 * 1024, SPOOL_AT_FIRST = 1 /* number of the first line */ };

struct spool_block;

/* A line as it was. */
struct spool_line {
    size_t n;
    uint8_t bytes[TRAIL_LINE_MAX];
};

struct spool {
    struct list blocks;
    uint64_t next;          /* number of the next line that is pushed */
    uint64_t first;         /* of the oldest one; `next`: there is none */
    size_t first_at;        /* where that lies in its block */
    struct spool_line last; /* that was pushed */
    struct spool_line read; /* the line of number `read_number`, 0: none */
    uint64_t read_number;
    size_t read_end; /* where it ends in its block */
    struct spool_block *read_block;
};

void spool_init(struct spool *s);
void spool_done(struct spool *s);
/* spool_push - a copy of the line, 1 to TRAIL_LINE_MAX bytes, gets the next number. ERR_NOMEM. */
MUST_USE enum err spool_push(struct spool *s, struct slice line, uint64_t now_ms);
/* spool_read - the line of a number from `first` on and before `next`, borrowed until another one
 * is read. O(1) for the next one and the same again, else O(blocks and lines of one). */
struct slice spool_read(struct spool *s, uint64_t number);
/* spool_oldest - how many bytes it has, and when it was pushed. There is one. */
size_t spool_oldest(const struct spool *s, uint64_t *ret_since_ms);
/* spool_drop - the oldest line goes. There is one. */
void spool_drop(struct spool *s);

#endif
