/*
 * coap_block_client - one request of ours whose body, or whose answer's, may need many messages.
 *
 * A value of the caller's. It says which message to send next and takes each response, until the
 * whole answer is there. It sends nothing and waits for nothing: coap_endpoint does. Blocks of two
 * versions of a representation are never put together. SPEC: RFC7959 2.3 to 2.6; RFC9175 3.
 */
#ifndef ENGINE_COAP_BLOCK_CLIENT_H
#define ENGINE_COAP_BLOCK_CLIENT_H

#include "base/buf.h"
#include "engine/coap_endpoint.h"
#include "wire/coap/block.h"

enum {
    COAP_TRANSFER_RESTARTS_MAX = 4, /* because the representation or the server's mind changed */
    COAP_TRANSFER_OPTIONS_BYTES = 1152,
    COAP_TRANSFER_ETAG_BYTES = 8
};

struct coap_transfer {
    struct coap_request ask; /* options and payload (the whole body) are borrowed for its life */
    uint64_t seed;           /* random: Request-Tags */
    size_t body_max;         /* of the answer */
    uint8_t szx;             /* of what is sent, and asked for */
    bool wants_szx;          /* say in the first request how large blocks may be */
    bool is_reliable;        /* many blocks may come at once (BERT) */
    bool is_bert;            /* and did */
    /* upwards */
    bool is_blockwise;
    size_t sent_at, sent_n; /* the block that was sent last */
    /* downwards */
    bool is_fetching;
    uint8_t fetch_szx;
    uint8_t etag_n;
    uint8_t etag[COAP_TRANSFER_ETAG_BYTES];
    uint16_t format;
    uint8_t code; /* of the answer */
    struct buf body;
    unsigned n_restarts;
    uint8_t options[COAP_TRANSFER_OPTIONS_BYTES]; /* of the latest request */
};

enum coap_transfer_step {
    COAP_TRANSFER_SEND, /* coap_transfer_next says what */
    COAP_TRANSFER_DONE, /* code and body are the answer's */
};

/* coap_transfer_init - szx 0 to 6: no block larger than this is sent or wanted; UINT8_MAX: the
 * largest, and the first request says nothing about it. An Observe option of ask goes out with the
 * first block only. */
void coap_transfer_init(struct coap_transfer *t, const struct coap_request *ask, uint8_t szx,
                        uint64_t seed, size_t body_max);
/* coap_transfer_reliable - it goes over a reliable transport: a body of at most whole_max bytes in
 * one message, and answers may come in BERT blocks. Before the first message. SPEC: RFC8323 6 */
void coap_transfer_reliable(struct coap_transfer *t, size_t whole_max);
void coap_transfer_done(struct coap_transfer *t);

/* coap_transfer_next - the message that has to leave now; borrows from t until the next call.
 * ERR_TOO_LARGE: the options do not fit, or the body has more blocks than can be numbered. */
MUST_USE enum err coap_transfer_next(struct coap_transfer *t, struct coap_request *ret);

/*
 * coap_transfer_take - the response to it
 *
 * For a notification of the observation that ask began: the transfer starts anew with it.
 *
 * OK             *ret says what comes next
 * ERR_MALFORMED  blocks that do not fit together
 * ERR_TOO_LARGE  the answer is over body_max
 * ERR_AGAIN      it changed too often while it was fetched
 * ERR_NOMEM
 */
MUST_USE enum err coap_transfer_take(struct coap_transfer *t, const struct coap_message *m,
                                     enum coap_transfer_step *ret);

#endif
