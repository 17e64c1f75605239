#include <sys/resource.h>
#include <unistd.h>

#include "app/cli/client_load_private.h"
#include "app/cli/client_trust.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/listener.h"
#include "net/stream.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/varint.h"

static void mark_dirty(struct load *l, struct conn *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        l->dirty[l->n_dirty++] = c;
    }
}

void load_give_up(struct load *l, int code)
{
    l->code = l->code == GO_ON ? code : l->code;
}

/* ---- packets of ours ---- */

static void say(struct conn *c, const struct wr *w)
{
    if (!wr_ok(w) || buf_append(&c->acks, wr_slice(w), ACKS_MAX) != OK) {
        load_give_up(c->load, cli_fail(c->load->cli, "no memory"));
    }
    mark_dirty(c->load, c);
}

static void say_ack(struct conn *c, enum mqtt_type type, uint16_t id)
{
    uint8_t bytes[4];
    struct wr w = wr_into(bytes, sizeof(bytes));
    mqtt_fixed_encode(&w, type, type == MQTT_PUBREL ? 2 : 0, 2);
    wr_u16(&w, id);
    say(c, &w);
}

static void say_connect(struct conn *c)
{
    const struct load_order *o = c->load->o;
    const struct client_target *t = o->target;
    char id[LOAD_PREFIX_BYTES + 16];
    uint8_t bytes[2048];
    (void)snprintf(id, sizeof(id), "%s-%c%u", o->prefix, c->is_publisher ? 'p' : 's', c->index);
    struct mqtt_connect m = {.version = o->version,
                             .clean_start = c->is_publisher ||
                                            (o->shape != LOAD_DURABLE && !o->is_kept) ||
                                            c->load->stage == STAGE_ERASE,
                             .client_id = slice_text(id),
                             .has_username = t->username.n > 0,
                             .has_password = t->password.n > 0,
                             .username = buf_slice(&t->username),
                             .password = buf_slice(&t->password)};
    if (o->version == MQTT_V5) {
        mqtt_props_set_number(&m.props, MQTT_PROP_RECEIVE_MAXIMUM, UINT16_MAX);
    }
    if (o->version == MQTT_V5 && !m.clean_start) {
        mqtt_props_set_number(&m.props, MQTT_PROP_SESSION_EXPIRY, SLEEP_S);
    }
    struct wr w = wr_into(bytes, sizeof(bytes));
    (void)!mqtt_connect_encode(&m, &w);
    say(c, &w);
}

static void say_subscribe(struct conn *c)
{
    const struct load_order *o = c->load->o;
    char filter[LOAD_PREFIX_BYTES + 16];
    uint8_t bytes[256], list[128];
    if (o->shape == LOAD_PAIRS) {
        (void)snprintf(filter, sizeof(filter), "%s/%u", o->prefix, c->index);
    } else {
        (void)snprintf(filter, sizeof(filter), "%s/+", o->prefix);
    }
    struct mqtt_subscription s = {.whole = slice_text(filter), .qos = o->qos};
    struct wr entry = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
    mqtt_subscription_write(&entry, &s, o->version);
    struct mqtt_subscribe m = {.packet_id = 1, .list = wr_slice(&entry), .n_filters = 1};
    (void)!mqtt_subscribe_encode(&m, o->version, &w);
    say(c, &w);
}

/* The one PUBLISH of a publisher, and where the changing parts stand in it. */
static enum err make_packet(struct conn *c)
{
    const struct load_order *o = c->load->o;
    char topic[LOAD_PREFIX_BYTES + 16];
    (void)snprintf(topic, sizeof(topic), "%s/%u", o->prefix, c->index);
    struct mqtt_publish_out out = {.topic = slice_text(topic),
                                   .payload_n = o->payload_n,
                                   .packet_id = o->qos > 0 ? 1 : 0,
                                   .qos = o->qos};
    c->packet_n = mqtt_publish_packet_size(&out, o->version);
    c->packet = mem_zalloc(c->packet_n);
    if (c->packet == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_into(c->packet, c->packet_n);
    TRY(mqtt_publish_encode_head(&out, o->version, &w));
    /* the id stands behind the topic; properties of MQTT 5, one byte of none, behind it */
    c->id_at = w.at - 2 - (o->version == MQTT_V5 ? 1 : 0);
    wr_u32(&w, c->index);
    c->number_at = w.at;
    return w.err;
}

static uint16_t id_of(uint64_t number)
{
    return (uint16_t)(number % UINT16_MAX + 1);
}

/* By whole milliseconds: a server that answers in many small portions must not be sent smaller ones
 * for it, each of which wakes it. */
static uint64_t due(const struct load *l)
{
    return (l->now_us - l->begin_us) / 1000 * l->o->rate / 1000;
}

static bool may_send(const struct conn *c)
{
    const struct load *l = c->load;
    const struct load_order *o = l->o;
    if (!c->is_publisher || c->phase != READY || !l->is_sending) {
        return false;
    }
    if (o->rate > 0 && l->n_sent >= due(l)) {
        return false; /* not its time yet */
    }
    uint64_t open = c->n_sent * l->fan - c->n_delivered;
    return open <= (uint64_t)(o->window - 1) * l->fan &&
           (o->qos == 0 || c->n_sent - c->n_acked < o->window);
}

static void put_publish(struct conn *c, struct wr *w)
{
    struct wr number = wr_into(c->packet + c->number_at, 8);
    wr_u64(&number, c->n_sent);
    if (c->load->o->qos > 0) {
        struct wr id = wr_into(c->packet + c->id_at, 2);
        wr_u16(&id, id_of(c->n_sent));
    }
    wr_bytes(w, slice_of(c->packet, c->packet_n));
    if (c->sent_us != NULL) {
        c->sent_us[c->n_sent % c->load->o->window] = c->load->now_us;
    }
    c->n_sent++;
    c->load->n_sent++;
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
    if (stream_is_blocked(c->stream) || !stream_is_ready(c->stream)) {
        return; /* comes again when there is room */
    }
    struct wr w = wr_into(stream_io_out(l->io), STREAM_SEND_BYTES);
    struct slice acks = slice_head(buf_slice(&c->acks), STREAM_SEND_BYTES);
    wr_bytes(&w, acks);
    buf_drop(&c->acks, acks.n);
    bool one_by_one = l->o->rate > 0; /* so that the rate is spread over all of them */
    while (may_send(c) && wr_left(&w) >= c->packet_n) {
        put_publish(c, &w);
        if (one_by_one) {
            break;
        }
    }
    struct slice part = wr_slice(&w);
    enum err err = part.n > 0 ? stream_write(c->stream, l->io, &part, 1) : OK;
    if (err != OK) {
        conn_failed(c, err);
    } else if (c->acks.n > 0 || (!one_by_one && may_send(c))) {
        mark_dirty(l, c);
    }
}

/* ---- packets of the server's ---- */

static size_t seen_at(const struct load *l, const struct conn *sub, uint32_t from)
{
    switch (l->o->shape) {
    case LOAD_FAN_IN:
        return from;
    case LOAD_DURABLE:
        return (size_t)sub->index * l->o->n_publishers + from;
    case LOAD_FAN_OUT:
    case LOAD_PAIRS:
        break;
    }
    return sub->index;
}

static void count_delivery(struct load *l, const struct conn *sub, uint32_t from, uint64_t number)
{
    bool is_ours = from < l->o->n_publishers && (l->o->shape != LOAD_PAIRS || from == sub->index);
    struct conn *pub = is_ours ? &l->conns[from] : NULL;
    if (pub == NULL || number >= pub->n_sent) {
        l->r.foreign++;
        return;
    }
    struct seen *s = &l->seen[seen_at(l, sub, from)];
    if (number >= s->next) {
        uint64_t ahead = number - s->next + 1;
        s->bits = ahead < SEEN_BITS ? s->bits << ahead | 1 : 1;
        s->next = number + 1;
    } else {
        uint64_t back = s->next - 1 - number;
        bool again = back >= SEEN_BITS || (s->bits >> back & 1) != 0;
        l->r.duplicates += again;
        l->r.misordered += !again;
        if (again) {
            return;
        }
        s->bits |= UINT64_C(1) << back;
    }
    if (l->o->shape == LOAD_DURABLE) {
        l->n_woken++;
        return;
    }
    l->r.delivered++;
    pub->n_delivered++;
    if (may_send(pub)) {
        mark_dirty(l, pub);
    }
}

static void on_publish(struct conn *c, uint8_t flags, struct slice body)
{
    struct rd r = rd_from(body);
    uint8_t qos = flags >> 1 & 3;
    (void)rd_block16(&r);
    uint16_t id = qos > 0 ? rd_u16(&r) : 0;
    if (c->load->o->version == MQTT_V5) {
        (void)rd_bytes(&r, mqtt_varint_read(&r));
    }
    uint32_t from = rd_u32(&r);
    uint64_t number = rd_u64(&r);
    if (!rd_ok(&r) || rd_left(&r) != c->load->o->payload_n - LOAD_PAYLOAD_MIN) {
        c->load->r.foreign++;
    } else {
        count_delivery(c->load, c, from, number);
    }
    if (qos > 0) {
        say_ack(c, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, id);
    }
}

static void refused(struct conn *c, const char *what, uint8_t code)
{
    const struct load *l = c->load;
    load_give_up(
        c->load,
        cli_fail(l->cli,
                 "the server refuses %s: %s (0x%02x).\n  bench needs an identity that may use "
                 "several client ids at once and publish and subscribe to %s/#:\n"
                 "    bench: { kind: service, many: yes, client_id: \"*\", publish: [ \"%s/#\" ], "
                 "subscribe: [ \"%s/#\" ] }",
                 what, l->o->version == MQTT_V5 || code >= 0x80 ? mqtt_reason_name(code) : "code",
                 code, l->o->prefix, l->o->prefix, l->o->prefix));
}

static void now_ready(struct conn *c)
{
    c->phase = READY;
    c->load->n_ready++;
}

/* The first two packets of a connection are decoded with all care. */
static void on_opening(struct conn *c, enum mqtt_type type, const struct mqtt_input *in)
{
    struct mqtt_connack connack;
    struct mqtt_suback suback;
    if (c->phase == CONNECTING && type == MQTT_CONNACK &&
        mqtt_connack_decode(in, NULL, &connack) == OK) {
        if (connack.code != 0) {
            refused(c, "the connection", connack.code);
        } else if (c->is_publisher || c->load->stage != STAGE_BEGIN) {
            now_ready(c);
        } else {
            c->phase = SUBSCRIBING;
            say_subscribe(c);
        }
    } else if (c->phase == SUBSCRIBING && type == MQTT_SUBACK &&
               mqtt_suback_decode(in, NULL, &suback) == OK) {
        if (suback.codes.p[0] >= 0x80) {
            refused(c, "the subscription", suback.codes.p[0]);
        } else {
            now_ready(c);
        }
    } else {
        load_give_up(c->load,
                     cli_fail(c->load->cli, "the server's answer is not MQTT as it should be"));
    }
}

static void acked(struct conn *c)
{
    struct load *l = c->load;
    if (c->sent_us != NULL) {
        uint64_t us = l->now_us - c->sent_us[c->n_acked % l->o->window];
        latency_add(&l->latency, us);
        c->n_delivered++;
        l->r.delivered++;
    }
    c->n_acked++;
    mark_dirty(l, c);
}

static void on_ack(struct conn *c, enum mqtt_type type, struct slice body)
{
    struct rd r = rd_from(body);
    uint16_t id = rd_u16(&r);
    uint8_t reason = rd_left(&r) > 0 ? rd_u8(&r) : 0;
    if (reason >= 0x80 && (type == MQTT_PUBACK || type == MQTT_PUBREC)) {
        refused(c, "a message", reason);
    } else if (type == MQTT_PUBREC || (type == MQTT_PUBREL)) {
        say_ack(c, type == MQTT_PUBREC ? MQTT_PUBREL : MQTT_PUBCOMP, id);
    } else if (c->is_publisher && id == id_of(c->n_acked)) {
        acked(c);
    } else {
        load_give_up(c->load, cli_fail(c->load->cli, "acknowledgements out of order: id %u, not %u",
                                       id, id_of(c->n_acked)));
    }
}

static void on_packet(struct conn *c, const struct mqtt_fixed *fixed, struct slice body)
{
    struct load *l = c->load;
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {.body = body,
                            .flags = fixed->flags,
                            .version = l->o->version,
                            .sender = MQTT_FROM_SERVER,
                            .limits = &limits};
    if (c->phase != READY) {
        on_opening(c, fixed->type, &in);
    } else if (fixed->type == MQTT_PUBLISH && !c->is_publisher) {
        on_publish(c, fixed->flags, body);
    } else if ((unsigned)fixed->type >= MQTT_PUBACK && (unsigned)fixed->type <= MQTT_PUBCOMP) {
        on_ack(c, fixed->type, body);
    } else if (fixed->type == MQTT_DISCONNECT) {
        uint8_t reason = body.n > 0 ? body.p[0] : 0;
        load_give_up(l, cli_fail(l->cli, "the server ended a connection: %s (0x%02x)",
                                 mqtt_reason_name(reason), reason));
    } else {
        load_give_up(l, cli_fail(l->cli, "the server sent a packet out of place"));
    }
}

static void take(struct conn *c, struct slice plain)
{
    struct load *l = c->load;
    struct slice in = plain;
    if (c->rest.n > 0) {
        if (buf_append(&c->rest, plain, REST_MAX) != OK) {
            load_give_up(l, cli_fail(l->cli, "no memory"));
            return;
        }
        in = buf_slice(&c->rest);
    }
    size_t before = in.n;
    while (l->code == GO_ON) {
        struct mqtt_fixed fixed;
        struct slice body;
        enum err err = mqtt_packet_cut(&in, PACKET_MAX, NULL, &fixed, &body);
        if (err == ERR_AGAIN) {
            break;
        }
        if (err != OK) {
            load_give_up(l, cli_fail(l->cli, "the server's bytes are not MQTT"));
            return;
        }
        on_packet(c, &fixed, body);
    }
    if (c->rest.n > 0) {
        buf_drop(&c->rest, before - in.n);
    } else if (in.n > 0 && buf_append(&c->rest, in, REST_MAX) != OK) {
        load_give_up(l, cli_fail(l->cli, "no memory"));
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
        mark_dirty(l, c);
    }
    bool was_open = stream_is_ready(c->stream);
    while (err == OK && (events & ~(uint32_t)EPOLLOUT) != 0) {
        struct slice plain;
        err = stream_read(c->stream, l->io, &plain);
        if (err == OK) {
            take(c, plain);
        }
        if (!stream_has_pending(c->stream) || l->code != GO_ON) {
            break;
        }
    }
    if (!was_open && stream_is_ready(c->stream)) {
        mark_dirty(l, c); /* the CONNECT waits */
    }
    if (err != OK) {
        conn_failed(c, err);
    }
}

/* ---- the run ---- */

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
}

static void make_conn(struct load *l, uint32_t at)
{
    struct conn *c = &l->conns[at];
    c->load = l;
    c->is_publisher = at < l->o->n_publishers;
    c->index = c->is_publisher ? at : at - l->o->n_publishers;
    if (!c->is_publisher) {
        return;
    }
    if (l->o->shape == LOAD_DURABLE) {
        c->sent_us = mem_array(l->o->window, sizeof(*c->sent_us));
    }
    if (make_packet(c) != OK || (l->o->shape == LOAD_DURABLE && c->sent_us == NULL)) {
        load_give_up(l, cli_fail(l->cli, "no memory"));
    }
}

void load_open(struct load *l, uint32_t at)
{
    struct conn *c = &l->conns[at];
    const struct client_target *t = l->o->target;
    int fd;
    enum err err = net_connect_tcp(t->host, t->port, CONNECT_MS, &fd);
    if (err != OK) {
        load_give_up(l, client_unreached(l->cli, t, err));
        return;
    }
    err = stream_new(fd, STREAM_CLIENT, l->tls, &c->stream);
    err = err == OK ? stream_resume(c->stream, c->session) : err;
    err = err == OK ? stream_attach(c->stream, l->loop, on_ready, c) : err;
    if (err != OK) {
        load_give_up(l, cli_fail(l->cli, "no memory or descriptors for connection %u", at + 1));
        return;
    }
    say_connect(c);
    err = stream_start(c->stream, l->io);
    if (err != OK) {
        conn_failed(c, err);
    }
}

static void open_all(struct load *l)
{
    uint64_t end_ms = load_now_ms(l) + OPEN_MS;
    stream_io_now(l->io, load_now_ms(l));
    while (l->code == GO_ON && l->n_ready < l->n_conns) {
        if (l->n_made < l->n_conns && l->n_made - l->n_ready < OPENING_MAX) {
            make_conn(l, l->n_made);
            load_open(l, l->n_made++);
            load_turn(l, 0);
        } else {
            load_turn(l, 100);
        }
        if (load_now_ms(l) > end_ms) {
            load_give_up(l, cli_fail(l->cli, "%u of %u connections were open after %d s",
                                     l->n_ready, l->n_conns, OPEN_MS / 1000));
        }
    }
}

/* At a given rate each millisecond brings the publishers that are due, one after the other. */
static void pace(struct load *l)
{
    uint64_t until = due(l);
    for (uint32_t i = 0; l->n_sent + i < until && i < l->o->n_publishers; i++) {
        mark_dirty(l, &l->conns[l->pace_at++ % l->o->n_publishers]);
    }
}

static void run_until(struct load *l, uint64_t end_ms)
{
    while (l->code == GO_ON && load_now_ms(l) < end_ms) {
        int wait_ms = l->o->rate > 0 ? 1 : loop_timeout(load_now_ms(l), end_ms);
        load_turn(l, l->n_dirty > 0 ? 0 : wait_ms);
        pace(l);
    }
}

static uint64_t own_cpu_us(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0
               ? (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
                     (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec)
               : 0;
}

static void measure(struct load *l, load_mark *mark, void *ctx)
{
    l->is_sending = true;
    l->begin_us = l->now_us = l->clock.mono_us(l->clock.ctx);
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        mark_dirty(l, &l->conns[i]);
    }
    run_until(l, load_now_ms(l) + l->o->warm_ms);
    mark(ctx, false);
    l->latency = (struct latency){0};
    uint64_t begin_us = l->clock.mono_us(l->clock.ctx), cpu_us = own_cpu_us();
    uint64_t before = l->r.delivered;
    run_until(l, load_now_ms(l) + l->o->measure_ms);
    l->r.measured_us = l->clock.mono_us(l->clock.ctx) - begin_us;
    l->r.own_cpu_us = own_cpu_us() - cpu_us;
    l->r.counted = l->r.delivered - before;
    l->r.p50_us = latency_at(&l->latency, 50);
    l->r.p99_us = latency_at(&l->latency, 99);
    mark(ctx, true);
}

static uint64_t n_expected(const struct load *l)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < l->o->n_publishers; i++) {
        n += l->conns[i].n_sent * l->fan;
    }
    return n;
}

/* What is under way arrives; what does not, is lost. */
static void drain(struct load *l)
{
    uint64_t end_ms = load_now_ms(l) + DRAIN_MS;
    l->is_sending = false;
    uint64_t expected = n_expected(l);
    while (l->code == GO_ON && l->r.delivered < expected && load_now_ms(l) < end_ms) {
        load_turn(l, 10);
    }
    l->r.sent = expected / l->fan;
    l->r.lost = expected - l->r.delivered;
}

static void goodbye(struct load *l)
{
    for (uint32_t i = 0; l->code == GO_ON && i < l->n_made; i++) {
        if (l->conns[i].stream == NULL) {
            continue;
        }
        uint8_t bytes[8];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct mqtt_disconnect m = {0};
        (void)!mqtt_disconnect_encode(&m, l->o->version, &w);
        say(&l->conns[i], &w);
    }
    load_turn(l, 0);
}

static void load_done(struct load *l)
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
    l->io = stream_io_free(l->io);
    l->tls = tls_free(l->tls);
    l->loop = loop_free(l->loop);
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int prepare(struct load *l)
{
    const struct client_target *t = l->o->target;
    struct tls_client_config tls = {.ca_pem = buf_slice(&t->ca),
                                    .host = t->host,
                                    .takes_tickets = true,
                                    .chain_pem = buf_slice(&t->chain),
                                    .key_pem = buf_slice(&t->key)};
    char text[TLS_TEXT_BYTES];
    raise_descriptors();
    l->n_conns = l->o->n_publishers + l->o->n_subscribers;
    l->fan = l->o->shape == LOAD_FAN_OUT ? l->o->n_subscribers : 1;
    l->conns = mem_array(l->n_conns, sizeof(*l->conns));
    l->dirty = mem_array((size_t)l->n_conns * 2, sizeof(struct conn *));
    size_t n_seen = l->o->shape == LOAD_DURABLE
                        ? (size_t)l->o->n_publishers * (l->o->n_subscribers + 1)
                        : l->n_conns;
    l->seen = mem_array(n_seen, sizeof(*l->seen));
    if (l->conns == NULL || l->dirty == NULL || l->seen == NULL || loop_new(&l->loop) != OK ||
        stream_io_new(&l->io) != OK) {
        return cli_fail(l->cli, "no memory");
    }
    if (!l->o->is_plain && tls_client_new(&tls, text, &l->tls) != OK) {
        return cli_fail(l->cli, "certificates: %s", text);
    }
    return GO_ON;
}

int client_load_run(struct cli *cli, const struct load_order *o, load_mark *mark, void *ctx,
                    struct load_result *ret)
{
    AUTO(load_done) struct load l = {.cli = cli, .o = o, .clock = clock_system()};
    l.code = prepare(&l);
    if (l.code == GO_ON) {
        open_all(&l);
    }
    if (l.code != GO_ON) {
        return l.code;
    }
    l.r.version = stream_version(l.conns[0].stream);
    l.r.cipher = stream_cipher(l.conns[0].stream);
    if (o->shape == LOAD_DURABLE) {
        load_sleep(&l);
    }
    measure(&l, mark, ctx);
    drain(&l);
    if (o->shape == LOAD_DURABLE && o->n_subscribers > 0 && l.code == GO_ON) {
        load_collect(&l);
    }
    goodbye(&l);
    *ret = l.r;
    return l.code == GO_ON ? CLI_DONE : l.code;
}
