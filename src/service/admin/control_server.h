/*
 * control_server - the control socket in the service thread's loop: accepts, checks who it is,
 * reads one request a connection, answers by lines, at once, late or as a stream.
 *
 * Only root and the daemon's own user are served (the kernel says who connected). A client that
 * does not read its answers, or does not send its request, is dropped.
 */
#ifndef SERVICE_ADMIN_CONTROL_SERVER_H
#define SERVICE_ADMIN_CONTROL_SERVER_H

#include <sys/types.h>

#include "net/loop.h"
#include "service/admin/control.h"

enum {
    CONTROL_CLIENTS_MAX = 32,   /* more wait in the kernel's queue */
    CONTROL_REQUEST_MS = 10000, /* for the request to arrive */
    CONTROL_STALL_MS = 10000    /* for a client to take the next bytes of its answer */
};

struct control_server;

struct control_server_setup {
    struct loop *loop; /* borrowed for life */
    int listen_fd;     /* borrowed; -1: only adopted connections */
    uid_t uid;         /* besides root */
    const struct control_verb *verbs;
    size_t n_verbs;
    void *ctx; /* of the verbs */
    /* Somebody else than root and uid tried. */
    void (*refused)(void *ctx, uid_t uid);
};

MUST_USE enum err control_server_new(const struct control_server_setup *s, uint64_t now_ms,
                                     struct control_server **ret);
struct control_server *control_server_free(struct control_server *s);
AUTOFREE(control_server, control_server_free)

/* control_server_adopt - serves this connected socket; takes fd (closed also on error). ERR_DENIED:
 * not who may; ERR_LIMIT, ERR_NOMEM, ERR_IO. */
MUST_USE enum err control_server_adopt(struct control_server *s, int fd);

/* The reply of a request that is answered late or as a stream, or NULL: the client has gone. Write
 * to it, then control_server_flush. Borrowed until then. */
struct control_reply *control_server_reply(struct control_server *s, uint64_t token);
/* control_server_flush - sends what can be sent; closes when the reply is done and sent. */
void control_server_flush(struct control_server *s, uint64_t token);
/* control_server_drop - closes without another word. */
void control_server_drop(struct control_server *s, uint64_t token);
/* control_server_uid - who asks; (uid_t)-1 when it has gone. */
uid_t control_server_uid(const struct control_server *s, uint64_t token);

/* control_server_tick - drops who is too slow. Returns the next time it has something to do. */
uint64_t control_server_tick(struct control_server *s, uint64_t now_ms);

#endif
