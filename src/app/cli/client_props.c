#include "app/cli/client_props.h"

#include <errno.h>
#include <strings.h>

#include "base/scope.h"
#include "base/utf8.h"

enum { VALID_BYTES = 512, NUMBER_BASE = 10 };

enum type { TYPE_NUMBER, TYPE_TEXT, TYPE_BYTES, TYPE_PAIR, TYPE_REFUSED };

static const char *const packets[CLIENT_PROPS_KINDS] = {
    [CLIENT_PROPS_CONNECT] = "connect",     [CLIENT_PROPS_PUBLISH] = "publish",
    [CLIENT_PROPS_SUBSCRIBE] = "subscribe", [CLIENT_PROPS_UNSUBSCRIBE] = "unsubscribe",
    [CLIENT_PROPS_WILL] = "will",           [CLIENT_PROPS_DISCONNECT] = "disconnect"};

#define FOR(kind) (1U << CLIENT_PROPS_##kind)

static const struct property {
    const char *name;
    enum mqtt_prop_id id;
    enum type type;
    long least, most; /* of a number */
    unsigned packets;
    const char *why; /* when refused */
} properties[] = {
    {"payload-format-indicator", MQTT_PROP_PAYLOAD_FORMAT, TYPE_NUMBER, 0, 1,
     FOR(PUBLISH) | FOR(WILL), NULL},
    {"message-expiry-interval", MQTT_PROP_MESSAGE_EXPIRY, TYPE_NUMBER, 0, UINT32_MAX,
     FOR(PUBLISH) | FOR(WILL), NULL},
    {"content-type", MQTT_PROP_CONTENT_TYPE, TYPE_TEXT, 0, 0, FOR(PUBLISH) | FOR(WILL), NULL},
    {"response-topic", MQTT_PROP_RESPONSE_TOPIC, TYPE_TEXT, 0, 0, FOR(PUBLISH) | FOR(WILL), NULL},
    {"correlation-data", MQTT_PROP_CORRELATION_DATA, TYPE_BYTES, 0, 0, FOR(PUBLISH) | FOR(WILL),
     NULL},
    {"topic-alias", MQTT_PROP_TOPIC_ALIAS, TYPE_NUMBER, 1, UINT16_MAX, FOR(PUBLISH), NULL},
    {"subscription-identifier", MQTT_PROP_SUBSCRIPTION_ID, TYPE_NUMBER, 1, 268435455,
     FOR(SUBSCRIBE), NULL},
    {"session-expiry-interval", MQTT_PROP_SESSION_EXPIRY, TYPE_NUMBER, 0, UINT32_MAX,
     FOR(CONNECT) | FOR(DISCONNECT), NULL},
    {"receive-maximum", MQTT_PROP_RECEIVE_MAXIMUM, TYPE_NUMBER, 1, UINT16_MAX, FOR(CONNECT), NULL},
    {"maximum-packet-size", MQTT_PROP_MAXIMUM_PACKET_SIZE, TYPE_NUMBER, 1, UINT32_MAX, FOR(CONNECT),
     NULL},
    {"request-problem-information", MQTT_PROP_REQUEST_PROBLEM_INFO, TYPE_NUMBER, 0, 1, FOR(CONNECT),
     NULL},
    {"request-response-information", MQTT_PROP_REQUEST_RESPONSE_INFO, TYPE_NUMBER, 0, 1,
     FOR(CONNECT), NULL},
    {"topic-alias-maximum", MQTT_PROP_TOPIC_ALIAS_MAXIMUM, TYPE_REFUSED, 0, 0, FOR(CONNECT),
     "this client takes no topic aliases from a server yet"},
    {"authentication-method", MQTT_PROP_AUTH_METHOD, TYPE_REFUSED, 0, 0, FOR(CONNECT),
     "not there yet: as whom to connect say --bundle, --cert and --key, or -u"},
    {"authentication-data", MQTT_PROP_AUTH_DATA, TYPE_REFUSED, 0, 0, FOR(CONNECT),
     "not there yet: as whom to connect say --bundle, --cert and --key, or -u"},
    {"will-delay-interval", MQTT_PROP_WILL_DELAY, TYPE_NUMBER, 0, UINT32_MAX, FOR(WILL), NULL},
    {"user-property", MQTT_PROP_USER, TYPE_PAIR, 0, 0,
     FOR(CONNECT) | FOR(PUBLISH) | FOR(SUBSCRIBE) | FOR(UNSUBSCRIBE) | FOR(WILL) | FOR(DISCONNECT),
     NULL},
};

void client_props_init(struct client_props *p)
{
    p->given = false;
    for (size_t i = 0; i < CLIENT_PROPS_KINDS; i++) {
        p->of[i] = (struct mqtt_props){0};
        p->user[i] = wr_into(p->user_bytes[i], sizeof(p->user_bytes[i]));
    }
}

void client_props_finish(struct client_props *p)
{
    for (size_t i = 0; i < CLIENT_PROPS_KINDS; i++) {
        uint32_t id = mqtt_props_number(&p->of[i], MQTT_PROP_SUBSCRIPTION_ID, 0);
        if (wr_slice(&p->user[i]).n > 0) {
            if (id > 0) {
                /* It may repeat elsewhere, so it goes where the user properties are. */
                mqtt_props_clear(&p->of[i], MQTT_PROP_SUBSCRIPTION_ID);
                mqtt_prop_write_number(&p->user[i], MQTT_PROP_SUBSCRIPTION_ID, id);
            }
            mqtt_props_set_repeated(&p->of[i], wr_slice(&p->user[i]));
        }
    }
}

static bool is_text(const char *text)
{
    return utf8_check(slice_text(text), UTF8_MQTT, NULL) == OK && strlen(text) <= UINT16_MAX;
}

static int say_valid(struct cli *cli, const struct cli_command *self, size_t packet,
                     const char *name)
{
    char valid[VALID_BYTES] = "";
    struct wr w = wr_into((uint8_t *)valid, sizeof(valid) - 1);
    for (size_t i = 0; i < COUNT_OF(properties); i++) {
        if ((properties[i].packets >> packet & 1) != 0 && properties[i].type != TYPE_REFUSED) {
            wr_u8(&w, ' ');
            wr_bytes(&w, slice_text(properties[i].name));
        }
    }
    return cli_usage(cli, self, "-D: \"%s\" is no property of %s; valid are:%s", name,
                     packets[packet], valid);
}

static int add_number(struct client_props *props, size_t packet, const struct property *p,
                      const char *text, struct cli *cli, const struct cli_command *self)
{
    char *end;
    errno = 0;
    long v = strtol(text, &end, NUMBER_BASE);
    if (end == text || *end != '\0' || errno != 0 || v < p->least || v > p->most) {
        return cli_usage(cli, self, "-D: %s takes a number from %ld to %ld", p->name, p->least,
                         p->most);
    }
    mqtt_props_set_number(&props->of[packet], p->id, (uint32_t)v);
    return CLI_DONE;
}

static int add_value(struct client_props *props, size_t packet, const struct property *p,
                     char *const *values, int n, struct cli *cli, const struct cli_command *self)
{
    bool is_pair = p->type == TYPE_PAIR;
    if (p->type == TYPE_REFUSED) {
        return cli_usage(cli, self, "-D: %s: %s", p->name, p->why);
    }
    if (n < 1 + is_pair) {
        return cli_usage(cli, self, "-D: %s needs %s", p->name,
                         is_pair ? "a key and a value" : "a value");
    }
    if (p->type == TYPE_NUMBER) {
        return add_number(props, packet, p, values[0], cli, self);
    }
    bool fits = p->type == TYPE_BYTES ? strlen(values[0]) <= UINT16_MAX : is_text(values[0]);
    if (!fits || (is_pair && !is_text(values[1]))) {
        return cli_usage(cli, self, "-D: %s takes UTF-8 text of at most 65535 bytes", p->name);
    }
    if (!is_pair) {
        mqtt_props_set_text(&props->of[packet], p->id, slice_text(values[0]));
        return CLI_DONE;
    }
    mqtt_prop_write_user(&props->user[packet], slice_text(values[0]), slice_text(values[1]));
    bool has_room =
        wr_ok(&props->user[packet]) && wr_slice(&props->user[packet]).n <= CLIENT_PROPS_USER_BYTES;
    return has_room ? CLI_DONE
                    : cli_usage(cli, self,
                                "-D: the user properties of %s are over %d "
                                "bytes",
                                packets[packet], (int)CLIENT_PROPS_USER_BYTES);
}

int client_props_add(struct client_props *props, struct cli *cli, const struct cli_command *self,
                     char *const *words, int n, int *ret_used)
{
    size_t packet = 0, at = 0;
    while (n >= 1 && packet < COUNT_OF(packets) && strcasecmp(packets[packet], words[0]) != 0) {
        packet++;
    }
    if (n < 2 || packet == COUNT_OF(packets)) {
        return cli_usage(cli, self,
                         "-D takes connect|publish|subscribe|unsubscribe|will|disconnect, a "
                         "property of that packet and its value; e.g. -D publish user-property KEY "
                         "VALUE");
    }
    while (at < COUNT_OF(properties) && (strcmp(properties[at].name, words[1]) != 0 ||
                                         (properties[at].packets >> packet & 1) == 0)) {
        at++;
    }
    if (at == COUNT_OF(properties)) {
        return say_valid(cli, self, packet, words[1]);
    }
    props->given = true;
    *ret_used = properties[at].type == TYPE_PAIR ? 4 : 3;
    return add_value(props, packet, &properties[at], words + 2, n - 2, cli, self);
}
