/*
 * duty - a share of time for work that others must not feel.
 *
 * Time earns a share of itself, up to DUTY_BURST_US; a step may begin while something is left, and
 * its cost may go below zero, for a step cannot be cut. What is owed then is waited for. A bound on
 * each turn alone does not do it: turns follow each other without a pause while work waits, so the
 * processor is always taken, and whoever shares it feels that.
 */
#ifndef SERVICE_BROKER_DUTY_H
#define SERVICE_BROKER_DUTY_H

#include <stdbool.h>
#include <stdint.h>

enum { DUTY_BURST_US = 500 };

/* { 0 } has nothing yet. */
struct duty {
    int64_t left; /* hundredths of a microsecond; below 0: owed */
    uint64_t earned_at_us;
};

/* duty_may - is anything left at now_us, when `percent` (1 to 100) of the time since the last call
 * is earned? 100: always, and what was owed is forgiven. */
bool duty_may(struct duty *d, uint64_t now_us, unsigned percent);
/* duty_spend - a step took so long. */
void duty_spend(struct duty *d, uint64_t us);
/* duty_wait_us - how long after the last duty_may something is left again; 0: it is. */
uint64_t duty_wait_us(const struct duty *d, unsigned percent);

#endif
