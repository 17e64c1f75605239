/*
 * client_progress - on stderr, once a second, how much was sent; on a terminal one line that is
 * written over.
 */
#ifndef APP_CLI_CLIENT_PROGRESS_H
#define APP_CLI_CLIENT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct client_progress {
    FILE *to; /* NULL: nothing is told */
    bool is_terminal, has_told;
    uint64_t n, bytes;   /* so far */
    uint64_t told_n;     /* when the last line was written */
    uint64_t told_at_ms; /* UINT64_MAX: not started */
    size_t n_unacknowledged;
};

/* client_progress_init - asked: --progress. may_last: long enough that a terminal gets it unasked.
 */
void client_progress_init(struct client_progress *p, FILE *to, bool asked, bool may_last);
/* client_progress_start - the second begins. */
void client_progress_start(struct client_progress *p, uint64_t now_ms);
void client_progress_count(struct client_progress *p, size_t bytes);
/* client_progress_deadline - when client_progress_tick has something to say; UINT64_MAX: never. */
uint64_t client_progress_deadline(const struct client_progress *p);
void client_progress_tick(struct client_progress *p, size_t n_unacknowledged, uint64_t now_ms);
/* client_progress_end - the last line, and the end of it; is_done: everything is acknowledged. */
void client_progress_end(struct client_progress *p, bool is_done, uint64_t now_ms);

#endif
