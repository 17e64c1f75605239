/*
 * pace - small sends of a wide fan-out, with a rest behind each piece of them.
 *
 * A send costs the kernel the same whatever is in it. Of several workers the one that has more of a
 * core is ahead: it is through each message as it comes, in small sends, while the others hold what
 * a publisher may have under way, and nobody gains by it. Who has made PACE_SENDS of them, small
 * ones, one right behind the other, while twice as many deliveries of wide messages were queued,
 * writes nothing for as long as that took: what comes meanwhile joins what waits. That is a bound
 * of half a worker's time for small sends and none for large ones, so it costs no throughput.
 *
 * A message that comes alone waits for nothing.
 */
#ifndef SERVICE_BROKER_PACE_H
#define SERVICE_BROKER_PACE_H

#include <stddef.h>
#include <stdint.h>

enum {
    PACE_SENDS = 256,        /* of a piece */
    PACE_SMALL_BYTES = 1400, /* a send of less is a small one: it fills no packet on the wire */
    PACE_QUEUED = 2,         /* wide deliveries for each send, since the last piece, or more */
    PACE_PIECE_MS = 20,      /* a piece that took longer has no rest */
    PACE_REST_MS = 3         /* at most */
};

/* { 0 } has sent nothing. */
struct pace {
    uint64_t began_ms, until_ms; /* of this piece; of the last rest */
    uint64_t bytes, n_wide;      /* n_wide: as it was behind the last piece */
    uint32_t n_sends;
};

/* pace_sent - something was written, of so many bytes. */
void pace_sent(struct pace *p, uint64_t now_ms, size_t bytes);
/* pace_rest - until when nothing more is written; now_ms or less: it goes on. n_wide:
 * deliveries of wide messages that were ever queued. now_ms never goes back. */
uint64_t pace_rest(struct pace *p, uint64_t now_ms, uint64_t n_wide);

#endif
