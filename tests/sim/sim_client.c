/* A client of MQTT 3.1.1 or 5 that keeps to its protocol, on connections that do not hold. */
#include <assert.h>

#include "base/mem.h"
#include "sim.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/ping.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/unsubscribe.h"

enum { PACKET_BYTES = 512, PAYLOAD_BYTES = 160, NAME_BYTES = 6, PACKET_ID_MAX = 60 };

static void put(struct sim *s, struct sim_client *c, const struct wr *w, struct sim_mark mark)
{
    assert(wr_ok(w));
    sim_link_put(s, c->link, wr_slice(w), mark);
}

/* ---- messages ---- */

int sim_pub_of(const struct sim *s, struct slice payload)
{
    if (payload.n < NAME_BYTES || payload.p[0] != 'm') {
        return -1;
    }
    int n = 0;
    for (size_t i = 1; i < NAME_BYTES; i++) {
        n = n * 10 + (payload.p[i] - '0');
    }
    return n >= 0 && (size_t)n < s->model.n_pubs ? n : -1;
}

static struct slice payload_of(const struct sim *s, unsigned pub, char dst[PAYLOAD_BYTES])
{
    const struct sim_pub *p = &s->model.pubs[pub];
    if (p->is_clear) {
        return (struct slice){0};
    }
    memset(dst, '.', PAYLOAD_BYTES);
    (void)snprintf(dst, NAME_BYTES + 1, "m%05u", pub);
    dst[NAME_BYTES] = '.';
    return slice_of(dst, pub % 5 == 0 ? PAYLOAD_BYTES : NAME_BYTES);
}

static int pub_new(struct sim *s, const struct sim_client *c)
{
    struct sim_model *m = &s->model;
    if (m->n_pubs == SIM_PUBS_MAX) {
        return -1;
    }
    struct sim_pub *p = &m->pubs[m->n_pubs];
    *p = (struct sim_pub){.client = c->index,
                          .topic = (uint8_t)sim_below(s, SIM_TOPICS),
                          .qos = (uint8_t)sim_below(s, 3),
                          .retain = sim_chance(s, 30)};
    p->is_clear = p->retain && sim_chance(s, 20);
    if (s->knobs.has_expiry && c->version == MQTT_V5 && sim_chance(s, 20)) {
        p->expiry_s = 1 + sim_below(s, 5);
    }
    return (int)m->n_pubs++;
}

static bool is_id_used(const struct sim_client *c, uint16_t id)
{
    for (size_t i = 0; i < c->n_flights; i++) {
        if (c->flights[i].packet_id == id) {
            return true;
        }
    }
    for (size_t i = 0; c->link != NULL && i < c->link->n_wishes; i++) {
        if (c->link->wishes[i].packet_id == id) {
            return true;
        }
    }
    return false;
}

/* Small numbers that come back soon: an id whose end was not recorded would be noticed. */
static uint16_t next_id(struct sim_client *c)
{
    do {
        c->next_packet_id = c->next_packet_id % PACKET_ID_MAX + 1;
    } while (is_id_used(c, c->next_packet_id));
    return c->next_packet_id;
}

static void send_publish(struct sim *s, struct sim_client *c, unsigned pub, uint16_t packet_id,
                         bool dup)
{
    const struct sim_pub *p = &s->model.pubs[pub];
    uint8_t bytes[PACKET_BYTES];
    char payload[PAYLOAD_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_publish m = {.topic = slice_text(sim_topic(p->topic)),
                             .payload = payload_of(s, pub, payload),
                             .packet_id = packet_id,
                             .qos = p->qos,
                             .retain = p->retain,
                             .dup = dup && p->qos > 0};
    if (p->expiry_s > 0) {
        mqtt_props_set_number(&m.props, MQTT_PROP_MESSAGE_EXPIRY, p->expiry_s);
    }
    sim_alias_say(s, c, &m);
    enum err err = mqtt_publish_encode(&m, c->version, &w);
    (void)err;
    sim_say(s, "client", "%u: PUBLISH m%u %s (alias %u) qos %u%s%s%s id %u on link %u", c->index,
            pub, sim_topic(p->topic), mqtt_props_number(&m.props, MQTT_PROP_TOPIC_ALIAS, 0), p->qos,
            p->retain ? " retain" : "", p->is_clear ? " clear" : "", m.dup ? " DUP" : "", packet_id,
            c->link->id);
    put(s, c, &w,
        (struct sim_mark){.kind = MARK_PUBLISH, .packet_id = packet_id, .pub = (uint16_t)pub});
}

static void publish(struct sim *s, struct sim_client *c)
{
    size_t most = c->receive_max < SIM_FLIGHTS_MAX ? c->receive_max : SIM_FLIGHTS_MAX;
    int pub = c->n_flights < most ? pub_new(s, c) : -1;
    if (pub < 0) {
        return;
    }
    uint16_t packet_id = 0;
    if (s->model.pubs[pub].qos > 0) {
        packet_id = next_id(c);
        c->flights[c->n_flights++] =
            (struct sim_flight){.packet_id = packet_id, .pub = (uint16_t)pub};
    }
    send_publish(s, c, (unsigned)pub, packet_id, false);
}

static void publish_badly(struct sim *s, struct sim_client *c)
{
    static const uint8_t v311[] = {0x30, 0x04, 0x00, 0x01, '+', 'x'};
    static const uint8_t v5[] = {0x30, 0x05, 0x00, 0x01, '+', 0x00, 'x'};
    uint8_t bytes[PACKET_BYTES];
    char payload[PAYLOAD_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    uint8_t reason = MQTT_TOPIC_NAME_INVALID;
    int pub = sim_chance(s, 70) ? pub_new(s, c) : -1; /* a number that must never be seen again */
    if (pub < 0 ||
        !sim_alias_misuse(s, c, &w, &reason,
                          slice_head(payload_of(s, (unsigned)pub, payload), NAME_BYTES))) {
        reason = MQTT_TOPIC_NAME_INVALID;
        wr_bytes(&w,
                 c->version == MQTT_V5 ? slice_of(v5, sizeof(v5)) : slice_of(v311, sizeof(v311)));
        sim_say(s, "client", "%u: PUBLISH with a wildcard", c->index);
    }
    put(s, c, &w, (struct sim_mark){.kind = MARK_BAD, .reason = reason});
}

/* ---- acknowledgements ---- */

static void send_ack(struct sim *s, struct sim_client *c, enum mqtt_type type, uint16_t packet_id)
{
    uint8_t bytes[16];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_ack m = {.packet_id = packet_id};
    enum err err = OK;
    const char *name = "PUBACK";
    if (type == MQTT_PUBACK) {
        err = mqtt_puback_encode(&m, c->version, &w);
    } else if (type == MQTT_PUBREC) {
        name = "PUBREC";
        err = mqtt_pubrec_encode(&m, c->version, &w);
    } else if (type == MQTT_PUBCOMP) {
        name = "PUBCOMP";
        err = mqtt_pubcomp_encode(&m, c->version, &w);
    } else {
        name = "PUBREL";
        err = mqtt_pubrel_encode(&m, c->version, &w);
    }
    (void)err;
    sim_say(s, "client", "%u: %s %u", c->index, name, packet_id);
    put(s, c, &w,
        (struct sim_mark){.kind = type == MQTT_PUBREL   ? MARK_PUBREL
                                  : type == MQTT_PUBACK ? MARK_PUBACK
                                                        : MARK_OTHER,
                          .packet_id = packet_id});
}

static void reply_later(struct sim *s, struct sim_client *c, enum mqtt_type type,
                        uint16_t packet_id)
{
    if (c->n_replies == COUNT_OF(c->replies)) {
        sim_link_cut(s, c->link);
        return;
    }
    c->replies[c->n_replies++] = (struct sim_reply){.type = type, .packet_id = packet_id};
}

bool sim_client_reply(struct sim *s, struct sim_client *c)
{
    if (!c->is_on || c->link == NULL || c->n_replies == 0) {
        return false;
    }
    struct sim_reply r = c->replies[0];
    c->n_replies--;
    memmove(c->replies, c->replies + 1, c->n_replies * sizeof(c->replies[0]));
    send_ack(s, c, r.type, r.packet_id);
    return true;
}

/* ---- subscriptions ---- */

static void subscribe(struct sim *s, struct sim_client *c, bool is_unsubscribe)
{
    if (c->link->n_wishes >= SIM_WISHES_MAX / 2 || c->link->marks_n > 2000) {
        return;
    }
    uint8_t bytes[PACKET_BYTES], list[64];
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    struct sim_mark mark = {.kind = is_unsubscribe ? MARK_UNSUBSCRIBE : MARK_SUBSCRIBE,
                            .packet_id = next_id(c),
                            .filter = (uint8_t)sim_below(s, SIM_PLAIN),
                            .qos = (uint8_t)sim_below(s, 3)};
    if (s->knobs.has_groups && c->version == MQTT_V5 && sim_chance(s, is_unsubscribe ? 25 : 65)) {
        mark.filter = (uint8_t)(SIM_PLAIN + sim_below(s, SIM_GROUPS));
        mark.qos = sim_share_qos(c->index, mark.filter);
    }
    struct slice filter = slice_text(sim_filter(mark.filter));
    enum err err;
    if (is_unsubscribe) {
        wr_block16(&l, filter);
        struct mqtt_unsubscribe m = {
            .packet_id = mark.packet_id, .list = wr_slice(&l), .n_filters = 1};
        err = mqtt_unsubscribe_encode(&m, c->version, &w);
    } else {
        mark.no_replay = c->version == MQTT_V5 && sim_chance(s, 20);
        struct mqtt_subscription sub = {.whole = filter,
                                        .filter = filter,
                                        .qos = mark.qos,
                                        .retain_handling = mark.no_replay ? MQTT_RETAIN_NEVER
                                                                          : MQTT_RETAIN_ALWAYS};
        mqtt_subscription_write(&l, &sub, c->version);
        struct mqtt_subscribe m = {
            .packet_id = mark.packet_id, .list = wr_slice(&l), .n_filters = 1};
        if (mark.filter >= SIM_PLAIN) {
            mqtt_props_set_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, mark.filter + 1u);
        }
        err = mqtt_subscribe_encode(&m, c->version, &w);
    }
    (void)err;
    sim_say(s, "client", "%u: %s %s qos %u id %u on link %u", c->index,
            is_unsubscribe ? "UNSUBSCRIBE" : "SUBSCRIBE", sim_filter(mark.filter), mark.qos,
            mark.packet_id, c->link->id);
    put(s, c, &w, mark);
}

/* ---- connections ---- */

static void forget_session(struct sim *s, struct sim_client *c)
{
    for (size_t i = 0; i < c->n_flights; i++) {
        s->model.pubs[c->flights[i].pub].is_given_up = true;
    }
    c->n_flights = 0;
    c->n_open_ids = 0;
}

static struct mqtt_connect terms(struct sim *s, struct sim_client *c, struct sim_link *l,
                                 bool clean)
{
    struct mqtt_connect m = {
        .version = c->version, .clean_start = clean, .client_id = slice_text(c->id)};
    l->is_clean = clean;
    if (c->version == MQTT_V5) {
        l->expiry_s = s->is_settling || sim_chance(s, 80) ? 100000 : 0;
        if (s->knobs.has_expiry && l->expiry_s > 0 && !s->is_settling && sim_chance(s, 40)) {
            l->expiry_s = 1 + sim_below(s, 6);
        }
        mqtt_props_set_number(&m.props, MQTT_PROP_SESSION_EXPIRY, l->expiry_s);
        if (sim_chance(s, 20)) {
            mqtt_props_set_number(&m.props, MQTT_PROP_RECEIVE_MAXIMUM, 1 + sim_below(s, 4));
        }
        l->alias_asked = (uint16_t)sim_below(s, SIM_ALIASES + 1);
        if (l->alias_asked > 0) {
            mqtt_props_set_number(&m.props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, l->alias_asked);
        }
    } else {
        l->expiry_s = clean ? 0 : 100000; /* clean session ends with its connection */
    }
    return m;
}

static void add_will(struct sim *s, const struct sim_client *c, struct sim_link *l,
                     struct mqtt_connect *m, char payload[PAYLOAD_BYTES])
{
    l->will = sim_chance(s, 20) && !s->is_settling ? pub_new(s, c) : -1;
    if (l->will < 0) {
        return;
    }
    struct sim_pub *p = &s->model.pubs[l->will];
    p->is_will = true;
    p->is_clear = false;
    p->expiry_s = 0;
    m->has_will = true;
    m->will = (struct mqtt_will){.topic = slice_text(sim_topic(p->topic)),
                                 .payload = payload_of(s, (unsigned)l->will, payload),
                                 .qos = p->qos,
                                 .retain = p->retain};
    if (c->version == MQTT_V5 && s->knobs.has_will_delay && sim_chance(s, 70)) {
        l->will_delay_s = 1 + sim_below(s, 6);
        mqtt_props_set_number(&m->will.props, MQTT_PROP_WILL_DELAY, l->will_delay_s);
    }
}

void sim_client_connect(struct sim *s, struct sim_client *c, bool clean)
{
    struct sim_link *l = sim_link_new(s, c->index);
    if (l == NULL) {
        return;
    }
    char name[16], payload[PAYLOAD_BYTES];
    uint8_t bytes[PACKET_BYTES];
    unsigned at = sim_below(s, s->knobs.n_workers);
    (void)snprintf(l->peer, sizeof(l->peer), "link-%u", l->id);
    (void)snprintf(name, sizeof(name), "p%u", c->principal);
    clean = clean || c->must_clean || (c->link != NULL && c->link->expiry_s == 0);
    sim_memory_begin(s);
    enum err accepted =
        worker_accept(s->workers[at], &s->entrance, l->peer, l, s->now_ms, &l->conn);
    sim_memory_end(s);
    if (accepted != OK) {
        l->is_over = l->is_cut = true;
        if (!sim_had_trouble(s, l->opened_at)) {
            sim_fail(s, "2", "a worker refuses a connection");
        }
        return;
    }
    l->worker = (int)at;
    if (c->link != NULL) {
        sim_alias_forget(c);
    }
    c->link = l;
    c->is_on = false;
    c->n_replies = 0;
    if (clean) {
        /* Its own half of the session is gone, so it asks for a new one until it has got it. */
        forget_session(s, c);
        c->must_clean = true;
    }
    struct mqtt_connect m = terms(s, c, l, clean);
    add_will(s, c, l, &m, payload);
    bool is_wrong = !s->is_settling && sim_chance(s, 4);
    struct digest key;
    if (c->uses_password) {
        m.has_username = m.has_password = true;
        m.username = slice_text(name);
        m.password = slice_text(is_wrong ? "sp1_aaaaaaaaaaaaaaaaaaaaaaaaaa" : s->password);
    } else {
        memset(key.bytes, is_wrong ? 0xee : c->principal + 1, sizeof(key.bytes));
        worker_present(s->workers[at], l->conn, slice_text(name), &key, &key);
    }
    struct wr w = wr_into(bytes, sizeof(bytes));
    enum err err = mqtt_connect_encode(&m, &w);
    (void)err;
    sim_say(s, "client", "%u: CONNECT %s/%s v%d%s expiry %u%s on link %u at worker %u", c->index,
            name, c->id, c->version, clean ? " clean" : "", l->expiry_s,
            l->will >= 0 ? " will" : "", l->id, at);
    put(s, c, &w, (struct sim_mark){.kind = MARK_CONNECT});
    if (!s->is_settling && sim_chance(s, 15)) {
        subscribe(s, c, false); /* before CONNACK: it must travel with the connection */
    }
}

void sim_client_lost(struct sim *s, struct sim_link *l)
{
    struct sim_client *c = &s->clients[l->client];
    if (c->link != l) {
        return;
    }
    sim_alias_forget(c);
    c->link = NULL;
    c->is_on = false;
    c->n_replies = 0;
    if (l->expiry_s == 0) {
        forget_session(s, c); /* it ended with the connection, or was never opened */
        c->must_clean = true;
    }
    /* MQTT 3.1 and 3.1.1 are told no reason: a client that repeated a refused message for ever
     * would never get anything else through. The id of a QoS 2 message is closed by PUBREL. */
    if (c->version == MQTT_V5 || !l->is_over || (!s->is_settling && sim_chance(s, 50))) {
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < c->n_flights; i++) {
        struct sim_flight f = c->flights[i];
        struct sim_pub *p = &s->model.pubs[f.pub];
        p->is_given_up = p->is_given_up || !f.is_released;
        if (p->qos == 2) {
            f.is_released = true;
            c->flights[kept++] = f;
        }
    }
    c->n_flights = kept;
}

static void disconnect(struct sim *s, struct sim_client *c)
{
    struct wr w = wr_into((uint8_t[16]){0}, 16);
    bool keeps_will = c->version == MQTT_V5 && sim_chance(s, 30);
    struct mqtt_disconnect m = {.reason = keeps_will ? MQTT_DISCONNECT_WITH_WILL : MQTT_SUCCESS};
    enum err err = mqtt_disconnect_encode(&m, c->version, &w);
    (void)err;
    sim_say(s, "client", "%u: DISCONNECT%s", c->index, keeps_will ? " with will" : "");
    put(s, c, &w, (struct sim_mark){.kind = keeps_will ? MARK_OTHER : MARK_DISCONNECT});
    c->is_on = false;
}

static void ping(struct sim *s, struct sim_client *c)
{
    struct wr w = wr_into((uint8_t[16]){0}, 16);
    enum err err = mqtt_pingreq_encode(&w);
    (void)err;
    put(s, c, &w, (struct sim_mark){.kind = MARK_OTHER});
}

void sim_client_act(struct sim *s, struct sim_client *c)
{
    unsigned dice = sim_below(s, 100);
    if (c->link == NULL) {
        if (dice < 70) {
            sim_client_connect(s, c, sim_chance(s, 15));
        }
        return;
    }
    if (!c->is_on) {
        if (dice < 4) {
            sim_link_cut(s, c->link);
        } else if (dice < 8) {
            sim_client_connect(s, c, sim_chance(s, 15));
        }
        return;
    }
    if (dice < 42) {
        publish(s, c);
    } else if (dice < 54) {
        subscribe(s, c, false);
    } else if (dice < 59) {
        subscribe(s, c, true);
    } else if (dice < 88) {
        (void)sim_client_reply(s, c);
    } else if (dice < 91) {
        sim_link_cut(s, c->link);
    } else if (dice < 93) {
        disconnect(s, c);
    } else if (dice < 95) {
        sim_client_connect(s, c, sim_chance(s, 15));
    } else if (dice < 96) {
        publish_badly(s, c);
    } else {
        ping(s, c);
    }
}

/* ---- what arrives ---- */

/* SPEC: MQTT-4.4.0-1: what is unfinished goes out again, in the original order */
static void resend(struct sim *s, struct sim_client *c)
{
    for (size_t i = 0; i < c->n_flights; i++) {
        const struct sim_flight *f = &c->flights[i];
        if (f->is_released) {
            send_ack(s, c, MQTT_PUBREL, f->packet_id);
        } else {
            send_publish(s, c, f->pub, f->packet_id, true);
        }
    }
}

static void on_connack(struct sim *s, struct sim_client *c, const struct mqtt_connack *m)
{
    if (m->code != 0) {
        return; /* the server closes */
    }
    c->is_on = true;
    c->must_clean = false;
    uint16_t role = s->knobs.small_window ? 2 : 20;
    c->receive_max = (uint16_t)mqtt_props_number(&m->props, MQTT_PROP_RECEIVE_MAXIMUM, role);
    c->link->alias_max = (uint16_t)mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0);
    /* 3.1 is not told whether its session is there; this one knows it by magic. */
    bool is_present = c->version == MQTT_V31 ? c->link->is_present : m->session_present;
    if (!is_present) {
        forget_session(s, c);
    }
    resend(s, c);
}

static bool open_id_find(const struct sim_client *c, uint16_t packet_id, size_t *ret)
{
    for (size_t i = 0; i < c->n_open_ids; i++) {
        if (c->open_ids[i] == packet_id) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static void open_id_remove(struct sim_client *c, uint16_t packet_id)
{
    size_t i;
    if (open_id_find(c, packet_id, &i)) {
        c->n_open_ids--;
        c->open_ids[i] = c->open_ids[c->n_open_ids];
        c->open_pubs[i] = c->open_pubs[c->n_open_ids];
        c->open_since[i] = c->open_since[c->n_open_ids];
    }
}

/* False: it came before, and PUBREL did not. A clean start of the client's own that was overtaken
 * by its next connection may have begun another session, which that one was told is present. */
static bool open_id_add(struct sim *s, struct sim_client *c, uint16_t packet_id, int pub)
{
    size_t i;
    uint64_t since = c->link->session_since;
    if (open_id_find(c, packet_id, &i) && c->open_since[i] != since) {
        open_id_remove(c, packet_id);
    }
    if (open_id_find(c, packet_id, &i)) {
        if (c->open_pubs[i] != pub) {
            sim_fail(s, "8", "client %u: packet id %u is m%d's and now m%d's", c->index, packet_id,
                     c->open_pubs[i], pub);
        }
        return false;
    }
    if (c->n_open_ids < COUNT_OF(c->open_ids)) {
        c->open_pubs[c->n_open_ids] = pub;
        c->open_since[c->n_open_ids] = since;
        c->open_ids[c->n_open_ids++] = packet_id;
    }
    return true;
}

static void on_publish(struct sim *s, struct sim_client *c, const struct mqtt_publish *m)
{
    int pub = sim_pub_of(s, m->payload);
    bool is_new = true;
    if (m->qos == 2) {
        is_new = open_id_add(s, c, m->packet_id, pub);
    }
    sim_say(s, "client", "%u: gets m%d qos %u id %u%s%s%s %s", c->index, pub, m->qos, m->packet_id,
            m->dup ? " DUP" : "", m->retain ? " retained" : "", is_new ? "" : " (known)",
            share_of(m) >= 0 ? sim_filter((unsigned)share_of(m)) : "");
    if (is_new && pub >= 0) {
        if (share_of(m) >= 0) {
            share_reception(s, (unsigned)pub, (unsigned)share_of(m));
        } else {
            model_reception(s, c->link, (unsigned)pub, m->qos);
        }
    }
    if (m->qos > 0) {
        reply_later(s, c, m->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m->packet_id);
    }
}

static void on_ack(struct sim *s, struct sim_client *c, enum mqtt_type type,
                   const struct mqtt_ack *m)
{
    size_t i = 0;
    while (i < c->n_flights && c->flights[i].packet_id != m->packet_id) {
        i++;
    }
    if (i == c->n_flights) {
        return;
    }
    struct sim_flight *f = &c->flights[i];
    if (type == MQTT_PUBREC && m->reason < 0x80) {
        f->is_released = true;
        reply_later(s, c, MQTT_PUBREL, m->packet_id);
        return;
    }
    c->n_flights--;
    memmove(f, f + 1, (c->n_flights - i) * sizeof(*f));
}

void sim_client_take(struct sim *s, struct sim_link *l, const struct mqtt_fixed *fixed,
                     struct slice body)
{
    struct sim_client *c = &s->clients[l->client];
    if (c->link != l) {
        return; /* it has moved on to a newer connection */
    }
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {.body = body,
                            .flags = fixed->flags,
                            .version = c->version,
                            .sender = MQTT_FROM_SERVER,
                            .limits = &limits};
    struct mqtt_connack connack;
    struct mqtt_publish pub;
    struct mqtt_ack ack;
    switch ((unsigned)fixed->type) {
    case MQTT_CONNACK:
        if (mqtt_connack_decode(&in, NULL, &connack) == OK) {
            on_connack(s, c, &connack);
        }
        break;
    case MQTT_PUBLISH:
        if (mqtt_publish_decode(&in, NULL, &pub) == OK) {
            on_publish(s, c, &pub);
        }
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        if (mqtt_puback_decode(&in, NULL, &ack) == OK ||
            mqtt_pubcomp_decode(&in, NULL, &ack) == OK) {
            on_ack(s, c, fixed->type, &ack);
        }
        break;
    case MQTT_PUBREL:
        if (mqtt_pubrel_decode(&in, NULL, &ack) == OK) {
            open_id_remove(c, ack.packet_id);
            reply_later(s, c, MQTT_PUBCOMP, ack.packet_id);
        }
        break;
    default:
        break;
    }
}
