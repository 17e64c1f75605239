/* Who is let in at an MQTT port, and what is taken before anybody is. */
#include <stdio.h>

#include "app/scan/scan_look.h"
#include "app/scan/scan_talk.h"
#include "wire/http1/response.h"
#include "wire/mqtt/reason.h"

enum {
    ID_BYTES = 8,
    HUGE_WAIT_MS = 400,
    HUGE_BYTES = 16 * 1024,
    UNBOUNDED_BYTES = 256 * 1024 * 1024 - 1, /* as large as a packet can be, but for its head */
    KEEP_ALIVE_MOST_S = 3600,
    V311_BAD_LOGIN = 4,
    V311_NOT_AUTHORIZED = 5,
    WS_SWITCHING = 101
};

/* What products come with, and what people type first. */
static const char *const passwords[SCAN_PASSWORDS_MAX][2] = {
    {"admin", "admin"}, {"admin", "public"}, {"admin", "password"},      {"guest", "guest"},
    {"mqtt", "mqtt"},   {"test", "test"},    {"mosquitto", "mosquitto"}, {"admin", "hivemq"}};

/* ---- who is let in ---- */

static enum scan_entry try_login(struct scan_net *net, const struct scan_door *door,
                                 struct scan_login *login, const char *user, const char *password,
                                 struct scan_talk *t)
{
    char id[sizeof("scan-") + 2 * ID_BYTES] = "scan-";
    scan_net_hex(net, &id[sizeof("scan-") - 1], ID_BYTES);
    struct scan_login l = {
        .version = login->version, .client_id = id, .user = user, .password = password};
    scan_talk_open(net, door, &l, t);
    return t->entry;
}

/* Was it refused for want of a name or password, and not for anything else? */
static bool wants_password(enum mqtt_version version, uint8_t code)
{
    return version == MQTT_V5 ? code == MQTT_BAD_CREDENTIALS || code == MQTT_NOT_AUTHORIZED
                              : code == V311_BAD_LOGIN || code == V311_NOT_AUTHORIZED;
}

static void note_terms(const struct scan_talk *t, enum mqtt_version version,
                       struct scan_mqtt_seen *m)
{
    /* 3.1.1 has no words for limits, and what a refusal says is not for those who are let in. */
    if (version != MQTT_V5 || t->entry != SCAN_ENTRY_IN) {
        return;
    }
    m->packet_max = t->packet_max;
    m->unlimited_packet =
        t->packet_max == 0 || t->packet_max >= UNBOUNDED_BYTES ? SCAN_YES : SCAN_NO;
    m->keep_alive_s = t->server_keep_alive_s == UINT32_MAX ? 0 : t->server_keep_alive_s;
    m->unlimited_keep_alive =
        m->keep_alive_s == 0 || m->keep_alive_s > KEEP_ALIVE_MOST_S ? SCAN_YES : SCAN_NO;
}

static bool knock_anonymous(struct scan_net *net, const struct scan_door *door,
                            struct scan_login *login, struct scan_mqtt_seen *m)
{
    static const enum mqtt_version versions[] = {MQTT_V5, MQTT_V311};
    net->tell(net->ctx, door, "CONNECT without a name");
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct scan_talk t;
        login->version = versions[i];
        m->anonymous = try_login(net, door, login, NULL, NULL, &t);
        m->anonymous_code = t.code;
        note_terms(&t, versions[i], m);
        scan_talk_done(&t);
        if (m->anonymous == SCAN_ENTRY_IN || (m->anonymous == SCAN_ENTRY_REFUSED &&
                                              wants_password(versions[i], m->anonymous_code))) {
            m->version = versions[i] == MQTT_V5 ? 5 : 4;
            break;
        }
        if (m->anonymous == SCAN_ENTRY_SILENT) {
            break; /* nor will it answer the other */
        }
        m->version = m->anonymous == SCAN_ENTRY_REFUSED ? (uint8_t)versions[i] : m->version;
    }
    return m->anonymous == SCAN_ENTRY_IN;
}

/* A made-up name first: where that opens, no password means anything. One connection at a time, a
 * pause before each, and an end at the first that is not simply refused. */
static void knock_passwords(struct scan_net *net, const struct scan_door *door,
                            struct scan_login *login, struct scan_mqtt_seen *m)
{
    char user[2 * ID_BYTES + 1], password[2 * ID_BYTES + 1];
    struct scan_talk t;
    scan_net_hex(net, user, ID_BYTES);
    scan_net_hex(net, password, ID_BYTES);
    net->tell(net->ctx, door, "default passwords");
    enum scan_entry entry = try_login(net, door, login, user, password, &t);
    note_terms(&t, login->version, m);
    scan_talk_done(&t);
    if (entry == SCAN_ENTRY_IN) {
        m->who = SCAN_WHO_ANY;
        (void)snprintf(m->user, sizeof(m->user), "%s", user);
        (void)snprintf(m->password, sizeof(m->password), "%s", password);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(passwords) && entry == SCAN_ENTRY_REFUSED; i++) {
        scan_net_pause(net, SCAN_PASSWORD_PAUSE_MS);
        entry = try_login(net, door, login, passwords[i][0], passwords[i][1], &t);
        m->n_passwords++;
        if (entry == SCAN_ENTRY_IN) {
            note_terms(&t, login->version, m);
            m->who = SCAN_WHO_DEFAULT;
            (void)snprintf(m->user, sizeof(m->user), "%s", passwords[i][0]);
            (void)snprintf(m->password, sizeof(m->password), "%s", passwords[i][1]);
        }
        scan_talk_done(&t);
    }
}

static void look_inside(struct scan_net *net, struct scan_door_seen *ret)
{
    struct scan_mqtt_seen *m = &ret->mqtt;
    struct scan_login login = {.version = MQTT_V5};
    if (knock_anonymous(net, &ret->door, &login, m)) {
        m->who = SCAN_WHO_ANONYMOUS;
    } else if (m->anonymous == SCAN_ENTRY_REFUSED &&
               wants_password(login.version, m->anonymous_code) && net->may_try_passwords &&
               !net->has_tried_passwords) {
        net->has_tried_passwords = true; /* they are the same at every port of one server */
        knock_passwords(net, &ret->door, &login, m);
    }
    if (m->who == SCAN_WHO_NOBODY) {
        return;
    }
    if (m->who != SCAN_WHO_ANONYMOUS) {
        login.user = m->user;
        login.password = m->password;
    }
    scan_look_as_guest(net, &ret->door, &login, m);
}

/* ---- without anybody ---- */

/* The head of the largest CONNECT there can be, and a piece of it. */
static void look_at_huge(struct scan_net *net, const struct scan_door *door,
                         struct scan_mqtt_seen *m)
{
    static const uint8_t head[] = {0x10, 0xff, 0xff, 0xff, 0x7f, 0,  4,    'M', 'Q',
                                   'T',  'T',  4,    0xc2, 0,    60, 0xff, 0xff};
    static const uint8_t rest[HUGE_BYTES]; /* zeros: a client id that goes on and on */
    AUTO(scan_link_autofree) struct scan_link *l = NULL;
    net->tell(net->ctx, door, "a huge packet");
    enum err err = scan_link_open(net, door, SCAN_TO_MQTT, &l);
    if (err != OK) {
        return;
    }
    err = scan_link_send(l, slice_of(head, sizeof(head)));
    if (err == OK) {
        err = scan_link_send(l, slice_of(rest, sizeof(rest)));
    }
    if (err == OK) {
        err = scan_link_receive(l, scan_net_until(net, HUGE_WAIT_MS));
    }
    if (err == ERR_TIMEOUT) {
        /* A server that is slow has answered somebody who came later before it is called patient.
         */
        struct scan_login login = {.version = m->version == MQTT_V5 ? MQTT_V5 : MQTT_V311};
        struct scan_talk t;
        (void)try_login(net, door, &login, NULL, NULL, &t);
        scan_talk_done(&t);
        err = scan_link_receive(l, scan_net_until(net, HUGE_WAIT_MS));
    }
    m->keeps_huge = err != ERR_TIMEOUT ? SCAN_NO : scan_net_is_over(net) ? SCAN_UNKNOWN : SCAN_YES;
}

/* An upgrade as a page of a foreign site would send it. */
static void look_at_origin(struct scan_net *net, const struct scan_door *door,
                           struct scan_mqtt_seen *m)
{
    char request[SCAN_LINK_SEND_MAX / 16];
    bool is_six = strchr(net->host, ':') != NULL;
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: c2FsbHlwb3J0LXNjYW4tMQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
                     "Origin: https://sallyport-scan.invalid\r\n\r\n",
                     net->ws_path, is_six ? "[" : "", net->host, is_six ? "]" : "",
                     (unsigned)door->port);
    AUTO(scan_link_autofree) struct scan_link *l = NULL;
    net->tell(net->ctx, door, "Origin of another site");
    if (n < 0 || (size_t)n >= sizeof(request) || scan_link_open(net, door, SCAN_TO_TLS, &l) != OK ||
        scan_link_send(l, slice_of(request, (size_t)n)) != OK) {
        return;
    }
    uint64_t until = scan_net_until(net, net->probe_ms);
    size_t head = 0;
    struct http1_response r;
    enum err err = ERR_AGAIN;
    while (err == ERR_AGAIN && l->in.n <= HTTP1_HEAD_MAX) {
        if (scan_link_receive(l, until) != OK) {
            return;
        }
        err = http1_head_find(buf_slice(&l->in), 0, &head);
    }
    if (err == OK && http1_response_decode(slice_head(buf_slice(&l->in), head), &r) == OK) {
        m->takes_origin = r.status == WS_SWITCHING ? SCAN_YES : SCAN_NO;
    }
}

/* Is anybody there? */
static bool is_reachable(struct scan_net *net, struct scan_door_seen *ret)
{
    AUTO(scan_link_autofree) struct scan_link *l = NULL;
    net->tell(net->ctx, &ret->door, "is anybody there");
    enum err err = scan_link_open(net, &ret->door, SCAN_TO_SOCKET, &l);
    ret->state = err == OK ? SCAN_OPEN : err == ERR_TIMEOUT ? SCAN_SILENT : SCAN_CLOSED;
    return err == OK;
}

void scan_look_mqtt(struct scan_net *net, struct scan_door_seen *ret)
{
    const struct scan_door *door = &ret->door;
    if (!is_reachable(net, ret)) {
        return;
    }
    if (scan_kind_has_tls(door->kind)) {
        scan_look_tls(net, door, ret);
        if (ret->state != SCAN_OPEN) {
            return;
        }
    }
    look_inside(net, ret);
    if (ret->mqtt.version == 0 && !scan_kind_has_tls(door->kind)) {
        ret->state = SCAN_FOREIGN;
        return;
    }
    if (ret->mqtt.version != 0) {
        look_at_huge(net, door, &ret->mqtt);
    }
    if (door->kind == SCAN_WS || door->kind == SCAN_WSS) {
        look_at_origin(net, door, &ret->mqtt);
    }
}
