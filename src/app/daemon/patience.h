/*
 * patience - while one thread is busy for long, another says every two seconds that it is.
 */
#ifndef APP_DAEMON_PATIENCE_H
#define APP_DAEMON_PATIENCE_H

#include <pthread.h>
#include <stdbool.h>

struct patience {
    void *ctx;
    void (*tell)(void *ctx, unsigned seconds);
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
    pthread_t thread;
    bool is_running;
};

/* patience_begin - p is the caller's storage, and stays where it is. tell is called by a thread of
 * its own, with the seconds since now. Without a thread nobody hears of it. */
void patience_begin(struct patience *p, void (*tell)(void *ctx, unsigned seconds), void *ctx);
/* patience_end - from here on nothing is told. Once for each beginning. */
void patience_end(struct patience *p);

#endif
