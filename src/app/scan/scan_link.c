#include "app/scan/scan_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>

#include "base/mem.h"
#include "net/listener.h"
#include "net/stream.h"

uint64_t scan_net_now(const struct scan_net *net)
{
    return net->clock.mono_ms(net->clock.ctx);
}

uint64_t scan_net_until(const struct scan_net *net, uint32_t wait_ms)
{
    uint64_t until = scan_net_now(net) + wait_ms;
    return until < net->end_ms ? until : net->end_ms;
}

bool scan_net_is_over(const struct scan_net *net)
{
    return scan_net_now(net) >= net->end_ms;
}

void scan_net_pause(const struct scan_net *net, uint32_t wait_ms)
{
    uint64_t until = scan_net_until(net, wait_ms);
    for (uint64_t now = scan_net_now(net); now < until; now = scan_net_now(net)) {
        (void)poll(NULL, 0, loop_timeout(now, until));
    }
}

const char *scan_net_name(const struct scan_net *net)
{
    struct in6_addr any;
    bool is_address =
        inet_pton(AF_INET, net->host, &any) == 1 || inet_pton(AF_INET6, net->host, &any) == 1;
    return is_address ? NULL : net->host;
}

struct net_peer scan_net_at(const struct scan_net *net, uint16_t port)
{
    struct net_peer p = net->address;
    p.port = port;
    return p;
}

void scan_net_hex(const struct scan_net *net, char *dst, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 2 * n; i++) {
        dst[i] = digits[random_below(&net->random, 16)];
    }
    dst[2 * n] = '\0';
}

struct scan_link *scan_link_free(struct scan_link *l)
{
    if (l != NULL) {
        l->stream = stream_free(l->stream);
        buf_done(&l->in);
        mem_free(l);
    }
    return NULL;
}

/* The address without its port, as net_connect_tcp takes it. */
static void address_text(const struct scan_net *net, char dst[NET_PEER_TEXT_BYTES])
{
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(&net->address, text);
    struct slice all = slice_text(text);
    size_t end = all.n;
    while (end > 0 && text[end - 1] != ':') {
        end--;
    }
    bool is_six = text[0] == '[';
    struct slice bare = slice_head(slice_from(all, is_six ? 1 : 0), end - (is_six ? 3 : 1));
    (void)slice_to_text(bare, dst, NET_PEER_TEXT_BYTES);
}

static enum err read_some(struct scan_link *l)
{
    struct slice plain;
    TRY(stream_read(l->stream, l->net->io, &plain));
    l->n_received += plain.n;
    if (l->n_received > SCAN_LINK_BYTES_MAX) {
        return ERR_LIMIT;
    }
    return buf_append(&l->in, plain, SCAN_LINK_BYTES_MAX);
}

/* One turn: what waits to leave, and what has come. */
static enum err turn(struct scan_link *l, uint64_t until_ms)
{
    struct scan_net *net = l->net;
    short out = stream_is_blocked(l->stream) ? POLLOUT : 0;
    struct pollfd p = {.fd = stream_fd(l->stream), .events = (short)(POLLIN | out)};
    uint64_t now = scan_net_now(net);
    if (now >= until_ms) {
        return ERR_TIMEOUT;
    }
    if (!stream_has_pending(l->stream) && poll(&p, 1, loop_timeout(now, until_ms)) < 0 &&
        errno != EINTR) {
        return ERR_IO;
    }
    stream_io_now(net->io, scan_net_now(net));
    if ((p.revents & POLLOUT) != 0) {
        enum err err = stream_flush(l->stream, net->io);
        if (err != OK && err != ERR_AGAIN) {
            return err;
        }
    }
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) == 0 && !stream_has_pending(l->stream)) {
        return OK;
    }
    return read_some(l);
}

static enum err go_deep(struct scan_link *l, const struct scan_door *door, enum scan_depth depth)
{
    struct scan_net *net = l->net;
    bool is_ws = door->kind == SCAN_WS || door->kind == SCAN_WSS;
    if (depth == SCAN_TO_MQTT && is_ws) {
        struct ws_target target = {.host = net->host, .port = door->port, .path = net->ws_path};
        TRY(stream_upgrade_client(l->stream, &target, SCAN_LINK_BYTES_MAX));
    }
    stream_io_now(net->io, scan_net_now(net));
    TRY(stream_start(l->stream, net->io));
    if (is_ws && !stream_is_tls(l->stream)) {
        TRY(read_some(l)); /* without TLS nothing else makes the request leave */
    }
    uint64_t until = scan_net_until(net, net->probe_ms);
    while (!stream_is_ready(l->stream)) {
        TRY(turn(l, until));
    }
    return OK;
}

enum err scan_link_open(struct scan_net *net, const struct scan_door *door, enum scan_depth depth,
                        struct scan_link **ret)
{
    char host[NET_PEER_TEXT_BYTES];
    int fd = -1;
    *ret = NULL;
    uint64_t now = scan_net_now(net), until = scan_net_until(net, net->probe_ms);
    if (now >= until) {
        return ERR_TIMEOUT;
    }
    address_text(net, host);
    TRY(net_connect_tcp(host, door->port, (int)(until - now), &fd));
    AUTO(scan_link_autofree) struct scan_link *l = mem_zalloc(sizeof(*l));
    struct stream *s = NULL;
    bool by_tls = depth != SCAN_TO_SOCKET && scan_kind_has_tls(door->kind);
    TRY(stream_new(fd, STREAM_CLIENT, by_tls ? net->tls : NULL, &s));
    if (l == NULL) {
        (void)stream_free(s);
        return ERR_NOMEM;
    }
    *l = (struct scan_link){.net = net, .stream = s};
    enum err err = go_deep(l, door, depth);
    *ret = TAKE(l);
    return err;
}

enum err scan_link_send(struct scan_link *l, struct slice bytes)
{
    uint64_t until = scan_net_until(l->net, l->net->probe_ms);
    if (bytes.n > SCAN_LINK_SEND_MAX) {
        return ERR_TOO_LARGE;
    }
    while (stream_is_blocked(l->stream)) {
        TRY(turn(l, until));
    }
    stream_io_now(l->net->io, scan_net_now(l->net));
    TRY(stream_write(l->stream, l->net->io, &bytes, 1));
    while (stream_is_blocked(l->stream)) {
        TRY(turn(l, until));
    }
    return OK;
}

enum err scan_link_receive(struct scan_link *l, uint64_t until_ms)
{
    size_t had = l->in.n;
    while (l->in.n == had) {
        TRY(turn(l, until_ms));
    }
    return OK;
}
