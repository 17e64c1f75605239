#include "app/cli/amplify.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"

enum { RECEIVE_BATCH = 64 };

struct kind {
    const char *name;
    const char *bytes;
    size_t n;
};

#define KIND(name, bytes)                                                                          \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1                                                             \
    }
#define RANDOM "sallyport selftest: 32 bytes...."
#define NUMBER "\0\0\0\0\0\0\0\0" /* epoch and number of a record */
#define SUITES "\0\4\0\xa8\xc0\xa8\1\0"

/* Of each way to be answered before anything is proven. The DTLS ones are records of a few dozen
 * bytes; an honest hello is longer, so its answer is smaller beside it. */
static const struct kind kinds[] = {
    KIND("DTLS ClientHello",
         "\x16\xfe\xff" NUMBER "\0\x38\1\0\0\x2c\0\0\0\0\0\0\0\x2c\xfe\xfd" RANDOM "\0\0" SUITES),
    KIND("DTLS ClientHello, another's cookie",
         "\x16\xfe\xff" NUMBER "\0\x58\1\0\0\x4c\0\0\0\0\0\0\0\x4c\xfe\xfd" RANDOM
         "\0\x20" RANDOM SUITES),
    KIND("DTLS 1.0 ClientHello",
         "\x16\xfe\xff" NUMBER "\0\x38\1\0\0\x2c\0\0\0\0\0\0\0\x2c\xfe\xff" RANDOM "\0\0" SUITES),
    KIND("DTLS ClientHello, its first fragment",
         "\x16\xfe\xff" NUMBER "\0\x30\1\0\2\0\0\0\0\0\0\0\0\x24\xfe\xfd" RANDOM "\0\0"),
    KIND("DTLS ClientHello, unknown suites",
         "\x16\xfe\xff" NUMBER "\0\x36\1\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" RANDOM
         "\0\0\0\2\x13\x01\1\0"),
    KIND("DTLS alert", "\x15\xfe\xfd" NUMBER "\0\2\2\x28"),
    KIND("DTLS handshake out of turn", "\x16\xfe\xfd" NUMBER "\0\x0c\x14\0\0\0\0\0\0\0\0\0\0\0"),
    KIND("DTLS record of no association", "\x17\xfe\xfd\0\1\0\0\0\0\0\1\0\x10"
                                          "0123456789abcdef"),
    KIND("CoAP GET of four bytes", "\x40\1\x12\1"),
    KIND("CoAP GET /.well-known/core", "\x41\1\x12\2\1\xbb.well-known\4core"),
    KIND("CoAP GET /.well-known/core, NON", "\x51\1\x12\3\1\xbb.well-known\4core"),
    KIND("CoAP GET with Observe", "\x41\1\x12\4\1\x60\x52mq\4time"),
    KIND("CoAP GET of a large block", "\x41\1\x12\5\1\xb2mq\4time\xc1\6"),
    KIND("CoAP PUT with a value", "\x41\3\x12\6\1\xb2mq\4time\xff"
                                  "12:00"),
    KIND("CoAP FETCH", "\x41\5\x12\7\1\xb2mq\xff{}"),
    KIND("CoAP ping", "\x40\0\x12\x8"),
    KIND("CoAP acknowledgement", "\x60\0\x12\x9"),
    KIND("CoAP reset", "\x70\0\x12\xa"),
    KIND("CoAP response", "\x40\x45\x12\xb\xff"
                          "21"),
    KIND("CoAP unknown method", "\x40\x1f\x12\xc"),
    KIND("CoAP unknown critical option", "\x40\1\x12\xd\xd0\x34"),
    KIND("CoAP proxy request", "\x40\1\x12\xe\xdd\x16\x01"
                               "coap://[::1]/x"),
    KIND("CoAP token of 8 bytes", "\x48\1\x12\xf"
                                  "01234567"),
    KIND("CoAP token of 13 bytes", "\x4d\1\x12\x10\0"
                                   "0123456789abc"),
    KIND("CoAP of another version", "\x80\1\x12\x11"),
    KIND("CoAP cut short", "\x41\1\x12"),
    KIND("OSCORE, a kid of nobody", "\x41\2\x12\x13\1\x94\x09\1\xc0\xde\xff"
                                    "0123456789ab"),
    KIND("OSCORE, a new context", "\x41\2\x12\x14\1\x98\x19\1\3\x42zz\xc0\xde\xff"
                                  "0123456789ab"),
    KIND("OSCORE, option that cannot be read", "\x41\2\x12\x15\1\x91\xe0\xff"
                                               "0123456789ab"),
    KIND("nothing known", "GET / HTTP/1.1\r\n\r\n"),
};

_Static_assert(COUNT_OF(kinds) <= AMPLIFY_PROBES_MAX, "each has its place");

static enum err send_one(const struct net_peer *to, struct slice bytes, struct amplify_probe *p)
{
    struct sockaddr_storage at = {0};
    socklen_t n = 0;
    int family = net_peer_is_v4(to) ? AF_INET : AF_INET6;
    TRY(net_peer_to(to, family, &at, &n));
    p->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)&at, n) != 0 ||
        send(p->fd, bytes.p, bytes.n, 0) != (ssize_t)bytes.n) {
        return ERR_IO;
    }
    p->sent = bytes.n;
    return OK;
}

enum err amplify_add(struct amplify *a, const struct net_peer *to, const char *name,
                     struct slice bytes)
{
    if (a->n == AMPLIFY_PROBES_MAX) {
        return ERR_LIMIT;
    }
    struct amplify_probe *p = &a->probe[a->n++];
    *p = (struct amplify_probe){.name = name, .fd = -1};
    return send_one(to, bytes, p);
}

enum err amplify_send(const struct net_peer *to, struct amplify *ret)
{
    *ret = (struct amplify){.n = COUNT_OF(kinds)};
    for (size_t i = 0; i < ret->n; i++) {
        ret->probe[i] = (struct amplify_probe){.name = kinds[i].name, .fd = -1};
    }
    for (size_t i = 0; i < ret->n; i++) {
        TRY(send_one(to, slice_of(kinds[i].bytes, kinds[i].n), &ret->probe[i]));
    }
    return OK;
}

static void receive(struct amplify *a, size_t at)
{
    struct amplify_probe *p = &a->probe[at];
    uint8_t bytes[65536];
    /* So many in one go: who sends without end must not keep us from looking at the clock. */
    for (unsigned i = 0; i < RECEIVE_BATCH; i++) {
        ssize_t n = recv(p->fd, bytes, sizeof(bytes), 0);
        if (n < 0) {
            p->is_shut = p->is_shut || errno == ECONNREFUSED;
            return; /* nothing more, or the port is closed */
        }
        p->received += (size_t)n;
        p->answers++;
        if (a->came != NULL) {
            a->came(a->ctx, at, slice_of(bytes, (size_t)n));
        }
    }
}

static bool are_shut(const struct amplify *a)
{
    for (size_t i = 0; i < a->n; i++) {
        if (!a->probe[i].is_shut) {
            return false;
        }
    }
    return true;
}

void amplify_collect(struct amplify *a, int wait_ms)
{
    struct clock clock = clock_system();
    uint64_t end_ms = clock.mono_ms(clock.ctx) + (uint64_t)wait_ms;
    struct pollfd fds[AMPLIFY_PROBES_MAX];
    for (size_t i = 0; i < a->n; i++) {
        fds[i] = (struct pollfd){.fd = a->probe[i].fd, .events = POLLIN};
    }
    for (uint64_t now_ms = end_ms - (uint64_t)wait_ms; now_ms < end_ms;
         now_ms = clock.mono_ms(clock.ctx)) {
        if (are_shut(a)) {
            return;
        }
        if (poll(fds, a->n, (int)(end_ms - now_ms)) < 0 && errno != EINTR) {
            return;
        }
        for (size_t i = 0; i < a->n; i++) {
            if (fds[i].revents != 0) {
                receive(a, i);
            }
        }
    }
}

void amplify_done(struct amplify *a)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->probe[i].fd >= 0) {
            (void)close(a->probe[i].fd);
            a->probe[i].fd = -1;
        }
    }
}

bool amplify_is_over(const struct amplify_probe *p)
{
    return p->received > AMPLIFY_MOST * p->sent;
}
