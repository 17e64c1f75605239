/*
 * courier_view - the courier's process as the broker sees it: what it says of each sink, as
 * reports, numbers and silences.
 *
 * What comes over the channel is not believed further than it goes: a sink that is not configured
 * is nobody's, and no more than COURIER_VIEW_REPORTS reports of one sink are taken in a minute. Who
 * is silent is found here, so a courier that does not come up, or ends again and again, is noticed
 * like a receiver that takes nothing.
 */
#ifndef SERVICE_COURIER_COURIER_VIEW_H
#define SERVICE_COURIER_COURIER_VIEW_H

#include "service/courier/courier_message.h"

enum {
    COURIER_VIEW_REPORTS = 30, /* of one sink in a minute; what is over is dropped */
    COURIER_SETTLE_MS =
        10 * 1000 /* so long a new courier has nothing to send: then nothing waits */
};

struct courier_view;

/* courier_view_new - fd (non-blocking) is borrowed for life. ERR_NOMEM. */
MUST_USE enum err courier_view_new(int fd, const struct clock *clock, struct courier_view **ret);
struct courier_view *courier_view_free(struct courier_view *v); /* NULL is fine */
/* courier_view_set - the sinks from now on; one that was there keeps its numbers. Release the
 * alerts of those before first: who is still silent is reported anew. */
void courier_view_set(struct courier_view *v, const struct courier_sink *sinks, size_t n);
/* courier_view_receive - what the channel has, up to a limit for each call. */
void courier_view_receive(struct courier_view *v);
/* courier_view_note - one datagram. As courier_message_decode; ERR_LIMIT: too many reports. */
MUST_USE enum err courier_view_note(struct courier_view *v, struct slice bytes);
/* courier_view_take - the next thing to report, silences included; false: there is none. Its sink
 * lives until the next courier_view_set. */
bool courier_view_take(struct courier_view *v, struct courier_report *ret);
/* courier_view_bad - datagrams that were refused, since the last call. */
uint64_t courier_view_bad(struct courier_view *v);

size_t courier_view_count(const struct courier_view *v);
const struct courier_sink *courier_view_sink(const struct courier_view *v, size_t i);
/* courier_view_numbers - of all couriers since the broker started. */
struct courier_numbers courier_view_numbers(const struct courier_view *v, size_t i);
/* courier_metrics - as Prometheus text, appended; v may be NULL. ERR_NOMEM. */
MUST_USE enum err courier_metrics(const struct courier_view *v, struct buf *ret);

#endif
