/* A run of a load: connections opened, turns, the measured time, the end. */
#include <sys/resource.h>
#include <unistd.h>

#include "app/cli/client_load_private.h"
#include "app/cli/client_trust.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/listener.h"

void load_give_up(struct load *l, int code)
{
    l->code = l->code == GO_ON ? code : l->code;
}

static void conn_failed(struct conn *c, enum err err)
{
    struct load *l = c->load;
    const struct client_target *t = l->o->target;
    if (l->code == GO_ON) {
        load_give_up(l, err == ERR_AUTH ? client_untrusted(l->cli, t, stream_verify(c->stream))
                                        : client_broken(l->cli, t, stream_error(c->stream)));
    }
}

/* Everything a connection has to say now, in one write. */
static void flush(struct conn *c)
{
    struct load *l = c->load;
    c->is_dirty = false;
    if (c->stream == NULL || stream_is_blocked(c->stream) || !stream_is_ready(c->stream)) {
        return; /* comes again when there is room */
    }
    struct wr w = wr_into(stream_io_out(l->io), STREAM_SEND_BYTES);
    struct slice acks = slice_head(buf_slice(&c->acks), STREAM_SEND_BYTES);
    wr_bytes(&w, acks);
    buf_drop(&c->acks, acks.n);
    /* so that the rate is spread over all of them */
    bool one_by_one = l->o->rate > 0 && l->o->shape != LOAD_LATENCY;
    uint64_t room = load_room(c);
    for (room = one_by_one && room > 1 ? 1 : room; room > 0 && wr_left(&w) >= c->packet_n; room--) {
        load_put_publish(c, &w);
    }
    struct slice part = wr_slice(&w);
    enum err err = part.n > 0 ? stream_write(c->stream, l->io, &part, 1) : OK;
    if (err != OK) {
        conn_failed(c, err);
    } else if (c->acks.n > 0 || (!one_by_one && room > 0)) {
        load_mark_dirty(l, c);
    }
}

static void on_ready(void *owner, uint32_t events)
{
    struct conn *c = owner;
    struct load *l = c->load;
    enum err err = OK;
    if (l->code != GO_ON) {
        return;
    }
    if ((events & EPOLLOUT) != 0) {
        err = stream_flush(c->stream, l->io);
        err = err == ERR_AGAIN ? OK : err;
        load_mark_dirty(l, c);
    }
    bool was_open = stream_is_ready(c->stream);
    while (err == OK && (events & ~(uint32_t)EPOLLOUT) != 0) {
        struct slice plain;
        err = stream_read(c->stream, l->io, &plain);
        if (err == OK) {
            load_take(c, plain);
        }
        if (!stream_has_pending(c->stream) || l->code != GO_ON) {
            break;
        }
    }
    if (!was_open && stream_is_ready(c->stream)) {
        load_mark_dirty(l, c); /* the CONNECT waits */
    }
    if (err != OK && c->phase == LEAVING) {
        load_close(c); /* as it was asked to */
    } else if (err != OK) {
        conn_failed(c, err);
    }
}

/* ---- turns ---- */

void load_turn(struct load *l, int wait_ms)
{
    if (loop_wait(l->loop, wait_ms) != OK) {
        load_give_up(l, cli_fail(l->cli, "epoll failed"));
        return;
    }
    l->now_us = l->clock.mono_us(l->clock.ctx);
    stream_io_now(l->io, load_now_ms(l));
    (void)loop_serve(l->loop);
    uint32_t n_now = l->n_dirty;
    for (uint32_t i = 0; i < n_now && l->code == GO_ON; i++) {
        flush(l->dirty[i]);
    }
    /* flush may have appended those with more to say */
    memmove(l->dirty, l->dirty + n_now, (l->n_dirty - n_now) * sizeof(struct conn *));
    l->n_dirty -= n_now;
    if ((l->is_measuring || l->is_filling) && l->now_us >= l->tick_us) {
        l->tick_us = l->now_us + UINT64_C(1000) * LOAD_TICK_MS;
        load_tell(l, l->is_measuring ? LOAD_TICK : LOAD_FILL_TICK);
    }
}

static int turn_ms(const struct load *l, uint64_t end_ms)
{
    if (l->n_dirty > 0 || l->o->shape == LOAD_LATENCY) {
        return 0; /* epoll's milliseconds are too long for what is due each few microseconds */
    }
    int wait_ms = loop_timeout(load_now_ms(l), end_ms);
    int most_ms = l->o->rate > 0 ? 1 : LOAD_TICK_MS;
    return wait_ms < most_ms ? wait_ms : most_ms;
}

static void run_until(struct load *l, uint64_t end_ms)
{
    while (l->code == GO_ON && load_now_ms(l) < end_ms) {
        load_turn(l, turn_ms(l, end_ms));
        if (l->step != NULL) {
            l->step(l);
        }
    }
}

void load_rest(struct load *l, uint32_t ms)
{
    run_until(l, load_now_ms(l) + ms);
}

static uint64_t n_counted(const struct load *l)
{
    return l->r.delivered + l->n_woken + l->r.filled + l->conns[0].n_acked;
}

bool load_wait(struct load *l, bool (*is_done)(const struct load *l))
{
    uint64_t had = n_counted(l), end_ms = load_now_ms(l) + DRAIN_MS;
    while (l->code == GO_ON && !is_done(l)) {
        load_turn(l, l->n_dirty > 0 ? 0 : 10);
        if (n_counted(l) != had) {
            had = n_counted(l);
            end_ms = load_now_ms(l) + DRAIN_MS;
        } else if (load_now_ms(l) >= end_ms) {
            return false;
        }
    }
    return l->code == GO_ON;
}

static uint64_t n_filled(const struct load *l)
{
    return l->o->shape == LOAD_IDLE       ? l->n_ready
           : l->o->shape == LOAD_RETAINED ? l->conns[0].n_acked
                                          : l->r.filled;
}

void load_tell(struct load *l, enum load_moment m)
{
    l->now_us = l->clock.mono_us(l->clock.ctx);
    l->is_filling = m == LOAD_FILL_BEGINS || m == LOAD_FILL_TICK;
    l->watch->moment(l->watch->ctx, m, l->now_us, l->is_filling ? n_filled(l) : l->r.delivered);
}

/* ---- connections ---- */

static bool has_packets(const struct load *l)
{
    switch (l->o->shape) {
    case LOAD_CONNECT:
    case LOAD_RESUMED:
    case LOAD_IDLE:
    case LOAD_COAP_GET:
    case LOAD_COAP_HANDSHAKE:
        return false;
    case LOAD_FAN_IN:
    case LOAD_FAN_OUT:
    case LOAD_PAIRS:
    case LOAD_DURABLE:
    case LOAD_LATENCY:
    case LOAD_RETAINED:
    case LOAD_SUBSCRIPTIONS:
        break;
    }
    return true;
}

static void make_conn(struct load *l, uint32_t at)
{
    struct conn *c = &l->conns[at];
    c->load = l;
    c->is_publisher = at < l->o->n_publishers;
    c->index = c->is_publisher ? at : at - l->o->n_publishers;
    if (!c->is_publisher || !has_packets(l)) {
        return;
    }
    if (l->o->shape == LOAD_DURABLE) {
        c->sent_us = mem_array(l->o->window, sizeof(*c->sent_us));
    }
    if (load_make_packet(c, l->o->payload_n) != OK ||
        (l->o->shape == LOAD_DURABLE && c->sent_us == NULL)) {
        load_give_up(l, cli_fail(l->cli, "no memory"));
    }
}

/* The name is looked up once: a storm of connections is not one of look-ups. */
static void remember_address(struct load *l, int fd)
{
    struct sockaddr_storage to;
    socklen_t n = sizeof(to);
    struct net_peer peer;
    char text[NET_PEER_TEXT_BYTES];
    if (getpeername(fd, (struct sockaddr *)&to, &n) != 0 || net_peer_from(&to, &peer) != OK) {
        return;
    }
    peer.port = 0;
    net_peer_text(&peer, text); /* "192.0.2.1:0", "[2001:db8::1]:0" */
    bool is_v6 = text[0] == '[';
    (void)!slice_to_text(
        slice_head(slice_from(slice_text(text), is_v6), strlen(text) - 2 - 2 * is_v6), l->address,
        sizeof(l->address));
}

void load_open(struct load *l, uint32_t at)
{
    struct conn *c = &l->conns[at];
    const struct client_target *t = l->o->target;
    int fd;
    c->began_us = l->clock.mono_us(l->clock.ctx);
    enum err err =
        net_connect_tcp(l->address[0] != '\0' ? l->address : t->host, t->port, CONNECT_MS, &fd);
    if (err != OK) {
        load_give_up(l, client_unreached(l->cli, t, err));
        return;
    }
    if (l->address[0] == '\0') {
        remember_address(l, fd);
    }
    const struct ws_target ws = {.host = t->host, .port = t->port, .path = t->path};
    c->phase = CONNECTING;
    err = stream_new(fd, STREAM_CLIENT, l->tls, &c->stream);
    err = err == OK && t->is_websocket ? stream_upgrade_client(c->stream, &ws, PACKET_MAX) : err;
    err = err == OK ? stream_resume(c->stream, c->session) : err;
    err = err == OK ? stream_attach(c->stream, l->loop, on_ready, c) : err;
    if (err != OK) {
        load_give_up(l, cli_fail(l->cli, "no memory or descriptors for connection %u", at + 1));
        return;
    }
    load_say_connect(c);
    err = stream_start(c->stream, l->io);
    if (err != OK) {
        conn_failed(c, err);
    }
}

void load_close(struct conn *c)
{
    c->stream = stream_free(c->stream);
    c->phase = GONE;
    c->rest.n = 0;
    c->acks.n = 0;
}

void load_open_until(struct load *l, uint32_t n)
{
    uint64_t end_ms = load_now_ms(l) + OPEN_MS;
    stream_io_now(l->io, load_now_ms(l));
    while (l->code == GO_ON && l->n_ready < n) {
        if (l->n_made < n && l->n_made - l->n_ready < OPENING_MAX) {
            make_conn(l, l->n_made);
            load_open(l, l->n_made++);
            load_turn(l, 0);
        } else {
            load_turn(l, 100);
        }
        if (load_now_ms(l) > end_ms) {
            load_give_up(l, cli_fail(l->cli, "%u of %u connections were open after %d s",
                                     l->n_ready, n, OPEN_MS / 1000));
        }
    }
    if (l->code == GO_ON) {
        l->r.version = stream_version(l->conns[0].stream);
        l->r.cipher = stream_cipher(l->conns[0].stream);
    }
}

/* ---- the measured time ---- */

uint64_t client_load_own_cpu_us(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0
               ? (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
                     (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)
               : 0;
}

void load_measure_begin(struct load *l)
{
    load_tell(l, LOAD_BEGINS);
    if (l->o->shape != LOAD_LATENCY) { /* there each message knows when it was due */
        l->latency = (struct latency){0};
    }
    l->is_measuring = true;
    l->measure_us[0] = l->now_us;
    l->tick_us = l->now_us + UINT64_C(1000) * LOAD_TICK_MS;
    l->r.counted = l->r.delivered;
    l->r.own_cpu_us = client_load_own_cpu_us();
}

void load_measure_end(struct load *l)
{
    l->is_measuring = false;
    l->measure_us[1] = l->clock.mono_us(l->clock.ctx);
    l->r.measured_us = l->measure_us[1] - l->measure_us[0];
    l->r.own_cpu_us = client_load_own_cpu_us() - l->r.own_cpu_us;
    l->r.counted = l->r.delivered - l->r.counted;
    load_tell(l, LOAD_ENDS);
}

void load_measure(struct load *l)
{
    l->is_sending = true;
    l->begin_us = l->now_us = l->clock.mono_us(l->clock.ctx);
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        load_mark_dirty(l, &l->conns[i]);
    }
    load_rest(l, l->o->warm_ms);
    load_measure_begin(l);
    load_rest(l, l->o->measure_ms);
    load_measure_end(l);
}

static uint64_t n_expected(const struct load *l)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        const struct conn *c = &l->conns[i];
        n += (l->o->shape == LOAD_LATENCY ? c->n_owed : c->n_sent) * l->fan;
    }
    return n;
}

static bool has_arrived(const struct load *l)
{
    return l->r.delivered >= n_expected(l);
}

void load_drain(struct load *l)
{
    l->is_sending = false;
    l->step = NULL;
    (void)load_wait(l, has_arrived);
    uint64_t expected = n_expected(l);
    l->r.sent = expected / l->fan;
    l->r.lost = expected - l->r.delivered;
}

static void load_messages(struct load *l)
{
    bool is_latency = l->o->shape == LOAD_LATENCY, is_durable = l->o->shape == LOAD_DURABLE;
    load_open_until(l, l->n_conns);
    if (is_durable) {
        load_sleep(l);
    }
    l->step = is_latency ? load_pace_exactly : l->o->rate > 0 ? load_pace : NULL;
    load_measure(l);
    load_drain(l);
    if (is_durable && l->o->n_subscribers > 0 && l->code == GO_ON) {
        load_collect(l);
    }
}

static void goodbye(struct load *l)
{
    for (uint32_t i = 0; l->code == GO_ON && i < l->n_made; i++) {
        if (l->conns[i].stream != NULL) {
            load_say_disconnect(&l->conns[i]);
        }
    }
    load_turn(l, 0);
}

static void done(struct load *l)
{
    for (uint32_t i = 0; l->conns != NULL && i < l->n_conns; i++) {
        struct conn *c = &l->conns[i];
        c->stream = stream_free(c->stream);
        c->session = stream_session_free(c->session);
        buf_done(&c->rest);
        buf_wipe(&c->acks);
        c->packet = mem_free(c->packet);
        c->sent_us = mem_free(c->sent_us);
    }
    l->conns = mem_free(l->conns);
    l->dirty = mem_free(l->dirty);
    l->seen = mem_free(l->seen);
    l->n_told = mem_free(l->n_told);
    l->io = stream_io_free(l->io);
    l->tls = tls_free(l->tls);
    l->loop = loop_free(l->loop);
}

void client_load_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* How many, and whose each of them is. */
static size_t place_seen(struct load *l)
{
    const struct load_order *o = l->o;
    switch (o->shape) {
    case LOAD_DURABLE:
    case LOAD_SUBSCRIPTIONS:
        l->seen_by_sub = o->n_publishers;
        l->seen_by_pub = 1;
        return (size_t)o->n_publishers * (o->n_subscribers + 1);
    case LOAD_RETAINED:
        return o->count;
    case LOAD_FAN_IN:
        l->seen_by_pub = 1;
        return l->n_conns;
    case LOAD_FAN_OUT:
    case LOAD_PAIRS:
    case LOAD_LATENCY:
    case LOAD_CONNECT:
    case LOAD_RESUMED:
    case LOAD_IDLE:
    case LOAD_COAP_GET:
    case LOAD_COAP_HANDSHAKE:
        break;
    }
    l->seen_by_sub = 1;
    return l->n_conns;
}

static int prepare(struct load *l)
{
    const struct client_target *t = l->o->target;
    struct tls_client_config tls = {.ca_pem = buf_slice(&t->ca),
                                    .host = t->host,
                                    .takes_tickets = l->o->shape != LOAD_CONNECT,
                                    .chain_pem = buf_slice(&t->chain),
                                    .key_pem = buf_slice(&t->key)};
    char text[TLS_TEXT_BYTES];
    client_load_raise_descriptors();
    l->n_conns = l->o->n_publishers + l->o->n_subscribers;
    l->fan = l->o->shape == LOAD_FAN_OUT ? l->o->n_subscribers : 1;
    l->conns = mem_array(l->n_conns, sizeof(*l->conns));
    l->dirty = mem_array((size_t)l->n_conns * 2, sizeof(struct conn *));
    l->seen = mem_array(place_seen(l), sizeof(*l->seen));
    l->n_told = mem_array((size_t)l->o->n_publishers * (l->o->n_subscribers + 1), sizeof(uint64_t));
    if (l->conns == NULL || l->dirty == NULL || l->seen == NULL || l->n_told == NULL ||
        loop_new(&l->loop) != OK || stream_io_new(&l->io) != OK) {
        return cli_fail(l->cli, "no memory");
    }
    if (!l->o->is_plain && tls_client_new(&tls, text, &l->tls) != OK) {
        return cli_fail(l->cli, "certificates: %s", text);
    }
    return GO_ON;
}

static void run(struct load *l)
{
    switch (l->o->shape) {
    case LOAD_CONNECT:
    case LOAD_RESUMED:
        load_storm(l);
        break;
    case LOAD_IDLE:
        load_idle(l);
        break;
    case LOAD_RETAINED:
        load_retained(l);
        break;
    case LOAD_SUBSCRIPTIONS:
        load_subscriptions(l);
        break;
    case LOAD_FAN_IN:
    case LOAD_FAN_OUT:
    case LOAD_PAIRS:
    case LOAD_DURABLE:
    case LOAD_LATENCY:
        load_messages(l);
        break;
    case LOAD_COAP_GET:
    case LOAD_COAP_HANDSHAKE:
        load_give_up(l, cli_fail(l->cli, "that is no load of MQTT"));
        break;
    }
}

static void take_latency(struct load *l)
{
    l->r.has_latency = l->latency.n > 0;
    l->r.p50_us = latency_at(&l->latency, 50);
    l->r.p99_us = latency_at(&l->latency, 99);
    l->r.p999_us = latency_at(&l->latency, 99.9);
    l->r.max_us = latency_at(&l->latency, 100);
}

bool client_load_is_right(const struct load_result *r)
{
    return r->lost == 0 && r->duplicates == 0 && r->misordered == 0 && r->foreign == 0 &&
           r->unasked == 0 && r->unresumed == 0 && r->forgotten == 0;
}

int client_load_run(struct cli *cli, const struct load_order *o, const struct load_watch *watch,
                    struct load_result *ret)
{
    AUTO(done)
    struct load l = {.cli = cli,
                     .o = o,
                     .clock = clock_system(),
                     .watch = watch,
                     .n_limit = UINT64_MAX,
                     .r = {.version = "-", .cipher = "-"}};
    l.code = prepare(&l);
    if (l.code == GO_ON) {
        run(&l);
    }
    if (l.code == GO_ON) {
        take_latency(&l);
        goodbye(&l);
        *ret = l.r;
    }
    return l.code == GO_ON ? CLI_DONE : l.code;
}
