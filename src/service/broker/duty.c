#include "service/broker/duty.h"

/* What is counted is a hundredth of a microsecond, so that a busy worker, which asks every few
 * microseconds, earns its percent too. */
enum { UNIT = 100, LONG_US = 1000 * 1000 /* so long a time fills any burst */ };

bool duty_may(struct duty *d, uint64_t now_us, unsigned percent)
{
    uint64_t passed = now_us > d->earned_at_us ? now_us - d->earned_at_us : 0;
    const int64_t burst = (int64_t)DUTY_BURST_US * UNIT;
    d->left += (int64_t)((passed < LONG_US ? passed : LONG_US) * percent);
    d->left = percent >= 100 || d->left > burst ? burst : d->left;
    d->earned_at_us = now_us;
    return d->left > 0;
}

void duty_spend(struct duty *d, uint64_t us)
{
    d->left -= (int64_t)(us < LONG_US ? us : LONG_US) * UNIT;
}

uint64_t duty_wait_us(const struct duty *d, unsigned percent)
{
    return d->left > 0 || percent >= 100 ? 0 : (uint64_t)-d->left / percent + 1;
}
