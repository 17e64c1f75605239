/*
 * coap_block_body - bodies of requests that come in blocks (Block1), until they are whole.
 *
 * One object serves all peers of a door. A body is known by who sends it, over which association,
 * with which method, options and Request-Tag; blocks are taken in their order only, and nothing is
 * handed out before the last one. What a peer can make us keep is bounded for its principal and in
 * all. Nothing here is sent, answered or timed by itself: the caller turns errors into codes.
 * SPEC: RFC7959 2.3, 2.5; RFC9175 3.
 */
#ifndef ENGINE_COAP_BLOCK_BODY_H
#define ENGINE_COAP_BLOCK_BODY_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "wire/coap/block.h"

/* Bytes are those of bodies and what names them; growing may take twice that for a moment. */
struct coap_block_limits {
    uint32_t body_bytes;   /* the largest body, whatever the caller would take */
    uint32_t idle_ms;      /* a body whose next block does not come for so long is dropped */
    uint64_t owner_bytes;  /* of one principal */
    uint64_t all_bytes;    /* of all together */
    uint32_t owner_bodies; /* begun by one principal at a time */
    uint32_t all_bodies;   /* by all together */
    uint8_t szx;           /* blocks larger than this are asked to become smaller */
};

/* coap_block_limits_default - idle_ms outlasts all repetitions of one block (MAX_TRANSMIT_WAIT is
 * 93 s) and stays below EXCHANGE_LIFETIME. */
struct coap_block_limits coap_block_limits_default(void);

struct coap_bodies {
    struct coap_block_limits limits;
    struct map by_key, owners;
    struct list oldest_first;
    uint64_t bytes;
    uint64_t n_expired, n_shed; /* only ever grow */
};

/* One block of a request, as it came. Borrowed for the call. */
struct coap_block_part {
    uint64_t owner;       /* the principal */
    uint64_t endpoint;    /* its association; the caller's name, never used again */
    uint8_t method;       /* a code */
    struct slice options; /* all of the request's */
    struct slice payload;
    struct coap_block block; /* its Block1 */
    bool is_bert;            /* before the last, too, it may be many blocks of its size at once */
    uint64_t body_max; /* what the caller takes of this body; limits.body_bytes bounds it too */
};

struct coap_block_taken {
    bool is_whole;
    struct coap_block ack; /* the Block1 of the answer */
    struct slice body;     /* when it is whole: borrows from `kept` or from the part's payload */
    struct buf kept;       /* the caller's to release */
};

/* coap_bodies_init - borrows nothing. The key is that of the maps. */
void coap_bodies_init(struct coap_bodies *b, const struct coap_block_limits *limits,
                      const struct siphash_key *key);
void coap_bodies_done(struct coap_bodies *b);

/*
 * coap_bodies_take - one block
 *
 * OK             kept, or the body is whole: then nothing of it is known here any more
 * ERR_MALFORMED  a block before the last that is not of its size: 4.00
 * ERR_NOT_FOUND  not the next block of anything that was begun: 4.08
 * ERR_TOO_LARGE  more than body_max, or says so in Size1: 4.13
 * ERR_QUOTA      the principal has begun as much as it may
 * ERR_LIMIT      all together have, and nobody has more than this one
 * ERR_NOMEM
 * With every error, what was there under this name is gone. At the bound of all, bodies of the
 * principal that holds most are dropped for one that would hold less. Block 0 begins anew. The
 * latest block again, unchanged, is fine. *ret is written only with OK.
 * O(options + payload); at the bound of all O(principals).
 */
MUST_USE enum err coap_bodies_take(struct coap_bodies *b, const struct coap_block_part *part,
                                   uint64_t now_ms, struct coap_block_taken *ret);
/* coap_bodies_forget - drops what was begun under the name of this request, if anything. */
void coap_bodies_forget(struct coap_bodies *b, const struct coap_block_part *part);
/* coap_bodies_end - drops what this endpoint has begun: it is gone. O(bodies). */
void coap_bodies_end(struct coap_bodies *b, uint64_t endpoint);
/* coap_bodies_expire - drops what has waited for too long. */
void coap_bodies_expire(struct coap_bodies *b, uint64_t now_ms);
/* coap_bodies_shed - drops the oldest body of the principal that holds most, because memory is
 * short. False: there is none. O(principals + bodies). */
bool coap_bodies_shed(struct coap_bodies *b);
/* coap_bodies_deadline - when something is to be dropped; UINT64_MAX: nothing. */
uint64_t coap_bodies_deadline(const struct coap_bodies *b);
size_t coap_bodies_count(const struct coap_bodies *b);

#endif
