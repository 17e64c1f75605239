/*
 * scan_link - one connection of a scan to one port, blocking, within the times and sizes of the
 * scan: plain, by TLS that relies on nothing (net/tls_look.h), by WebSocket.
 *
 * Nothing secret is ever sent over one: a scan has no credentials of anybody's.
 */
#ifndef APP_SCAN_SCAN_LINK_H
#define APP_SCAN_SCAN_LINK_H

#include "app/scan/scan.h"
#include "base/buf.h"
#include "base/scope.h"
#include "net/peer.h"

enum { SCAN_LINK_BYTES_MAX = 512 * 1024, SCAN_LINK_SEND_MAX = 32 * 1024 };

/* Whom, for how long, by what. One for the whole scan. */
struct scan_net {
    const char *host;        /* as it was typed: TLS and HTTP are told this name */
    struct net_peer address; /* what it resolved to, once; port 0 */
    const char *ws_path;
    struct clock clock;
    struct random_source random;
    struct tls *tls;
    struct stream_io *io;
    uint64_t end_ms;   /* of all */
    uint32_t probe_ms; /* for one answer */
    void (*tell)(void *ctx, const struct scan_door *door, const char *what);
    void *ctx;
    bool has_tried_passwords, may_try_passwords;
};

uint64_t scan_net_now(const struct scan_net *net);
/* scan_net_until - so many milliseconds from now, but not longer than the scan. */
uint64_t scan_net_until(const struct scan_net *net, uint32_t wait_ms);
bool scan_net_is_over(const struct scan_net *net);
void scan_net_pause(const struct scan_net *net, uint32_t wait_ms);
/* scan_net_name - the host, when it is a name and no address; else NULL. */
const char *scan_net_name(const struct scan_net *net);
/* scan_net_at - this port there. */
struct net_peer scan_net_at(const struct scan_net *net, uint16_t port);
/* scan_net_hex - 2 n random hexadecimal digits and a NUL. */
void scan_net_hex(const struct scan_net *net, char *dst, size_t n);

enum scan_depth {
    SCAN_TO_SOCKET, /* bytes on TCP, whatever the port speaks */
    SCAN_TO_TLS,    /* behind TLS, where there is TLS */
    SCAN_TO_MQTT    /* behind WebSocket, too */
};

struct scan_link {
    struct scan_net *net;
    struct stream *stream;
    struct buf in; /* what came and was not dropped yet */
    size_t n_received;
};

/*
 * scan_link_open - connects and goes as deep as asked; gives
 *
 * ERR_CLOSED, ERR_TIMEOUT  TCP: *ret is NULL. Later: it is there, and its certificate can be looked
 *                          at
 * ERR_PROTOCOL  TLS or WebSocket did not come about
 * ERR_NOMEM, ERR_IO
 */
MUST_USE enum err scan_link_open(struct scan_net *net, const struct scan_door *door,
                                 enum scan_depth depth, struct scan_link **ret);
struct scan_link *scan_link_free(struct scan_link *l);
AUTOFREE(scan_link, scan_link_free)

/* scan_link_send - all of it (at most SCAN_LINK_SEND_MAX). ERR_TIMEOUT: it does not take it;
 * ERR_CLOSED, … */
MUST_USE enum err scan_link_send(struct scan_link *l, struct slice bytes);
/* scan_link_receive - more into l->in. ERR_TIMEOUT: nothing came until then; ERR_LIMIT: more than
 * SCAN_LINK_BYTES_MAX came; ERR_CLOSED, ERR_PROTOCOL. */
MUST_USE enum err scan_link_receive(struct scan_link *l, uint64_t until_ms);

#endif
