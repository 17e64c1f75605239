/*
 * scribe - the writer of the trail as a machine without I/O but the disk: takes the broker's
 * messages (scribe_message.h), and what the supervisor knows, one by one.
 *
 * It appends and signs, and has no request for anything else: nothing that is written can be
 * changed, left out or put in another order by who asks. Its own words in the trail are lines with
 * "by":"scribe", a key that it takes from nobody: when a broker begins (with the number of its life
 * and its run), when one ended, when the broker sent what it must not, when it stopped itself.
 *
 * The broker's share is bounded: SCRIBE_BYTES_PER_SECOND of the trail for good, SCRIBE_BURST_BYTES
 * at once; over it a line is not taken yet (ERR_QUOTA), and the broker keeps it. One thread.
 */
#ifndef SERVICE_WATCH_SCRIBE_H
#define SERVICE_WATCH_SCRIBE_H

#include "base/event.h"
#include "service/watch/scribe_message.h"

enum {
    SCRIBE_SYNC_MS = 1000, /* between two syncs of the file */
    SCRIBE_BYTES_PER_SECOND = 128 * 1024,
    SCRIBE_BURST_BYTES = 32 * 1024 * 1024,
    SCRIBE_ASKS_PER_MINUTE = 60,  /* anchors, keys, flushes; as many at once */
    SCRIBE_BLAMES_PER_MINUTE = 6, /* of its own words about what the broker does wrong */
    SCRIBE_READ_FILES = 2         /* the newest, for where it was; has a mark in each */
};

struct scribe;

/* A life of the broker, as the supervisor tells. */
struct scribe_life {
    uint64_t house;      /* which supervisor: random */
    unsigned generation; /* 1: its first broker */
};

struct scribe_setup {
    struct trail_setup trail;
    struct scribe_life life; /* the present one */
};

/* scribe_open - opens the trail and finds where it was. As trail_open. */
MUST_USE enum err scribe_open(const struct scribe_setup *s, struct scribe **ret);
/* scribe_stop - writes that it stops in order. */
void scribe_stop(struct scribe *s);
/* scribe_free - signs, closes. NULL is fine. */
struct scribe *scribe_free(struct scribe *s);
AUTOFREE(scribe, scribe_free)

/* scribe_trail - borrowed, for what is taken in at the start. */
struct trail *scribe_trail(struct scribe *s);

/* scribe_welcome - the answer that nobody asked for: what the scribe knows of the broker's run, so
 * that it sends again what was lost with the scribe before. */
void scribe_welcome(const struct scribe *s, uint8_t dst[SCRIBE_DATAGRAM_MAX], size_t *ret_n);
/* scribe_ask - one request, from anybody; *ret_n: bytes of the answer in dst, 0: there is none. */
void scribe_ask(struct scribe *s, struct slice request, uint8_t dst[SCRIBE_DATAGRAM_MAX],
                size_t *ret_n);
/* scribe_broker - the supervisor starts another broker; how the one before ended, in words. Written
 * down at once. */
void scribe_broker(struct scribe *s, unsigned generation, const char *how);

/* scribe_tick - syncs and signs when it is time. */
void scribe_tick(struct scribe *s);
/* scribe_deadline - UINT64_MAX: nothing to do. */
uint64_t scribe_deadline(const struct scribe *s);

/* scribe_next_event - what the broker's alerts should tell of; false: no more. */
bool scribe_next_event(struct scribe *s, struct event *ret);

#endif
