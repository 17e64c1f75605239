#include "app/cli/client_load_coap.h"

#include "app/cli/client_latency.h"
#include "app/cli/client_trust.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "net/dtls.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/udp.h"
#include "wire/coap/uri.h"

enum {
    GO_ON = -1,
    TICK_MS = 10,
    REPEAT_MS = 2000,
    REPEATS_MAX = 4, /* SPEC: RFC7252 4.8 */
    DRAIN_MS = 3000,
    SETTLE_MS = 500,
    OPEN_MS = 60 * 1000,
    TOKEN_BYTES = 4,
    ECHO_BYTES = 40,
    OPTIONS_BYTES = 1024,
    MIDS = UINT16_MAX + 1
};

enum phase { CLOSED, OPENING, IDLE, ASKING, OVER };

struct coap_load;

struct asker {
    struct coap_load *load;
    struct loop_source source;
    struct udp *udp;
    struct dtls *dtls; /* NULL in plain */
    uint64_t association;
    enum phase phase;
    uint16_t mid;
    uint32_t n_mids; /* how many of them are used up */
    uint32_t token;
    unsigned n_repeats;
    bool is_promised; /* an empty acknowledgement came: the answer comes by itself */
    uint64_t began_us, again_ms;
    uint8_t echo_n, echo[ECHO_BYTES]; /* what the next request takes back; none: 0 */
};

struct coap_load {
    struct cli *cli;
    const struct load_order *o;
    const struct load_watch *watch;
    struct clock clock;
    struct loop *loop;
    struct asker *askers;
    struct net_peer peer;
    uint8_t options_bytes[OPTIONS_BYTES];
    struct slice options;
    uint32_t next_token;
    uint32_t n_asking, first; /* first: whose turn it is to ask, so that all do */
    bool is_asking, is_measuring, is_filling;
    uint64_t now_us, tick_us, look_ms;
    const char *cipher;
    struct latency latency;
    struct load_result r;
    int code;
};

static uint64_t now_ms(const struct coap_load *l)
{
    return l->clock.mono_ms(l->clock.ctx);
}

static void give_up(struct coap_load *l, int code)
{
    l->code = l->code == GO_ON ? code : l->code;
}

/* ---- one request ---- */

static void transmit(struct asker *a, struct slice bytes)
{
    enum err err = a->dtls == NULL ? udp_send(a->udp, &a->load->peer, bytes)
                                   : dtls_send(a->dtls, a->association, bytes, now_ms(a->load));
    if (err != OK) {
        give_up(a->load, cli_fail(a->load->cli, "a request could not be sent: %s", err_name(err)));
    }
    udp_flush(a->udp);
}

static void put_token(uint8_t dst[TOKEN_BYTES], uint32_t token)
{
    struct wr w = wr_into(dst, TOKEN_BYTES);
    wr_u32(&w, token);
}

static uint32_t token_in(struct slice token)
{
    struct rd r = rd_from(token);
    return rd_u32(&r);
}

/* The options of a request: those of all, and the Echo that was asked for. */
static enum err options_of(const struct asker *a, uint8_t block[OPTIONS_BYTES], struct slice *ret)
{
    struct coap_option_writer w = coap_option_writer_into(block, OPTIONS_BYTES);
    *ret = a->load->options;
    if (a->echo_n == 0) {
        return OK;
    }
    coap_uri_path_options(slice_text(a->load->o->path), &w);
    coap_option_add(&w, COAP_OPTION_ECHO, slice_of(a->echo, a->echo_n));
    return coap_option_writer_done(&w, ret);
}

static void send_request(struct asker *a)
{
    struct coap_load *l = a->load;
    uint8_t token[TOKEN_BYTES], bytes[COAP_MESSAGE_BYTES], block[OPTIONS_BYTES];
    struct slice options;
    size_t n;
    put_token(token, a->token);
    struct coap_message m = {
        .type = COAP_CON, .code = COAP_GET, .mid = a->mid, .token = slice_of(token, sizeof(token))};
    if (options_of(a, block, &options) != OK) {
        give_up(l, cli_fail(l->cli, "--path and an Echo do not fit into a request"));
        return;
    }
    m.options = options;
    if (coap_message_encode(&m, bytes, sizeof(bytes), &n) != OK) {
        give_up(l, cli_fail(l->cli, "--path does not fit into a request"));
        return;
    }
    a->again_ms = now_ms(l) + ((uint64_t)REPEAT_MS << a->n_repeats);
    transmit(a, slice_of(bytes, n));
}

/* The next message id. false, and the run ends, when the socket has used all of them. */
static bool take_mid(struct asker *a)
{
    struct coap_load *l = a->load;
    if (a->n_mids == MIDS) {
        give_up(l, cli_fail(l->cli, "one of the sockets has used up its 65,536 message ids, which "
                                    "come back after four minutes: take more --connections or "
                                    "fewer --seconds"));
        return false;
    }
    a->n_mids++;
    a->mid++;
    return true;
}

static void ask(struct asker *a)
{
    struct coap_load *l = a->load;
    if (!take_mid(a)) {
        return;
    }
    a->token = l->next_token++;
    a->n_repeats = 0;
    a->is_promised = false;
    a->phase = ASKING;
    l->n_asking++;
    if (l->o->shape == LOAD_COAP_GET) {
        a->began_us = l->clock.mono_us(l->clock.ctx);
    }
    l->r.sent++;
    send_request(a);
}

static void acknowledge(struct asker *a, uint16_t mid)
{
    uint8_t bytes[COAP_HEADER_BYTES];
    size_t n;
    const struct coap_message m = {.type = COAP_ACK, .code = COAP_EMPTY, .mid = mid};
    if (coap_message_encode(&m, bytes, sizeof(bytes), &n) == OK) {
        transmit(a, slice_of(bytes, n));
    }
}

static void ended(struct asker *a)
{
    a->load->n_asking--;
    a->phase = a->load->o->shape == LOAD_COAP_HANDSHAKE ? OVER : IDLE;
}

/* The server wants to see that we are where we say: once for a socket. SPEC: RFC9175 2.3 */
static bool is_challenge(struct asker *a, const struct coap_message *m)
{
    struct slice echo;
    if (m->code != COAP_UNAUTHORIZED || !a->load->o->is_plain || a->echo_n > 0 ||
        !coap_options_find(m->options, COAP_OPTION_ECHO, &echo) || echo.n > ECHO_BYTES) {
        return false;
    }
    a->echo_n = (uint8_t)echo.n;
    slice_copy(a->echo, echo);
    if (take_mid(a)) {
        send_request(a);
    }
    return true;
}

static void answered(struct asker *a, const struct coap_message *m)
{
    struct coap_load *l = a->load;
    char code[COAP_CODE_TEXT_BYTES];
    if (is_challenge(a, m)) {
        return;
    }
    a->echo_n = 0;
    if (m->code != COAP_CONTENT) {
        coap_code_text(m->code, code);
        give_up(l,
                cli_fail(l->cli, "the server answers %s to GET %s: %s", code, l->o->path,
                         m->code == COAP_TOO_MANY_REQUESTS
                             ? "the role of the identity that measures reads at most replay_rate "
                               "a second; give that identity a role of its own for it"
                             : "--path names what it has, and the identity must be allowed to "
                               "read it"));
        return;
    }
    l->r.delivered++;
    latency_add(&l->latency, l->clock.mono_us(l->clock.ctx) - a->began_us);
    ended(a);
}

/* Whose answer is it? One to an earlier request of this socket came twice. */
static void on_message(struct asker *a, struct slice bytes)
{
    struct coap_load *l = a->load;
    struct coap_message m;
    uint8_t token[TOKEN_BYTES];
    if (coap_message_decode(bytes, COAP_TOKEN_BYTES, &m) != OK) {
        l->r.foreign++;
        return;
    }
    if (m.type == COAP_ACK && m.code == COAP_EMPTY && m.mid == a->mid && a->phase == ASKING) {
        a->is_promised = true;
        return;
    }
    put_token(token, a->token);
    bool is_answer =
        slice_equal(m.token, slice_of(token, sizeof(token))) &&
        (m.type == COAP_CON || m.type == COAP_NON || (m.type == COAP_ACK && m.mid == a->mid));
    if (m.type == COAP_CON) {
        acknowledge(a, m.mid);
    }
    if (m.type == COAP_RST && m.mid == a->mid) {
        give_up(l, cli_fail(l->cli, "the server resets the request"));
    } else if (is_answer && a->phase == ASKING) {
        answered(a, &m);
    } else if (m.token.n == TOKEN_BYTES && token_in(m.token) < l->next_token) {
        l->r.duplicates++;
    } else {
        l->r.foreign++;
    }
}

/* ---- DTLS ---- */

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    const struct asker *a = ctx;
    (void)!udp_send(a->udp, to, datagram); /* what is lost here is lost on the way */
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct asker *a = ctx;
    a->association = info->id;
    a->phase = IDLE;
    a->load->cipher = info->cipher;
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    (void)id;
    on_message(ctx, plain);
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct asker *a = ctx;
    (void)id;
    (void)why;
    give_up(a->load, client_broken(a->load->cli, a->load->o->target, ""));
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice psk_identity, const struct tls_refusal *how)
{
    struct asker *a = ctx;
    const struct client_target *t = a->load->o->target;
    char safe[TLS_TEXT_BYTES];
    (void)peer;
    (void)psk_identity;
    log_escape(how->text, strlen(how->text), safe, sizeof(safe));
    give_up(a->load, cli_fail(a->load->cli, "%s port %u: the DTLS handshake failed%s: %s", t->host,
                              (unsigned)t->port,
                              why == DTLS_FAILED_TIMEOUT ? " for want of an answer" : "", safe));
}

static enum err dtls_open(struct asker *a)
{
    const struct client_target *t = a->load->o->target;
    const struct dtls_handler handler = {.ctx = a,
                                         .transmit = on_transmit,
                                         .opened = on_opened,
                                         .received = on_received,
                                         .closed = on_closed,
                                         .failed = on_failed};
    struct dtls_client_config c = {.psk_identity = buf_slice(&t->psk_identity),
                                   .psk = buf_slice(&t->psk)};
    char text[TLS_TEXT_BYTES];
    if (t->psk.n == 0) {
        c = (struct dtls_client_config){.ca_pem = buf_slice(&t->ca),
                                        .host = t->host,
                                        .chain_pem = buf_slice(&t->chain),
                                        .key_pem = buf_slice(&t->key)};
    }
    TRY(dtls_client_openssl(&c, &a->load->peer, &handler, text, &a->dtls));
    dtls_tick(a->dtls, now_ms(a->load));
    udp_flush(a->udp);
    return OK;
}

/* ---- sockets ---- */

static void on_ready(struct loop_source *s, uint32_t events)
{
    struct asker *a = CONTAINER_OF(s, struct asker, source);
    struct coap_load *l = a->load;
    const struct udp_datagram *got;
    size_t n;
    (void)events;
    enum err err = udp_recv(a->udp, &got, &n);
    if (err != OK) {
        give_up(l, client_unreached(l->cli, l->o->target, err));
        return;
    }
    for (size_t i = 0; i < n && l->code == GO_ON; i++) {
        if (a->dtls != NULL) {
            dtls_input(a->dtls, &l->peer, got[i].bytes, now_ms(l));
        } else {
            on_message(a, got[i].bytes);
        }
    }
    udp_flush(a->udp);
}

static void close_asker(struct asker *a)
{
    if (a->udp == NULL) {
        return;
    }
    if (a->dtls != NULL) {
        dtls_close(a->dtls, a->association);
        udp_flush(a->udp);
    }
    loop_remove(a->load->loop, &a->source);
    a->dtls = a->dtls != NULL ? dtls_free(a->dtls) : NULL;
    a->udp = udp_free(a->udp);
    a->phase = CLOSED;
}

static void open_asker(struct asker *a)
{
    struct coap_load *l = a->load;
    const struct client_target *t = l->o->target;
    struct sockaddr_storage to;
    socklen_t to_n = sizeof(to);
    int fd;
    enum err err = net_connect_udp(t->host, t->port, &fd);
    if (err != OK) {
        give_up(l, client_unreached(l->cli, t, err));
        return;
    }
    bool is_named =
        getpeername(fd, (struct sockaddr *)&to, &to_n) == 0 && net_peer_from(&to, &l->peer) == OK;
    a->began_us = l->clock.mono_us(l->clock.ctx);
    a->source = (struct loop_source){.fd = fd, .ready = on_ready};
    a->phase = l->o->is_plain ? IDLE : OPENING;
    err = udp_new(fd, &a->udp);
    err = err == OK && !is_named ? ERR_IO : err;
    err = err == OK ? loop_add(l->loop, &a->source, EPOLLIN) : err;
    err = err == OK && !l->o->is_plain ? dtls_open(a) : err;
    if (err != OK) {
        give_up(
            l, cli_fail(l->cli, "a socket or an association could not be made: %s", err_name(err)));
    }
}

/* ---- turns ---- */

/* Time: what was not answered goes again, in DTLS by its own clock. */
static void look_at(struct asker *a)
{
    struct coap_load *l = a->load;
    uint64_t ms = now_ms(l);
    if (a->dtls != NULL && dtls_deadline(a->dtls) <= ms) {
        dtls_tick(a->dtls, ms);
        udp_flush(a->udp);
    }
    if (a->phase != ASKING || a->is_promised || a->again_ms > ms) {
        return;
    }
    if (a->n_repeats == REPEATS_MAX) {
        ended(a); /* lost */
        return;
    }
    a->n_repeats++;
    l->r.repeated++;
    send_request(a);
}

static void advance(struct asker *a)
{
    struct coap_load *l = a->load;
    bool is_storm = l->o->shape == LOAD_COAP_HANDSHAKE;
    if (a->phase == OVER) {
        close_asker(a);
    }
    if (a->phase == CLOSED && is_storm && l->is_asking) {
        open_asker(a);
    }
    if (a->phase == IDLE && (is_storm || (l->is_asking && l->n_asking < l->o->window))) {
        ask(a);
    }
}

static uint32_t n_in(const struct coap_load *l, enum phase phase)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        n += l->askers[i].phase == phase;
    }
    return n;
}

static void turn(struct coap_load *l)
{
    size_t n;
    if (loop_turn(l->loop, TICK_MS, &n) != OK) {
        give_up(l, cli_fail(l->cli, "epoll failed"));
        return;
    }
    bool is_time = now_ms(l) >= l->look_ms;
    l->look_ms = is_time ? now_ms(l) + TICK_MS : l->look_ms;
    l->first = (l->first + 1) % l->o->n_publishers;
    for (uint32_t i = 0; i < l->o->n_publishers && l->code == GO_ON; i++) {
        struct asker *a = &l->askers[(l->first + i) % l->o->n_publishers];
        if (is_time && a->udp != NULL) {
            look_at(a);
        }
        advance(a);
    }
    l->now_us = l->clock.mono_us(l->clock.ctx);
    if ((l->is_measuring || l->is_filling) && l->now_us >= l->tick_us) {
        l->tick_us = l->now_us + UINT64_C(1000) * LOAD_TICK_MS;
        l->watch->moment(l->watch->ctx, l->is_measuring ? LOAD_TICK : LOAD_FILL_TICK, l->now_us,
                         l->is_measuring ? l->r.delivered : n_in(l, IDLE));
    }
}

static void open_all(struct coap_load *l)
{
    uint64_t end_ms = now_ms(l) + OPEN_MS;
    for (uint32_t i = 0; i < l->o->n_publishers && l->code == GO_ON; i++) {
        open_asker(&l->askers[i]);
        turn(l);
    }
    while (l->code == GO_ON && n_in(l, OPENING) > 0) {
        turn(l);
        if (now_ms(l) > end_ms) {
            give_up(l, cli_fail(l->cli, "%u handshakes were not over after %d s", n_in(l, OPENING),
                                OPEN_MS / 1000));
        }
    }
}

static void turns_until(struct coap_load *l, uint64_t end_ms)
{
    while (l->code == GO_ON && now_ms(l) < end_ms) {
        turn(l);
    }
}

/* Associations that are there and silent: what the server keeps for each. */
static void fill(struct coap_load *l)
{
    uint64_t began_us = l->clock.mono_us(l->clock.ctx);
    if (l->o->is_plain) {
        open_all(l);
        return;
    }
    l->watch->moment(l->watch->ctx, LOAD_FILL_BEGINS, began_us, 0);
    l->is_filling = true;
    open_all(l);
    l->is_filling = false;
    l->r.filled = l->o->n_publishers;
    l->r.fill_us = l->clock.mono_us(l->clock.ctx) - began_us;
    turns_until(l, now_ms(l) + SETTLE_MS);
    l->watch->moment(l->watch->ctx, LOAD_FILL_ENDS, l->clock.mono_us(l->clock.ctx), 0);
}

static void measure(struct coap_load *l)
{
    l->is_asking = true;
    turns_until(l, now_ms(l) + l->o->warm_ms);
    uint64_t begin_us = l->clock.mono_us(l->clock.ctx), cpu_us = client_load_own_cpu_us();
    uint64_t before = l->r.delivered;
    l->watch->moment(l->watch->ctx, LOAD_BEGINS, begin_us, before);
    l->latency = (struct latency){0};
    l->is_measuring = true;
    l->tick_us = begin_us + UINT64_C(1000) * LOAD_TICK_MS;
    turns_until(l, now_ms(l) + l->o->measure_ms);
    l->is_measuring = false;
    l->now_us = l->clock.mono_us(l->clock.ctx);
    l->r.measured_us = l->now_us - begin_us;
    l->r.own_cpu_us = client_load_own_cpu_us() - cpu_us;
    l->r.counted = l->r.delivered - before;
    l->watch->moment(l->watch->ctx, LOAD_ENDS, l->now_us, l->r.delivered);
}

static void drain(struct coap_load *l)
{
    uint64_t end_ms = now_ms(l) + DRAIN_MS;
    l->is_asking = false;
    while (l->code == GO_ON && n_in(l, ASKING) + n_in(l, OPENING) > 0 && now_ms(l) < end_ms) {
        turn(l);
    }
    /* a handshake that does not end is as much lost as a request */
    l->r.lost = l->r.sent - l->r.delivered + n_in(l, OPENING);
    l->r.has_latency = l->latency.n > 0;
    l->r.p50_us = latency_at(&l->latency, 50);
    l->r.p99_us = latency_at(&l->latency, 99);
    l->r.p999_us = latency_at(&l->latency, 99.9);
    l->r.max_us = latency_at(&l->latency, 100);
    l->r.version = l->o->is_plain ? "-" : "DTLSv1.2";
    l->r.cipher = l->cipher;
}

static int prepare(struct coap_load *l)
{
    struct coap_option_writer w = coap_option_writer_into(l->options_bytes, OPTIONS_BYTES);
    struct random_source random = random_system();
    coap_uri_path_options(slice_text(l->o->path), &w);
    if (coap_option_writer_done(&w, &l->options) != OK) {
        return cli_fail(l->cli, "--path is no path of CoAP: /mq/a/b");
    }
    client_load_raise_descriptors();
    l->next_token = 1;
    l->askers = mem_array(l->o->n_publishers, sizeof(*l->askers));
    if (l->askers == NULL || loop_new(&l->loop) != OK) {
        return cli_fail(l->cli, "no memory");
    }
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        l->askers[i] =
            (struct asker){.load = l, .mid = (uint16_t)random_below(&random, UINT16_MAX)};
    }
    return GO_ON;
}

static void load_done(struct coap_load *l)
{
    for (uint32_t i = 0; l->askers != NULL && i < l->o->n_publishers; i++) {
        close_asker(&l->askers[i]);
    }
    l->askers = mem_free(l->askers);
    l->loop = loop_free(l->loop);
}

int client_load_coap_run(struct cli *cli, const struct load_order *o,
                         const struct load_watch *watch, struct load_result *ret)
{
    AUTO(load_done)
    struct coap_load l = {
        .cli = cli, .o = o, .watch = watch, .clock = clock_system(), .cipher = "-"};
    l.code = prepare(&l);
    if (l.code == GO_ON && o->shape == LOAD_COAP_GET) {
        fill(&l);
    }
    if (l.code == GO_ON) {
        measure(&l);
    }
    if (l.code == GO_ON) {
        drain(&l);
    }
    if (l.code == GO_ON) {
        *ret = l.r;
        return CLI_DONE;
    }
    return l.code;
}
