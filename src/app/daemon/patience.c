#include "app/daemon/patience.h"

#include <time.h>

enum { PATIENCE_S = 2 };

static void *patience_thread(void *arg)
{
    struct patience *p = arg;
    struct timespec at;
    unsigned seconds = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    (void)pthread_mutex_lock(&p->lock);
    while (!p->is_over) {
        at.tv_sec += PATIENCE_S;
        int e = 0;
        while (!p->is_over && e == 0) {
            e = pthread_cond_clockwait(&p->over, &p->lock, CLOCK_MONOTONIC, &at);
        }
        seconds += PATIENCE_S;
        if (!p->is_over) {
            p->tell(p->ctx, seconds);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

void patience_begin(struct patience *p, void (*tell)(void *ctx, unsigned seconds), void *ctx)
{
    *p = (struct patience){.ctx = ctx, .tell = tell};
    if (pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->over, NULL) == 0) {
        p->is_running = pthread_create(&p->thread, NULL, patience_thread, p) == 0;
    }
}

void patience_end(struct patience *p)
{
    if (p->is_running) {
        (void)pthread_mutex_lock(&p->lock);
        p->is_over = true;
        (void)pthread_cond_signal(&p->over);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->thread, NULL);
        (void)pthread_cond_destroy(&p->over);
        (void)pthread_mutex_destroy(&p->lock);
    }
}
