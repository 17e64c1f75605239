/* What CoAP and DTLS give to an address that has proven nothing, in bytes. */
#include <poll.h>
#include <stdio.h>

#include "app/cli/amplify.h"
#include "app/scan/scan_hello.h"
#include "app/scan/scan_look.h"
#include "net/loop.h"
#include "wire/coap/link.h"
#include "wire/coap/message.h"
#include "wire/coap/option.h"
#include "wire/coap/uri.h"

enum {
    RESOURCES_MAX = 8,
    SLICE_MS = 50,
    TOKEN_BYTES = 2,
    ECHO_BYTES = 40, /* SPEC: RFC9175 2.2.1 */
    REQUEST_BYTES = 256,
    FAREWELL_MS = 200,
    FAREWELL_DATAGRAMS = 32,
    OBSERVE_BEGINS = 0,
    OBSERVE_ENDS = 1,
    NO_OBSERVE = -1
};

#define DISCOVERY "/.well-known/core"

/* One request, and what its first response said. */
struct asked {
    char path[SCAN_PATH_BYTES];
    uint8_t token[TOKEN_BYTES];
    uint16_t mid;
    uint8_t code;     /* 0: none came */
    bool is_promised; /* an empty acknowledgement came: the answer takes its time */
    bool has_echo, is_observed;
    uint8_t echo_n, echo[ECHO_BYTES]; /* what it was asked for */
};

struct coap_look {
    struct scan_net *net;
    struct net_peer to;
    struct amplify a; /* beside it: */
    struct asked asked[AMPLIFY_PROBES_MAX];
    struct buf list; /* the payload of the discovery */
};

static enum err encode(const struct coap_look *l, struct asked *q, int observe,
                       uint8_t dst[REQUEST_BYTES], struct slice *ret)
{
    uint8_t options[REQUEST_BYTES];
    size_t n = 0;
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    if (observe != NO_OBSERVE) {
        coap_option_add_uint(&o, COAP_OPTION_OBSERVE, (uint32_t)observe);
    }
    coap_uri_path_options(slice_text(q->path), &o);
    if (q->echo_n > 0) {
        coap_option_add(&o, COAP_OPTION_ECHO, slice_of(q->echo, q->echo_n));
    }
    q->mid = (uint16_t)random_below(&l->net->random, 65536);
    struct coap_message m = {.type = COAP_CON,
                             .code = COAP_GET,
                             .mid = q->mid,
                             .token = slice_of(q->token, TOKEN_BYTES)};
    TRY(coap_option_writer_done(&o, &m.options));
    TRY(coap_message_encode(&m, dst, REQUEST_BYTES, &n));
    *ret = slice_of(dst, n);
    return OK;
}

/* What cannot be sent has no answer, and nothing follows from that. */
static void ask(struct coap_look *l, struct slice path, int observe)
{
    uint8_t bytes[REQUEST_BYTES];
    struct slice request;
    if (l->a.n == AMPLIFY_PROBES_MAX) {
        return;
    }
    struct asked *q = &l->asked[l->a.n];
    *q = (struct asked){0};
    l->net->random.fill(l->net->random.ctx, q->token, TOKEN_BYTES);
    if (!slice_to_text(path, q->path, sizeof(q->path)) ||
        encode(l, q, observe, bytes, &request) != OK) {
        return;
    }
    enum err ignored = amplify_add(&l->a, &l->to, q->path, request);
    (void)ignored;
}

static void came(void *ctx, size_t at, struct slice datagram)
{
    struct coap_look *l = ctx;
    struct asked *q = &l->asked[at];
    struct coap_message m;
    struct slice echo;
    uint32_t number;
    if (coap_message_decode(datagram, COAP_TOKEN_BYTES, &m) != OK) {
        return;
    }
    q->is_promised =
        q->is_promised || (m.type == COAP_ACK && m.code == COAP_EMPTY && m.mid == q->mid);
    if (coap_code_class(m.code) < 2 || !slice_equal(m.token, slice_of(q->token, TOKEN_BYTES)) ||
        q->code != 0) {
        return;
    }
    q->code = m.code;
    q->has_echo = coap_options_find(m.options, COAP_OPTION_ECHO, &echo);
    if (q->has_echo && echo.n <= ECHO_BYTES) {
        q->echo_n = (uint8_t)echo.n;
        slice_copy(q->echo, echo);
    }
    q->is_observed = coap_options_find_uint(m.options, COAP_OPTION_OBSERVE, &number);
    if (at == 0 && m.code == COAP_CONTENT) {
        enum err ignored = buf_append(&l->list, m.payload, COAP_LINK_BYTES);
        (void)ignored;
    }
}

static struct scan_exchange exchange_of(const struct coap_look *l, size_t at)
{
    const struct amplify_probe *p = &l->a.probe[at];
    struct scan_exchange e = {.sent = p->sent, .received = p->received, .answers = p->answers};
    scan_word(slice_text(l->asked[at].path), e.path, sizeof(e.path));
    return e;
}

/* A path of this server that fits: no other server's, no query. */
static bool is_askable(struct slice href)
{
    return href.n > 0 && href.n < SCAN_PATH_BYTES && href.p[0] == '/' &&
           (href.n == 1 || href.p[1] != '/') && slice_find(href, '?') == href.n &&
           slice_find(href, '#') == href.n;
}

static bool is_observable(struct slice attributes)
{
    struct coap_link_attribute a;
    while (coap_link_attribute_next(&attributes, &a)) {
        if (slice_is(a.name, "obs")) {
            return true;
        }
    }
    return false;
}

/* The resources that were listed, each once, and the first observable one as such: its place among
 * the probes, or 0. */
static size_t ask_listed(struct coap_look *l, struct scan_coap_seen *ret)
{
    struct coap_link_reader links = coap_link_reader_from(buf_slice(&l->list));
    struct coap_link_item item;
    struct slice observable = {0};
    size_t n = 0;
    while (coap_link_next(&links, &item)) {
        ret->n_links++;
        if (!is_askable(item.href)) {
            continue;
        }
        if (observable.n == 0 && is_observable(item.attributes)) {
            observable = item.href;
        }
        if (n < RESOURCES_MAX) {
            ask(l, item.href, NO_OBSERVE);
            n++;
        }
    }
    size_t at = l->a.n;
    if (observable.n > 0) {
        ask(l, observable, OBSERVE_BEGINS);
    }
    return l->a.n > at ? at : 0;
}

/* Until each that was asked since `from` has its answer, or has been silent for long enough; then
 * what else comes: repeats, notifications. */
static void collect(struct coap_look *l, size_t from)
{
    uint64_t until = scan_net_until(l->net, l->net->probe_ms);
    bool waits = true;
    while (waits && scan_net_now(l->net) < until) {
        amplify_collect(&l->a, SLICE_MS);
        waits = false;
        for (size_t i = from; i < l->a.n; i++) {
            waits = waits ||
                    (l->asked[i].code == 0 && !l->asked[i].is_promised && !l->a.probe[i].is_shut);
        }
    }
    amplify_collect(&l->a, AMPLIFY_WAIT_MS);
}

/* Ends the observation from the socket it began at, and rejects what still comes. */
static void say_goodbye(struct coap_look *l, size_t at)
{
    uint8_t bytes[REQUEST_BYTES], in[COAP_MESSAGE_BYTES];
    struct slice request;
    int fd = l->a.probe[at].fd;
    if (fd < 0 || encode(l, &l->asked[at], OBSERVE_ENDS, bytes, &request) != OK) {
        return;
    }
    (void)send(fd, request.p, request.n, MSG_NOSIGNAL);
    uint64_t until = scan_net_now(l->net) + FAREWELL_MS;
    for (unsigned i = 0; i < FAREWELL_DATAGRAMS && scan_net_now(l->net) < until; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        struct coap_message m;
        size_t n = 0;
        if (poll(&p, 1, loop_timeout(scan_net_now(l->net), until)) <= 0) {
            return;
        }
        ssize_t got = recv(fd, in, sizeof(in), 0);
        if (got < 0) {
            return;
        }
        if (coap_header_peek(slice_of(in, (size_t)got), &m) == OK && m.type <= COAP_NON) {
            struct coap_message reset = {.type = COAP_RST, .mid = m.mid};
            if (coap_message_encode(&reset, bytes, sizeof(bytes), &n) == OK) {
                (void)send(fd, bytes, n, MSG_NOSIGNAL);
            }
        }
    }
}

/* The code of an answer to q, if this is one; else 0. */
static uint8_t answer_code(const struct asked *q, struct slice datagram)
{
    struct coap_message m;
    bool is_one = coap_message_decode(datagram, COAP_TOKEN_BYTES, &m) == OK &&
                  coap_code_class(m.code) >= 2 &&
                  slice_equal(m.token, slice_of(q->token, TOKEN_BYTES));
    return is_one ? m.code : 0;
}

/* A server that asked for an Echo gets it, from the socket that was asked: does it serve whoever
 * has an address, without any protection? Nothing of this is amplification. */
static bool serves_the_proven(struct coap_look *l, size_t at)
{
    uint8_t bytes[REQUEST_BYTES], in[COAP_MESSAGE_BYTES], code = 0;
    struct slice request;
    struct asked *q = &l->asked[at];
    int fd = l->a.probe[at].fd;
    if (q->echo_n == 0 || fd < 0 || encode(l, q, NO_OBSERVE, bytes, &request) != OK) {
        return false;
    }
    (void)send(fd, request.p, request.n, MSG_NOSIGNAL);
    uint64_t until = scan_net_until(l->net, l->net->probe_ms);
    for (unsigned i = 0; i < FAREWELL_DATAGRAMS && code == 0 && scan_net_now(l->net) < until; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, loop_timeout(scan_net_now(l->net), until)) <= 0) {
            return false;
        }
        ssize_t got = recv(fd, in, sizeof(in), 0);
        code = got > 0 ? answer_code(q, slice_of(in, (size_t)got)) : 0;
    }
    return coap_code_class(code) == 2;
}

static void conclude(const struct coap_look *l, size_t observed, struct scan_coap_seen *ret)
{
    for (size_t i = 1; i < l->a.n; i++) {
        struct scan_exchange e = exchange_of(l, i);
        const struct asked *q = &l->asked[i];
        if (i == observed) {
            ret->observes = q->is_observed ? SCAN_YES : q->code != 0 ? SCAN_NO : SCAN_UNKNOWN;
            ret->observation = e;
        } else if (e.sent > 0 &&
                   e.received * ret->resource.sent >= ret->resource.received * e.sent) {
            ret->resource = e;
        }
        if (coap_code_class(q->code) == 2 && ret->serves != SCAN_YES) {
            ret->serves = SCAN_YES;
            (void)snprintf(ret->served, sizeof(ret->served), "%s", e.path);
        }
        ret->asks_echo = q->has_echo ? SCAN_YES : ret->asks_echo;
    }
}

void scan_look_coap(struct scan_net *net, struct scan_door_seen *ret)
{
    struct coap_look l = {.net = net, .to = scan_net_at(net, ret->door.port)};
    l.a.came = came;
    l.a.ctx = &l;
    struct scan_coap_seen *c = &ret->coap;
    net->tell(net->ctx, &ret->door, "discovery");
    ask(&l, slice_text(DISCOVERY), NO_OBSERVE);
    ask(&l, slice_text("/"), NO_OBSERVE);
    collect(&l, 0);
    bool is_shut = l.a.n > 0 && l.a.probe[0].is_shut;
    ret->state = l.asked[0].code != 0 || l.asked[1].code != 0 ? SCAN_OPEN
                 : l.a.probe[0].received > 0                  ? SCAN_FOREIGN
                 : is_shut                                    ? SCAN_CLOSED
                                                              : SCAN_SILENT;
    if (ret->state == SCAN_OPEN && !scan_net_is_over(net)) {
        net->tell(net->ctx, &ret->door, "resources");
        size_t from = l.a.n, observed = ask_listed(&l, c);
        collect(&l, from);
        c->code = l.asked[0].code;
        c->serves = SCAN_NO;
        c->asks_echo = l.asked[0].has_echo ? SCAN_YES : SCAN_NO;
        c->discovery = exchange_of(&l, 0);
        if (serves_the_proven(&l, 0)) {
            c->serves = SCAN_YES;
            (void)snprintf(c->served, sizeof(c->served), "%s", DISCOVERY);
        }
        conclude(&l, observed, c);
        if (observed > 0 && l.asked[observed].is_observed) {
            say_goodbye(&l, observed);
        }
    }
    amplify_done(&l.a);
    buf_done(&l.list);
}

/* ---- DTLS ---- */

struct coaps_look {
    struct scan_hello_answer first;
    bool has_answer, is_foreign;
};

static void came_by_dtls(void *ctx, size_t at, struct slice datagram)
{
    struct coaps_look *l = ctx;
    (void)at;
    if (!l->has_answer && scan_hello_decode(datagram, true, &l->first) == OK) {
        l->has_answer = true;
    } else if (!l->has_answer) {
        l->is_foreign = true;
    }
}

void scan_look_coaps(struct scan_net *net, struct scan_door_seen *ret)
{
    /* Of certificates and of pre-shared keys: what devices have. */
    static const uint16_t suites[] = {0xc02b, 0xc02c, 0xc0ac, 0xc0ae, 0xc02f, 0xc030, 0xcca8,
                                      0xcca9, 0x00a8, 0x00a9, 0xc0a4, 0xc0a8, 0xccac, 0x009c};
    struct scan_hello hello = {.version = SCAN_DTLS12,
                               .suites = suites,
                               .n_suites = COUNT_OF(suites),
                               .host = scan_net_name(net)};
    uint8_t bytes[SCAN_HELLO_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct coaps_look l = {.has_answer = false};
    struct amplify a = {.came = came_by_dtls, .ctx = &l};
    struct net_peer to = scan_net_at(net, ret->door.port);
    net->tell(net->ctx, &ret->door, "DTLS without a cookie");
    if (scan_hello_encode(&hello, &net->random, &w) == OK &&
        amplify_add(&a, &to, "ClientHello", wr_slice(&w)) == OK) {
        uint64_t until = scan_net_until(net, net->probe_ms);
        while (!l.has_answer && !a.probe[0].is_shut && scan_net_now(net) < until) {
            amplify_collect(&a, SLICE_MS);
        }
        amplify_collect(&a, AMPLIFY_WAIT_MS);
        const struct amplify_probe *p = &a.probe[0];
        ret->coaps.hello =
            (struct scan_exchange){.sent = p->sent, .received = p->received, .answers = p->answers};
        ret->state = l.has_answer   ? SCAN_OPEN
                     : l.is_foreign ? SCAN_FOREIGN
                     : p->is_shut   ? SCAN_CLOSED
                                    : SCAN_SILENT;
        if (l.has_answer && l.first.kind != SCAN_HELLO_ALERT) {
            ret->coaps.has_cookie = l.first.kind == SCAN_HELLO_VERIFY ? SCAN_YES : SCAN_NO;
        }
    }
    amplify_done(&a);
}
