/* What whoever came in may do. It takes away again what it leaves, whatever happens between. */
#include <signal.h>
#include <stdio.h>

#include "app/scan/scan_look.h"
#include "app/scan/scan_talk.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/subscribe.h"

enum {
    ID_BYTES = 8,
    QUIET_MS = 300,
    MESSAGES_MAX = 64,
    RETAINED_EXPIRY_S = 60, /* so that MQTT 5 forgets it even when this machine loses its power */
    CLEAR_TRIES = 3,
    FAILED = 0x80 /* this code and those above it */
};

struct guest {
    struct scan_net *net;
    const struct scan_door *door;
    struct scan_login login;
    char id[sizeof("scan-") + 2 * ID_BYTES];
    struct scan_talk talk;
    const char *topic; /* that is waited for */
    unsigned n_heard;
    bool has_heard;
    char heard[SCAN_WORD_BYTES];
};

/* A connection as the guest, with an id of its own; followed by scan_talk_done. */
static bool enter(struct guest *g)
{
    g->login.client_id = g->id;
    scan_talk_open(g->net, g->door, &g->login, &g->talk);
    return g->talk.entry == SCAN_ENTRY_IN;
}

static void new_id(struct guest *g)
{
    (void)snprintf(g->id, sizeof(g->id), "scan-");
    scan_net_hex(g->net, &g->id[sizeof("scan-") - 1], ID_BYTES);
}

/* ---- reading ---- */

/* The next event; of messages it is kept how many came, and what the one waited for said. */
static enum err next(struct guest *g, uint64_t until_ms, struct mqtt_client_event *ret)
{
    TRY(scan_talk_next(&g->talk, until_ms, ret));
    if (ret->kind == MQTT_CLIENT_PUBLISH) {
        g->n_heard++;
        if (g->topic != NULL && ret->publish.retain && slice_is(ret->publish.topic, g->topic)) {
            g->has_heard = true;
            scan_word(ret->publish.payload, g->heard, sizeof(g->heard));
        }
    }
    return OK;
}

/* SUBSCRIBE, and its answer; messages before it are left out. */
static enum scan_found subscribe(struct guest *g, const char *filter,
                                 enum mqtt_retain_handling handling)
{
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_subscription s = {.whole = slice_text(filter), .retain_handling = handling};
    uint16_t id = 0;
    uint64_t until = scan_net_until(g->net, g->net->probe_ms);
    mqtt_subscription_write(&w, &s, g->login.version);
    enum err err =
        mqtt_client_subscribe(g->talk.engine, wr_slice(&w), 1, NULL, scan_net_now(g->net), &id);
    struct mqtt_client_event ev = {0};
    while (err == OK && !(ev.kind == MQTT_CLIENT_SUBACK && ev.id == id)) {
        err = next(g, until, &ev);
    }
    if (err != OK) {
        /* An end of the connection is a refusal; silence is none. */
        return err == ERR_CLOSED || err == ERR_PROTOCOL ? SCAN_NO : SCAN_UNKNOWN;
    }
    return ev.suback.codes.n == 1 && ev.suback.codes.p[0] < FAILED ? SCAN_YES : SCAN_NO;
}

static void look_at_all(struct guest *g, struct scan_mqtt_seen *m)
{
    g->net->tell(g->net->ctx, g->door, "SUBSCRIBE #");
    new_id(g);
    if (enter(g)) {
        m->reads_all = subscribe(g, "#", MQTT_RETAIN_NEVER);
    }
    scan_talk_done(&g->talk);
}

static enum err unsubscribe(struct guest *g, const char *filter)
{
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    uint16_t id = 0;
    wr_block16(&w, slice_text(filter));
    return mqtt_client_unsubscribe(g->talk.engine, wr_slice(&w), 1, NULL, scan_net_now(g->net),
                                   &id);
}

/* What comes by a subscription, until g->topic has: the answer to UNSUBSCRIBE says that the server
 * has got so far, and a little later it has said what it had to. */
static void hear_out(struct guest *g, const char *filter)
{
    struct mqtt_client_event ev;
    uint64_t until = scan_net_until(g->net, g->net->probe_ms);
    enum err err = unsubscribe(g, filter);
    while (err == OK && !g->has_heard && g->n_heard < MESSAGES_MAX) {
        err = next(g, until, &ev);
        if (err == OK && ev.kind == MQTT_CLIENT_UNSUBACK) {
            until = scan_net_until(g->net, QUIET_MS);
        }
    }
}

static void look_at_sys(struct guest *g, struct scan_mqtt_seen *m)
{
    g->net->tell(g->net->ctx, g->door, "SUBSCRIBE $SYS/#");
    new_id(g);
    g->topic = "$SYS/broker/version";
    g->n_heard = 0;
    g->has_heard = false;
    if (enter(g)) {
        m->reads_sys = subscribe(g, "$SYS/#", MQTT_RETAIN_ALWAYS);
        if (m->reads_sys == SCAN_YES) {
            hear_out(g, "$SYS/#");
        }
        m->n_sys = g->n_heard;
        (void)snprintf(m->sys_version, sizeof(m->sys_version), "%s", g->has_heard ? g->heard : "");
    }
    scan_talk_done(&g->talk);
}

/* ---- a topic that is no text ---- */

/* By hand: our own client makes no such packet. With QoS 0 and not retained nothing of it stays,
 * and the PINGREQ behind it tells whether the connection does. */
static void look_at_utf8(struct guest *g, struct scan_mqtt_seen *m)
{
    char topic[SCAN_WORD_BYTES] = "sallyport-scan/";
    uint8_t bytes[2 * SCAN_WORD_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    scan_net_hex(g->net, &topic[strlen(topic)], ID_BYTES);
    bool has_props = g->login.version == MQTT_V5;
    size_t n = strlen(topic);
    mqtt_fixed_encode(&w, MQTT_PUBLISH, 0, 2 + n + 2 + (has_props ? 1 : 0));
    wr_u16(&w, (uint16_t)(n + 2));
    wr_bytes(&w, slice_of(topic, n));
    wr_u16(&w, 0xc080); /* NUL in two bytes, which UTF-8 forbids */
    if (has_props) {
        wr_u8(&w, 0);
    }
    mqtt_fixed_encode(&w, MQTT_PINGREQ, 0, 0);
    g->net->tell(g->net->ctx, g->door, "a topic that is not UTF-8");
    new_id(g);
    if (enter(g) && scan_link_send(g->talk.link, wr_slice(&w)) == OK) {
        struct mqtt_fixed fixed;
        uint64_t until = scan_net_until(g->net, g->net->probe_ms);
        buf_drop(&g->talk.link->in, g->talk.taken);
        g->talk.taken = 0;
        enum err err = OK, read = ERR_AGAIN;
        while (err == OK && read == ERR_AGAIN) {
            err = scan_link_receive(g->talk.link, until);
            read =
                mqtt_fixed_decode(buf_slice(&g->talk.link->in), SCAN_LINK_BYTES_MAX, NULL, &fixed);
        }
        bool goes_on = read == OK && fixed.type == MQTT_PINGRESP;
        m->takes_bad_utf8 = goes_on ? SCAN_YES : err == ERR_TIMEOUT ? SCAN_UNKNOWN : SCAN_NO;
    }
    scan_talk_done(&g->talk);
}

/* ---- another's client id ---- */

/* Two connections, both ours, with an id that nobody else has. */
static void look_at_takeover(struct guest *g, struct scan_mqtt_seen *m)
{
    g->net->tell(g->net->ctx, g->door, "a client id twice");
    new_id(g);
    if (!enter(g)) {
        scan_talk_done(&g->talk);
        return;
    }
    struct scan_talk first = g->talk;
    if (enter(g)) {
        struct mqtt_client_event ev = {0};
        enum err err = OK;
        uint64_t until = scan_net_until(g->net, g->net->probe_ms);
        while (err == OK && ev.kind != MQTT_CLIENT_DISCONNECT) {
            err = scan_talk_next(&first, until, &ev);
        }
        m->takes_over = err == ERR_TIMEOUT ? SCAN_UNKNOWN : SCAN_YES;
    } else if (g->talk.entry == SCAN_ENTRY_REFUSED || g->talk.entry == SCAN_ENTRY_ENDED) {
        m->takes_over = SCAN_NO;
    }
    scan_talk_done(&g->talk);
    scan_talk_done(&first);
}

/* ---- a retained message ---- */

/* QoS 1, so that it is known what became of it. */
static enum scan_found publish_retained(struct guest *g, const char *topic, const char *payload)
{
    struct mqtt_publish p = {
        .topic = slice_text(topic), .payload = slice_text(payload), .qos = 1, .retain = true};
    struct mqtt_client_event ev = {0};
    uint16_t id = 0;
    uint64_t until = scan_net_until(g->net, g->net->probe_ms);
    if (g->login.version == MQTT_V5 && payload[0] != '\0') {
        mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, RETAINED_EXPIRY_S);
    }
    enum err err = mqtt_client_publish(g->talk.engine, &p, scan_net_now(g->net), &id);
    if (err == ERR_UNSUPPORTED) {
        return SCAN_NO; /* CONNACK said that there is no such thing */
    }
    while (err == OK && !(ev.kind == MQTT_CLIENT_PUBLISHED && ev.id == id)) {
        err = next(g, until, &ev);
    }
    if (err != OK) {
        return SCAN_UNKNOWN;
    }
    return ev.reason < FAILED ? SCAN_YES : SCAN_NO;
}

/* Is it given to who subscribes now? */
static bool is_kept(struct guest *g, const char *topic)
{
    g->topic = topic;
    g->n_heard = 0;
    g->has_heard = false;
    if (subscribe(g, topic, MQTT_RETAIN_ALWAYS) == SCAN_YES && !g->has_heard) {
        hear_out(g, topic);
    }
    return g->has_heard;
}

/* On the connection there is, then on new ones: also when the scan's time is over. */
static bool clear(struct guest *g, const char *topic)
{
    uint64_t end_ms = g->net->end_ms;
    bool is_clear = false;
    g->net->end_ms = scan_net_now(g->net) + (uint64_t)CLEAR_TRIES * g->net->probe_ms;
    for (unsigned i = 0; i < CLEAR_TRIES && !is_clear; i++) {
        if (i > 0) {
            scan_talk_done(&g->talk);
            new_id(g);
            (void)enter(g);
        }
        is_clear = g->talk.entry == SCAN_ENTRY_IN && publish_retained(g, topic, "") == SCAN_YES;
    }
    g->net->end_ms = end_ms;
    return is_clear;
}

static void look_at_retained(struct guest *g, struct scan_mqtt_seen *m)
{
    sigset_t ends, before;
    g->net->tell(g->net->ctx, g->door, "a retained message");
    (void)snprintf(m->retained_topic, sizeof(m->retained_topic), "sallyport-scan/");
    scan_net_hex(g->net, &m->retained_topic[strlen(m->retained_topic)], ID_BYTES);
    /* Ctrl-C waits until the message is gone: a few answers' time at most. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &ends, &before);
    new_id(g);
    if (enter(g)) {
        enum scan_found sent =
            publish_retained(g, m->retained_topic, "sallyport scan; may be deleted");
        bool is_here = sent != SCAN_UNKNOWN;
        if (!is_here) {
            scan_talk_done(&g->talk);
            new_id(g);
            is_here =
                enter(g); /* the connection ended, and the message may be there all the same */
        }
        /* An acknowledgement alone does not say that it is there. */
        bool is_there = sent != SCAN_NO && is_here && is_kept(g, m->retained_topic);
        bool is_clear =
            sent == SCAN_NO || (sent == SCAN_UNKNOWN && !is_there) || clear(g, m->retained_topic);
        m->keeps_retained = is_there ? SCAN_YES : is_here ? SCAN_NO : SCAN_UNKNOWN;
        m->has_left_retained = is_there && !is_clear;
    }
    scan_talk_done(&g->talk);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}

void scan_look_as_guest(struct scan_net *net, const struct scan_door *door,
                        const struct scan_login *login, struct scan_mqtt_seen *ret)
{
    struct guest g = {.net = net, .door = door, .login = *login};
    look_at_all(&g, ret);
    look_at_sys(&g, ret);
    look_at_utf8(&g, ret);
    if (ret->who != SCAN_WHO_DEFAULT) { /* who proves the same identity may take over its own */
        look_at_takeover(&g, ret);
    }
    look_at_retained(&g, ret);
}
