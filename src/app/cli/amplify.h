/*
 * amplify - what a server of datagrams answers to whoever has proven nothing: one request of each
 * kind that could bring about much, each from a socket, and so an address, of its own.
 *
 * For the self-test, against a server of ours: a few dozen small datagrams, none of them valid to
 * the end, and nothing is answered back.
 */
#ifndef APP_CLI_AMPLIFY_H
#define APP_CLI_AMPLIFY_H

#include "net/peer.h"

enum {
    AMPLIFY_PROBES_MAX = 32,
    AMPLIFY_MOST = 3,      /* bytes out for one in. SPEC: RFC9175 2.4 */
    AMPLIFY_WAIT_MS = 1200 /* what is sent again to who stays silent comes after a second */
};

struct amplify_probe {
    const char *name;
    size_t sent, received; /* bytes */
    unsigned answers;      /* datagrams */
    bool is_shut;          /* the port is closed, as its host says */
    int fd;
};

struct amplify {
    struct amplify_probe probe[AMPLIFY_PROBES_MAX];
    size_t n;
    /* each datagram that comes, borrowed for the call; NULL: they are only counted */
    void (*came)(void *ctx, size_t at, struct slice datagram);
    void *ctx;
};

/* amplify_send - every probe leaves; *ret is the caller's storage, to be given to amplify_done also
 * after an error. ERR_IO: no socket, or the network takes nothing. */
MUST_USE enum err amplify_send(const struct net_peer *to, struct amplify *ret);
/* amplify_add - one more probe, of these bytes (borrowed; the name for life), leaves. ERR_LIMIT:
 * there are AMPLIFY_PROBES_MAX; ERR_IO: it has not left. */
MUST_USE enum err amplify_add(struct amplify *a, const struct net_peer *to, const char *name,
                              struct slice bytes);
/* amplify_collect - counts what comes within wait_ms; over earlier when all ports are closed. */
void amplify_collect(struct amplify *a, int wait_ms);
void amplify_done(struct amplify *a);

/* amplify_is_over - more than AMPLIFY_MOST times? */
bool amplify_is_over(const struct amplify_probe *p);

#endif
