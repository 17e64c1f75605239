/*
 * msg_pool - blocks of messages that have gone, kept for those that come: most messages live for
 * a moment, and the next one is as large.
 *
 * A thread has one pool, for itself: a block belongs to nobody, so whoever releases the message
 * keeps it, whichever thread took it from the heap. Where one thread makes the messages and another
 * one releases them, blocks come back by a depot that pools share, in chains: a pool that is full
 * leaves one there, a pool that has none takes what is there. What is kept is in use for mem_used
 * and its ceiling, and is bounded; what nobody took between two msg_pool_age goes back to the heap.
 */
#ifndef CORE_MSG_POOL_H
#define CORE_MSG_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MSG_POOL_SMALL = 1024, /* bytes of a block: in steps of 32 up to here, */
    MSG_POOL_LARGE = 8192, /* in steps of 256 up to here; what is larger is not kept */
    MSG_POOL_CLASSES = MSG_POOL_SMALL / 32 + (MSG_POOL_LARGE - MSG_POOL_SMALL) / 256 + 1,
    MSG_POOL_CHAIN = 32,         /* blocks of one class that go to a depot together */
    MSG_POOL_BYTES = 256 * 1024, /* of a worker; it may take a depot's to that */
    MSG_DEPOT_BYTES = 256 * 1024 /* of a depot */
};

struct msg_block;

struct msg_pool_class {
    struct msg_block *first;
    uint32_t n, least; /* kept now; the fewest since the last msg_pool_age */
};

/* Zeroed it is empty. Any thread. It frees nothing: the pools that share it do, the last of them at
 * its end all that is left. */
struct msg_depot {
    struct msg_block *_Atomic chains[MSG_POOL_CLASSES]; /* pushed one by one, taken all at once */
    atomic_size_t bytes;
};

struct msg_pool {
    size_t bytes, most;      /* kept; at most: 0 keeps nothing */
    bool is_exact;           /* every block is from the heap, and as large as was asked for */
    struct msg_depot *depot; /* NULL: none */
    struct msg_pool_class classes[MSG_POOL_CLASSES];
};

/* msg_pool_take - n bytes, uninitialised; NULL when there are none. */
void *msg_pool_take(struct msg_pool *p, size_t n);
/* msg_pool_give - a block of msg_pool_take(n), also of another pool (exact ones and others do not
 * mix): kept, or freed. */
void msg_pool_give(struct msg_pool *p, void *block, size_t n);
/* msg_pool_age - frees what was not needed since the last time; what lies in the depot is this
 * pool's from then on. msg_pool_clear - frees all, the depot's, too. */
void msg_pool_age(struct msg_pool *p);
void msg_pool_clear(struct msg_pool *p);

/* msg_pool_own - the pool of this thread, for msg.c; it keeps nothing before msg_pool_open. Whoever
 * opens it ages it, and clears it at the end of the thread. In a build with the address sanitizer,
 * which is to see each end and each use after it, it is exact. `depot` (NULL: none) outlives the
 * thread. */
struct msg_pool *msg_pool_own(void);
void msg_pool_open(struct msg_depot *depot);

#endif
