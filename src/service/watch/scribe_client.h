/*
 * scribe_client - the broker's end: a bounded spool of lines that waits for the scribe, and the
 * messages that empty it.
 *
 * A line leaves the spool when the scribe says that it is in the trail. What was on its way when a
 * scribe died is sent again to the next one, which knows by the numbers what it has. No I/O of its
 * own: datagrams go through a link. Service thread only.
 */
#ifndef SERVICE_WATCH_SCRIBE_CLIENT_H
#define SERVICE_WATCH_SCRIBE_CLIENT_H

#include "base/clock.h"
#include "base/random.h"
#include "base/scope.h"
#include "service/watch/scribe_message.h"

enum {
    SCRIBE_SPOOL_BYTES = 8 * 1024 * 1024,
    SCRIBE_SPOOL_LINES = 32 * 1024,
    SCRIBE_FLIGHT_BYTES = 128 * 1024, /* sent and not acknowledged */
    SCRIBE_RETRY_MS = 200,            /* after a refusal, or a full socket */
    SCRIBE_SILENCE_MS = 2000,         /* then it is asked where it is */
    SCRIBE_WAIT_MS = 2000,            /* for an answer that somebody waits for */
    SCRIBE_BEHIND_MS = 5000,          /* the oldest line: then it is an alert */
    SCRIBE_FINISH_MS = 400            /* at an orderly stop */
};

/* How datagrams go. ERR_AGAIN: not now (receive: nothing within wait_ms); ERR_CLOSED, ERR_IO. */
struct scribe_link {
    void *ctx;
    enum err (*send)(void *ctx, struct slice datagram);
    enum err (*receive)(void *ctx, unsigned wait_ms, uint8_t dst[SCRIBE_DATAGRAM_MAX],
                        size_t *ret_n);
};

struct scribe_client;

/* scribe_client_new - link's ctx is borrowed for life, clock copied. ERR_NOMEM. */
MUST_USE enum err scribe_client_new(const struct scribe_link *link, const struct clock *clock,
                                    const struct random_source *random, struct scribe_client **ret);
struct scribe_client *scribe_client_free(struct scribe_client *c);
AUTOFREE(scribe_client, scribe_client_free)

/* scribe_client_push - a copy of the line goes into the spool. ERR_SPACE: it is full; ERR_NOMEM,
 * ERR_TOO_LARGE. */
MUST_USE enum err scribe_client_push(struct scribe_client *c, struct slice line);
/* scribe_client_turn - takes what was answered, sends what may be sent. Never waits. */
void scribe_client_turn(struct scribe_client *c);
/* scribe_client_deadline - when a turn has something to do that no datagram wakes it for. */
uint64_t scribe_client_deadline(const struct scribe_client *c);
/* scribe_client_finish - turns until the spool is empty, SCRIBE_FINISH_MS at most; whether it is.
 */
bool scribe_client_finish(struct scribe_client *c);

/* scribe_client_ask - SCRIBE_ANCHOR or SCRIBE_ROLL_KEY, behind all lines that were pushed; waits.
 * ERR_TIMEOUT: the scribe does not answer; ERR_QUOTA: too often; as trail_anchor. */
MUST_USE enum err scribe_client_ask(struct scribe_client *c, enum scribe_type what,
                                    struct anchor *ret);

struct scribe_client_state {
    uint64_t pending;  /* lines in the spool */
    uint64_t restarts; /* of the scribe, that the broker has met */
    bool is_behind;    /* the oldest waits for SCRIBE_BEHIND_MS */
    bool has_room;     /* at least half of the spool */
};
struct scribe_client_state scribe_client_state(const struct scribe_client *c);

#endif
