/* What the connections of a load say and hear: MQTT, by hand where it has to be fast. */
#include "app/cli/client_load_private.h"
#include "base/mem.h"
#include "base/rd.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/varint.h"

enum { NUMBER_AT = 4 }; /* in the payload, behind the index */

void load_mark_dirty(struct load *l, struct conn *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        l->dirty[l->n_dirty++] = c;
    }
}

/* What each message bears, in network order and without a loop: compilers make one load or store
 * and a swap of it. */
static uint32_t index_in(const uint8_t b[4])
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint64_t number_in(const uint8_t b[8])
{
    return (uint64_t)b[0] << 56 | (uint64_t)b[1] << 48 | (uint64_t)b[2] << 40 |
           (uint64_t)b[3] << 32 | (uint64_t)b[4] << 24 | (uint64_t)b[5] << 16 |
           (uint64_t)b[6] << 8 | b[7];
}

static void put_number(uint8_t b[8], uint64_t number)
{
    b[0] = (uint8_t)(number >> 56);
    b[1] = (uint8_t)(number >> 48);
    b[2] = (uint8_t)(number >> 40);
    b[3] = (uint8_t)(number >> 32);
    b[4] = (uint8_t)(number >> 24);
    b[5] = (uint8_t)(number >> 16);
    b[6] = (uint8_t)(number >> 8);
    b[7] = (uint8_t)number;
}

/* ---- packets of ours ---- */

static void say(struct conn *c, struct slice bytes)
{
    if (bytes.n == 0 || buf_append(&c->acks, bytes, ACKS_MAX) != OK) {
        load_give_up(c->load, cli_fail(c->load->cli, "no memory"));
    }
    load_mark_dirty(c->load, c);
}

void load_say(struct conn *c, const struct wr *w)
{
    say(c, wr_slice(w));
}

static void say_ack(struct conn *c, enum mqtt_type type, uint16_t id)
{
    uint8_t flags = type == MQTT_PUBREL ? 2 : 0;
    const uint8_t bytes[] = {(uint8_t)((unsigned)type << 4 | flags), 2, (uint8_t)(id >> 8),
                             (uint8_t)id};
    say(c, slice_of(bytes, sizeof(bytes)));
}

void load_say_connect(struct conn *c)
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
    load_say(c, &w);
}

void load_say_subscribe(struct conn *c)
{
    const struct load_order *o = c->load->o;
    char filter[LOAD_PREFIX_BYTES + 16];
    uint8_t bytes[256], list[128];
    if (load_is_pairs(c->load)) {
        (void)snprintf(filter, sizeof(filter), "%s/%u", o->prefix, c->index);
    } else {
        (void)snprintf(filter, sizeof(filter), "%s/%s", o->prefix,
                       o->shape == LOAD_RETAINED ? "#" : "+");
    }
    struct mqtt_subscription s = {.whole = slice_text(filter),
                                  .qos = o->shape == LOAD_RETAINED ? 0 : o->qos};
    struct wr entry = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
    mqtt_subscription_write(&entry, &s, o->version);
    struct mqtt_subscribe m = {.packet_id = 1, .list = wr_slice(&entry), .n_filters = 1};
    (void)!mqtt_subscribe_encode(&m, o->version, &w);
    load_say(c, &w);
}

void load_say_disconnect(struct conn *c)
{
    uint8_t bytes[8];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_disconnect m = {0};
    (void)!mqtt_disconnect_encode(&m, c->load->o->version, &w);
    load_say(c, &w);
}

enum err load_make_packet(struct conn *c, uint32_t payload_n)
{
    const struct load_order *o = c->load->o;
    bool is_retained = o->shape == LOAD_RETAINED, is_one_of = o->shape == LOAD_SUBSCRIPTIONS;
    char topic[LOAD_PREFIX_BYTES + 16];
    int n = is_retained || is_one_of
                ? snprintf(topic, sizeof(topic), "%s/%08x%s", o->prefix, 0, is_one_of ? "/x" : "")
                : snprintf(topic, sizeof(topic), "%s/%u", o->prefix, c->index);
    struct mqtt_publish_out out = {.topic = slice_of(topic, (size_t)n),
                                   .payload_n = payload_n,
                                   .packet_id = o->qos > 0 ? 1 : 0,
                                   .qos = o->qos,
                                   .retain = is_retained};
    c->packet_n = mqtt_publish_packet_size(&out, o->version);
    c->packet = mem_free(c->packet);
    c->packet = mem_zalloc(c->packet_n);
    if (c->packet == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_into(c->packet, c->packet_n);
    TRY(mqtt_publish_encode_head(&out, o->version, &w));
    /* the id stands behind the topic; properties of MQTT 5, one byte of none, behind it */
    size_t topic_end = w.at - (o->qos > 0 ? 2 : 0) - (o->version == MQTT_V5 ? 1 : 0);
    c->id_at = topic_end;
    c->subject_at = is_retained || is_one_of ? topic_end - SUBJECT_DIGITS - (is_one_of ? 2 : 0) : 0;
    if (payload_n == 0) {
        c->number_at = 0; /* it removes what is retained, and says nothing */
        return w.err;
    }
    wr_u32(&w, c->index);
    c->number_at = w.at;
    return w.err;
}

static uint16_t id_of(uint64_t number)
{
    return (uint16_t)(number % UINT16_MAX + 1);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many of `most` are left when so many are taken; none when that is more. */
static uint64_t left_of(uint64_t most, uint64_t taken)
{
    return most > taken ? most - taken : 0;
}

uint64_t load_room(const struct conn *c)
{
    const struct load *l = c->load;
    const struct load_order *o = l->o;
    uint64_t n = 0;
    if (!c->is_publisher || c->phase != READY || !load_has_window(c)) {
        return 0;
    }
    if (o->shape == LOAD_LATENCY) {
        n = left_of(c->n_owed, c->n_sent); /* what is owed is sent even when the time is over */
    } else if (l->is_sending) {
        n = left_of(l->n_limit, c->n_sent);
        n = o->rate > 0 ? least(n, left_of(load_due(l), l->n_sent)) : n;
    }
    uint64_t window = left_of((uint64_t)o->window * l->fan, c->n_sent * l->fan - c->n_delivered);
    n = least(n, window / l->fan);
    return o->qos > 0 ? least(n, left_of(o->window, c->n_sent - c->n_acked)) : n;
}

/* What the next message is about, and its number among those that its receiver gets of us. */
static uint32_t subject_of(struct conn *c, uint64_t *ret_number)
{
    struct load *l = c->load;
    *ret_number = c->n_sent;
    if (l->o->shape == LOAD_RETAINED) {
        return (uint32_t)(c->n_sent % l->o->count);
    }
    l->dice = l->dice * 6364136223846793005 + 1442695040888963407;
    uint32_t filter = (uint32_t)((l->dice >> 33) % l->o->count);
    *ret_number = l->n_told[(size_t)load_owner_of(l, filter) * l->o->n_publishers + c->index]++;
    return filter;
}

void load_put_publish(struct conn *c, struct wr *w)
{
    uint64_t number = c->n_sent;
    if (c->subject_at > 0) {
        char digits[SUBJECT_DIGITS + 1];
        (void)snprintf(digits, sizeof(digits), "%08x", subject_of(c, &number));
        struct wr subject = wr_into(c->packet + c->subject_at, SUBJECT_DIGITS);
        wr_bytes(&subject, slice_of(digits, SUBJECT_DIGITS));
    }
    if (c->number_at > 0) {
        put_number(&c->packet[c->number_at], number);
    }
    if (c->load->o->qos > 0) {
        uint16_t id = id_of(c->n_sent);
        c->packet[c->id_at] = (uint8_t)(id >> 8);
        c->packet[c->id_at + 1] = (uint8_t)id;
    }
    wr_bytes(w, slice_of(c->packet, c->packet_n));
    if (c->sent_us != NULL) {
        c->sent_us[c->n_sent % c->load->o->window] = c->load->now_us;
    }
    c->n_sent++;
    c->load->n_sent++;
}

/* ---- packets of the server's ---- */

/* The number in the topic of a message whose publisher put one there. false: there is none. */
static bool subject_in(const struct load *l, struct slice topic, uint32_t *ret)
{
    size_t before = strlen(l->o->prefix) + 1, behind = l->o->shape == LOAD_SUBSCRIPTIONS ? 2 : 0;
    char digits[SUBJECT_DIGITS + 1];
    char *end;
    if (topic.n != before + SUBJECT_DIGITS + behind ||
        !slice_to_text(slice_head(slice_from(topic, before), SUBJECT_DIGITS), digits,
                       sizeof(digits))) {
        return false;
    }
    unsigned long subject = strtoul(digits, &end, 16);
    *ret = (uint32_t)subject;
    return *end == '\0' && subject < l->o->count;
}

static void on_publish(struct conn *c, uint8_t flags, struct slice body)
{
    struct load *l = c->load;
    struct rd r = rd_from(body);
    uint8_t qos = flags >> 1 & 3;
    uint32_t subject = 0;
    bool has_subject = l->o->shape == LOAD_RETAINED || l->o->shape == LOAD_SUBSCRIPTIONS;
    struct slice topic = rd_block16(&r);
    uint16_t id = qos > 0 ? rd_u16(&r) : 0;
    if (l->o->version == MQTT_V5) {
        (void)rd_bytes(&r, mqtt_varint_read(&r));
    }
    struct slice payload = rd_rest(&r);
    if (!rd_ok(&r) || payload.n < LOAD_PAYLOAD_MIN || payload.n != l->o->payload_n ||
        (has_subject && !subject_in(l, topic, &subject)) ||
        (l->o->shape == LOAD_RETAINED && (flags & 1) == 0)) {
        l->r.foreign++;
    } else {
        load_count(l, c, index_in(payload.p), number_in(&payload.p[NUMBER_AT]), subject);
    }
    if (qos > 0) {
        say_ack(c, qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, id);
    }
}

void load_refused(struct conn *c, const char *what, uint8_t code)
{
    const struct load *l = c->load;
    const char *prefix = l->o->prefix;
    load_give_up(
        c->load,
        cli_fail(l->cli,
                 "the server refuses %s: %s (0x%02x).\n  bench needs an identity that may use "
                 "several client ids at once and publish and subscribe to %s/#,\n  and limits "
                 "that have room for this load:\n"
                 "    bench: { kind: service, many: yes, client_id: \"*\", publish: [ %s\"%s/#\"%s "
                 "], subscribe: [ \"%s/#\" ] }",
                 what,
                 code >= 0x80 ? mqtt_reason_name(code) : mqtt_connack_name(l->o->version, code),
                 code, prefix, l->o->shape == LOAD_RETAINED ? "{ topic: " : "", prefix,
                 l->o->shape == LOAD_RETAINED ? ", retain: yes }" : "", prefix));
}

static void now_ready(struct conn *c)
{
    c->phase = READY;
    c->load->n_ready++;
}

/* Its subscriptions are part of what is measured. */
static bool asks_later(const struct load *l)
{
    return l->o->shape == LOAD_RETAINED || l->o->shape == LOAD_SUBSCRIPTIONS;
}

/* The first two packets of a connection are decoded with all care. */
static void on_opening(struct conn *c, enum mqtt_type type, const struct mqtt_input *in)
{
    struct mqtt_connack connack;
    struct mqtt_suback suback;
    if (c->phase == CONNECTING && type == MQTT_CONNACK &&
        mqtt_connack_decode(in, NULL, &connack) == OK) {
        if (connack.code != 0) {
            load_refused(c, "the connection", connack.code);
            return;
        }
        c->load->r.forgotten += c->load->stage == STAGE_WAKE && !connack.session_present;
        if (c->is_publisher || c->load->stage != STAGE_BEGIN || asks_later(c->load)) {
            now_ready(c);
        } else {
            c->phase = SUBSCRIBING;
            load_say_subscribe(c);
        }
    } else if (c->phase == SUBSCRIBING && type == MQTT_SUBACK &&
               mqtt_suback_decode(in, NULL, &suback) == OK) {
        if (suback.codes.p[0] >= 0x80) {
            load_refused(c, "the subscription", suback.codes.p[0]);
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
        l->r.delivered++;
    }
    /* nobody listens now who could make room by receiving */
    c->n_delivered += c->sent_us != NULL || l->o->shape == LOAD_RETAINED;
    c->n_acked++;
    load_mark_dirty(l, c);
}

/* The number of the oldest message that waits for an acknowledgement of this type. */
static uint64_t first_awaited(const struct conn *c, enum mqtt_type type)
{
    return type == MQTT_PUBREC ? c->n_received : c->n_acked;
}

/* A message with this id is under way, and what comes next for it is of this type. */
static bool is_awaited(const struct conn *c, enum mqtt_type type, uint16_t id)
{
    uint8_t qos = type == MQTT_PUBACK ? 1 : 2;
    uint64_t first = first_awaited(c, type), end = type == MQTT_PUBCOMP ? c->n_received : c->n_sent;
    uint64_t before = ((uint64_t)id + UINT16_MAX - id_of(first)) % UINT16_MAX;
    return c->load->o->qos == qos && id > 0 && before < end - first;
}

static void on_ack(struct conn *c, enum mqtt_type type, struct slice body)
{
    struct rd r = rd_from(body);
    uint16_t id = rd_u16(&r);
    uint8_t reason = rd_left(&r) > 0 ? rd_u8(&r) : 0;
    if (reason >= 0x80 && (type == MQTT_PUBACK || type == MQTT_PUBREC)) {
        load_refused(c, "a message", reason);
    } else if (type == MQTT_PUBREL) {
        say_ack(c, MQTT_PUBCOMP, id);
    } else if (!is_awaited(c, type, id)) {
        c->load->r.unasked++;
    } else if (id != id_of(first_awaited(c, type))) {
        load_give_up(c->load, cli_fail(c->load->cli, "acknowledgements out of order: id %u, not %u",
                                       id, id_of(first_awaited(c, type))));
    } else if (type == MQTT_PUBREC) {
        c->n_received++;
        say_ack(c, MQTT_PUBREL, id);
    } else {
        acked(c);
    }
}

static void on_suback(struct conn *c, const struct mqtt_input *in)
{
    struct mqtt_suback m;
    if (mqtt_suback_decode(in, NULL, &m) != OK) {
        load_give_up(c->load, cli_fail(c->load->cli, "the server's SUBACK is not MQTT"));
        return;
    }
    for (size_t i = 0; i < m.codes.n; i++) {
        if (m.codes.p[i] >= 0x80) {
            load_refused(c, "the subscription", m.codes.p[i]);
            return;
        }
    }
    if (c->load->o->shape == LOAD_SUBSCRIPTIONS) {
        load_asked(c, m.codes);
    }
}

/* What does not come with each message. */
static void on_other(struct conn *c, const struct mqtt_fixed *fixed, struct slice body)
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
    } else if (fixed->type == MQTT_SUBACK && asks_later(l) && !c->is_publisher) {
        on_suback(c, &in);
    } else if (fixed->type == MQTT_PINGRESP && l->o->shape == LOAD_IDLE && body.n == 0) {
        l->r.delivered++;
    } else if (fixed->type == MQTT_DISCONNECT) {
        uint8_t reason = body.n > 0 ? body.p[0] : 0;
        load_give_up(l, cli_fail(l->cli, "the server ended a connection: %s (0x%02x)",
                                 mqtt_reason_name(reason), reason));
    } else {
        load_give_up(l, cli_fail(l->cli, "the server sent a packet out of place"));
    }
}

static void on_packet(struct conn *c, const struct mqtt_fixed *fixed, struct slice body)
{
    if (c->phase == LEAVING) {
        return; /* what was under way when it said goodbye */
    }
    if (c->phase == READY && fixed->type == MQTT_PUBLISH && !c->is_publisher) {
        on_publish(c, fixed->flags, body);
    } else if (c->phase == READY && (unsigned)fixed->type >= MQTT_PUBACK &&
               (unsigned)fixed->type <= MQTT_PUBCOMP) {
        on_ack(c, fixed->type, body);
    } else {
        on_other(c, fixed, body);
    }
}

/* PUBLISH for the first time, and what acknowledges it, with flags as they have to be. */
static bool is_usual(uint8_t first)
{
    unsigned qos = first >> 1 & 3, is_again = first & 8;
    switch (first >> 4) {
    case MQTT_PUBLISH:
        return is_again == 0 && qos != 3;
    case MQTT_PUBREL:
        return first == (MQTT_PUBREL << 4 | 2);
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        return (first & 15) == 0;
    default:
        return false;
    }
}

/* What nearly all packets are: of the usual types, of a length of one byte or two, and whole.
 * false: nothing was taken, and it is for mqtt_packet_cut to say what is there. */
static bool cut_usual(struct slice *in, struct mqtt_fixed *ret, struct slice *ret_body)
{
    enum { LEAST = 4 }; /* bytes of each of these packets */
    if (in->n < LEAST || !is_usual(in->p[0])) {
        return false;
    }
    bool is_long = in->p[1] >= 0x80;
    uint8_t high = is_long ? in->p[2] : 0, header_n = is_long ? 3 : 2;
    size_t body_n = (size_t)high << 7 | (in->p[1] & 0x7f);
    if (high >= 0x80 || (is_long && high == 0) || in->n - header_n < body_n) {
        return false;
    }
    ret->type = (enum mqtt_type)(in->p[0] >> 4);
    ret->flags = in->p[0] & 15;
    *ret_body = slice_head(slice_from(*in, header_n), body_n);
    *in = slice_from(*in, header_n + body_n);
    return true;
}

/* The next whole packet of *in, handled. false: there is none, or the run has ended. */
static bool take_packet(struct conn *c, struct slice *in)
{
    struct load *l = c->load;
    struct mqtt_fixed fixed;
    struct slice body;
    if (l->code != GO_ON) {
        return false;
    }
    enum err err =
        cut_usual(in, &fixed, &body) ? OK : mqtt_packet_cut(in, PACKET_MAX, NULL, &fixed, &body);
    if (err == OK) {
        on_packet(c, &fixed, body);
    } else if (err != ERR_AGAIN) {
        load_give_up(l, cli_fail(l->cli, "the server's bytes are not MQTT"));
    }
    return err == OK;
}

/* How many bytes an unfinished packet lacks, as far as what is there tells. */
static size_t n_lacking(struct slice rest)
{
    struct mqtt_fixed fixed;
    enum err err = mqtt_fixed_decode(rest, PACKET_MAX, NULL, &fixed);
    return err == OK && fixed.packet_n > rest.n ? fixed.packet_n - rest.n : err == ERR_AGAIN;
}

/* Completes the unfinished packet with what came, and handles it. */
static void take_rest(struct conn *c, struct slice *in)
{
    struct load *l = c->load;
    while (c->rest.n > 0 && l->code == GO_ON) {
        struct slice more = slice_head(*in, n_lacking(buf_slice(&c->rest)));
        if (buf_append(&c->rest, more, PACKET_MAX) != OK) {
            load_give_up(l, cli_fail(l->cli, "no memory"));
            return;
        }
        *in = slice_from(*in, more.n);
        struct slice rest = buf_slice(&c->rest);
        if (take_packet(c, &rest)) {
            buf_clear(&c->rest);
        } else if (in->n == 0) {
            return;
        }
    }
}

void load_take(struct conn *c, struct slice plain)
{
    struct load *l = c->load;
    take_rest(c, &plain);
    while (take_packet(c, &plain)) {
    }
    if (plain.n > 0 && l->code == GO_ON && buf_append(&c->rest, plain, PACKET_MAX) != OK) {
        load_give_up(l, cli_fail(l->cli, "no memory"));
    }
}
