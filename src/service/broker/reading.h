/*
 * reading - one body on its way back from the log: a worker asks, who has the log answers by ring.
 */
#ifndef SERVICE_BROKER_READING_H
#define SERVICE_BROKER_READING_H

#include "core/msg.h"
#include "store/log.h"

enum {
    READING_MAX = 64,                /* of one worker, at once */
    READING_BYTES_MAX = 1024 * 1024, /* of them, or one alone */
    READING_PIECE_BYTES = 256 * 1024 /* read before the log goes on with something else */
};

struct reading {
    unsigned worker;
    uint64_t conn, seq;      /* for whom: the delivery of the session of this connection */
    const struct msg *husk;  /* one reference */
    const struct msg *whole; /* one reference, once result is OK */
    enum err result;         /* as log_body */
};

/* reading_new - shares husk. ERR_NOMEM. */
MUST_USE enum err reading_new(unsigned worker, uint64_t conn, uint64_t seq, const struct msg *husk,
                              struct reading **ret);
/* reading_free - with what it holds. NULL is fine. */
struct reading *reading_free(struct reading *r);
/* reading_done - the answer of a log: result, and with OK the parts of the message. */
void reading_done(struct reading *r, enum err result, struct slice props, struct slice payload);
/* reading_do - asks the log, which waits for the disk. */
void reading_do(struct reading *r, struct log *log);

#endif
