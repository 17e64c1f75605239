#include "service/admin/control_server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

enum { READ_BYTES = 16 * 1024, PAUSE_MS = 1000 };

struct client {
    struct loop_source source;
    struct control_server *server;
    uint64_t token; /* never 0, never reused */
    uid_t uid;
    struct buf in;
    struct control_reply reply;
    bool is_asked;     /* its one request was dispatched */
    uint64_t until_ms; /* for the request, then for the next bytes of the answer; UINT64_MAX */
};

struct control_server {
    struct control_server_setup setup;
    struct loop_source listener;
    bool is_listening;
    uint64_t resume_at_ms; /* accepting failed: not before then */
    uint64_t now_ms;
    uint64_t next_token;
    struct client *clients[CONTROL_CLIENTS_MAX];
};

static struct client *client_find(const struct control_server *s, uint64_t token)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (s->clients[i] != NULL && s->clients[i]->token == token) {
            return s->clients[i];
        }
    }
    return NULL;
}

static size_t free_slot(const struct control_server *s)
{
    size_t i = 0;
    while (i < CONTROL_CLIENTS_MAX && s->clients[i] != NULL) {
        i++;
    }
    return i;
}

static void client_close(struct client *c)
{
    struct control_server *s = c->server;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (s->clients[i] == c) {
            s->clients[i] = NULL;
        }
    }
    loop_remove(s->setup.loop, &c->source);
    (void)close(c->source.fd);
    buf_wipe(&c->in);
    control_reply_done(&c->reply);
    mem_free(c);
}

/* Sends what the socket takes. false: the client is closed. */
static bool client_send(struct client *c)
{
    bool moved = false;
    while (c->reply.bytes.n > 0) {
        ssize_t n =
            send(c->source.fd, c->reply.bytes.p, c->reply.bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            break;
        }
        if (n <= 0) {
            client_close(c);
            return false;
        }
        buf_drop(&c->reply.bytes, (size_t)n);
        moved = true;
    }
    bool waits = c->reply.bytes.n > 0;
    if (!waits && c->reply.is_done) {
        client_close(c);
        return false;
    }
    if (!waits) {
        c->until_ms = c->is_asked ? UINT64_MAX : c->until_ms;
    } else if (moved || c->until_ms == UINT64_MAX) {
        c->until_ms = c->server->now_ms + CONTROL_STALL_MS;
    }
    uint32_t events = (c->source.events & EPOLLIN) | (waits ? EPOLLOUT : 0);
    if (loop_change(c->server->setup.loop, &c->source, events) != OK) {
        client_close(c);
        return false;
    }
    return true;
}

static void dispatch(struct client *c, struct slice line)
{
    const struct control_server_setup *setup = &c->server->setup;
    uint64_t token = c->token;
    c->is_asked = true;
    c->until_ms = UINT64_MAX;
    enum err e = control_dispatch(setup->verbs, setup->n_verbs, setup->ctx, line, token, &c->reply);
    if (e == OK && !c->reply.is_done && !c->reply.is_streaming) {
        e = control_finish(&c->reply, 1, "the request was left unanswered");
    }
    if (e != OK) {
        client_close(c);
        return;
    }
    buf_wipe(&c->in);
    (void)client_send(c);
}

/* The other side sends no more: it may still read. */
static void client_ended(struct client *c)
{
    if (!c->is_asked || loop_change(c->server->setup.loop, &c->source,
                                    c->source.events & ~(uint32_t)EPOLLIN) != OK) {
        client_close(c);
    }
}

static void client_read(struct client *c)
{
    uint8_t *room;
    if (buf_room(&c->in, READ_BYTES, CONTROL_REQUEST_MAX + 1 + READ_BYTES, &room) != OK) {
        client_close(c);
        return;
    }
    ssize_t n = recv(c->source.fd, room, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK)) {
        return;
    }
    if (n < 0) {
        client_close(c);
        return;
    }
    if (n == 0) {
        client_ended(c);
        return;
    }
    if (c->is_asked) {
        return; /* one request a connection: what follows it is not kept */
    }
    c->in.n += (size_t)n;
    struct slice in = buf_slice(&c->in);
    struct slice line;
    enum err e = control_cut(&in, &line);
    if (e == OK) {
        dispatch(c, line);
    } else if (e != ERR_AGAIN) {
        client_close(c);
    }
}

static void client_ready(struct loop_source *source, uint32_t events)
{
    struct client *c = CONTAINER_OF(source, struct client, source);
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        client_close(c);
        return;
    }
    if ((events & EPOLLOUT) != 0 && !client_send(c)) {
        return;
    }
    if ((events & EPOLLIN) != 0) {
        client_read(c);
    }
}

static void fd_release(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

enum err control_server_adopt(struct control_server *s, int fd)
{
    AUTO(fd_release) int owned = fd;
    struct ucred who;
    socklen_t n = sizeof who;
    size_t slot = free_slot(s);
    if (getsockopt(owned, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0) {
        return ERR_IO;
    }
    if (who.uid != 0 && who.uid != s->setup.uid) {
        s->setup.refused(s->setup.ctx, who.uid);
        return ERR_DENIED;
    }
    if (slot == CONTROL_CLIENTS_MAX) {
        return ERR_LIMIT;
    }
    struct client *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    *c = (struct client){.source = {.fd = owned, .ready = client_ready},
                         .server = s,
                         .token = s->next_token++,
                         .uid = who.uid,
                         .until_ms = s->now_ms + CONTROL_REQUEST_MS};
    enum err e = loop_add(s->setup.loop, &c->source, EPOLLIN);
    if (e != OK) {
        mem_free(c);
        return e;
    }
    s->clients[slot] = c;
    owned = -1;
    return OK;
}

static void listener_set(struct control_server *s, bool listening)
{
    if (s->is_listening == listening) {
        return;
    }
    if (loop_change(s->setup.loop, &s->listener, listening ? (uint32_t)EPOLLIN : 0) == OK) {
        s->is_listening = listening;
    }
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct control_server *s = CONTAINER_OF(source, struct control_server, listener);
    (void)events;
    if (free_slot(s) == CONTROL_CLIENTS_MAX) {
        listener_set(s, false);
        return;
    }
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            s->resume_at_ms = s->now_ms + PAUSE_MS; /* no descriptors: the queue keeps them */
            listener_set(s, false);
        }
        return;
    }
    enum err ignored = control_server_adopt(s, fd); /* it is closed, and was reported */
    (void)ignored;
}

enum err control_server_new(const struct control_server_setup *setup, uint64_t now_ms,
                            struct control_server **ret)
{
    struct control_server *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->setup = *setup;
    s->now_ms = now_ms;
    s->next_token = 1;
    s->listener = (struct loop_source){.fd = setup->listen_fd, .ready = listener_ready};
    if (setup->listen_fd >= 0) {
        enum err e = loop_add(setup->loop, &s->listener, EPOLLIN);
        if (e != OK) {
            mem_free(s);
            return e;
        }
        s->is_listening = true;
    }
    *ret = s;
    return OK;
}

struct control_server *control_server_free(struct control_server *s)
{
    if (s == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (s->clients[i] != NULL) {
            client_close(s->clients[i]);
        }
    }
    if (s->setup.listen_fd >= 0) {
        loop_remove(s->setup.loop, &s->listener);
    }
    return mem_free(s);
}

struct control_reply *control_server_reply(struct control_server *s, uint64_t token)
{
    struct client *c = client_find(s, token);
    return c != NULL ? &c->reply : NULL;
}

void control_server_flush(struct control_server *s, uint64_t token)
{
    struct client *c = client_find(s, token);
    if (c != NULL) {
        (void)client_send(c);
    }
}

void control_server_drop(struct control_server *s, uint64_t token)
{
    struct client *c = client_find(s, token);
    if (c != NULL) {
        client_close(c);
    }
}

uid_t control_server_uid(const struct control_server *s, uint64_t token)
{
    const struct client *c = client_find(s, token);
    return c != NULL ? c->uid : (uid_t)-1;
}

uint64_t control_server_tick(struct control_server *s, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;
    s->now_ms = now_ms;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct client *c = s->clients[i];
        if (c != NULL && c->until_ms <= now_ms) {
            client_close(c);
        } else if (c != NULL && c->until_ms < next) {
            next = c->until_ms;
        }
    }
    if (s->setup.listen_fd >= 0 && !s->is_listening) {
        if (now_ms >= s->resume_at_ms && free_slot(s) < CONTROL_CLIENTS_MAX) {
            listener_set(s, true);
        } else if (s->resume_at_ms > now_ms && s->resume_at_ms < next) {
            next = s->resume_at_ms;
        }
    }
    return next;
}
