/*
 * errand_private - one sink's thread, in pieces: its connection (errand_dial.c), records of the
 * trail and what is taken of them (errand_records.c), requests of a webhook (errand_hook.c), files
 * and journald (errand_outlet.c), its turns (courier.c). Nothing here is called by another thread.
 */
#ifndef SERVICE_COURIER_ERRAND_PRIVATE_H
#define SERVICE_COURIER_ERRAND_PRIVATE_H

#include "net/stream.h"
#include "service/courier/courier_private.h"
#include "service/courier/outlet.h"
#include "service/watch/trail_follow.h"

/* idle -> dialling (the supervisor opens a socket) -> connecting -> shaking -> open -> turning
 * (our side has ended) -> idle; any failure -> idle. A webhook: open -> turning (a request is out)
 * -> open. A file, or journald: dialling -> writing -> idle. */
enum errand_state { IDLE, DIALLING, CONNECTING, SHAKING, OPEN, TURNING, WRITING };

enum { ERRAND_JITTER_PART = 4 /* of the time until the next try: what is left to chance */ };

struct courier_errand {
    struct courier *of;
    size_t index;
    const struct courier_sink *sink;
    char host[SHIPMENT_HOST_BYTES];
    pthread_t thread;
    bool is_running;
    int dial_fd, watch_fd;
    struct disk *disk;
    struct clock clock;
    struct trail_follow *follow;
    struct trail_spot taken; /* as saved */
    enum errand_state state;
    uint64_t now_ms, retry_at_ms, backoff_ms;
    uint64_t until_ms;  /* of the state */
    uint64_t since_ms;  /* the oldest record that waits was seen; 0: none waits */
    uint64_t opened_ms; /* the first record went into this connection; 0: none yet */
    uint64_t edge_at_ms;
    uint64_t got_ms;    /* new records were read */
    uint64_t seq;       /* of the last record that was read since the start */
    uint64_t n_waiting; /* records behind `taken` that were read and are for this sink */
    uint64_t first_seq; /* of them */
    bool is_unsaved;    /* `taken` went on over what is not for this sink */
    bool has_failed, is_at_edge;
    bool has_goodbye;                 /* turning: the receiver has said by TLS that it ends */
    char trouble[COURIER_TEXT_BYTES]; /* the last failure */
    struct buf out;
    int fd;                 /* while connecting or writing, else -1 */
    struct outlet outlet;   /* writing */
    struct buf request, in; /* of a webhook: what is asked, what came */
    struct buf secret;
    struct tls *tls;
    struct stream *stream;
    struct stream_io *io;
};

/* errand_publish - adds to its numbers, for others to read. */
void errand_publish(struct courier_errand *e, uint64_t sent, uint64_t taken, uint64_t retries,
                    uint64_t lost);

/* ---- errand_dial.c ---- */

void errand_hang_up(struct courier_errand *e);
/* errand_wait_before_retry - least_ms, and up to more_ms by chance. */
void errand_wait_before_retry(struct courier_errand *e, uint64_t least_ms, uint64_t more_ms);
/* errand_fail - hangs up, says why the first time; all that is not taken is sent again, later. */
void errand_fail(struct courier_errand *e, const char *text);
void errand_fail_stream(struct courier_errand *e, enum err err);
/* errand_dial - asks the supervisor for a descriptor. errand_take_dialled, _connected - the answer,
 * and the connection by it. */
void errand_dial(struct courier_errand *e);
void errand_take_dialled(struct courier_errand *e);
void errand_take_connected(struct courier_errand *e);

/* ---- errand_records.c ---- */

/* errand_fill - more of the trail into `out`. ERR_AGAIN: there is nothing new. */
MUST_USE enum err errand_fill(struct courier_errand *e);
/* errand_save_taken - to disk. errand_mark_taken - all that was sent is taken, and saved.
 * errand_confirmed - the same, and the connection has ended. */
void errand_save_taken(struct courier_errand *e);
void errand_mark_taken(struct courier_errand *e);
void errand_confirmed(struct courier_errand *e);
/* errand_read_spot - begins behind what was taken before. */
MUST_USE enum err errand_read_spot(struct courier_errand *e);

/* ---- errand_hook.c ---- */

void errand_hear_hook(struct courier_errand *e, struct slice plain);
void errand_turn_hook(struct courier_errand *e);

/* ---- errand_outlet.c ---- */

void errand_turn_writing(struct courier_errand *e);

#endif
