/* The options that pub, sub and rpc share, and -D. */
#include "app/cli/client_mqtt.h"
#include "base/utf8.h"
#include "wire/mqtt/topic.h"

enum { KEEP_ALIVE_S = 60, WINDOW = 20 };

bool client_topic_ok(struct cli *cli, const struct cli_command *self, const char *text,
                     bool is_filter)
{
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct slice group, filter;
    enum err err = is_filter ? mqtt_filter_check(slice_text(text), &limits, NULL, &group, &filter)
                             : mqtt_topic_check(slice_text(text), &limits, NULL);
    if (err != OK) {
        (void)cli_usage(cli, self, "-t %s is not a topic %s%s", text,
                        is_filter ? "filter" : "to publish to",
                        is_filter ? "" : " (no + or #, not empty, UTF-8)");
    }
    return err == OK;
}

/* ---- -D PACKET NAME [KEY] VALUE ---- */

static const char *const packets[CLIENT_PROPS_KINDS] = {[CLIENT_PROPS_CONNECT] = "connect",
                                                        [CLIENT_PROPS_PUBLISH] = "publish",
                                                        [CLIENT_PROPS_SUBSCRIBE] = "subscribe",
                                                        [CLIENT_PROPS_UNSUBSCRIBE] = "unsubscribe",
                                                        [CLIENT_PROPS_WILL] = "will"};

#define FOR(kind) (1U << CLIENT_PROPS_##kind)

static const struct property {
    const char *name;
    enum mqtt_prop_id id;
    long least, most; /* of a number; most 0: text */
    unsigned packets;
} properties[] = {
    {"payload-format-indicator", MQTT_PROP_PAYLOAD_FORMAT, 0, 1, FOR(PUBLISH) | FOR(WILL)},
    {"message-expiry-interval", MQTT_PROP_MESSAGE_EXPIRY, 0, UINT32_MAX, FOR(PUBLISH) | FOR(WILL)},
    {"content-type", MQTT_PROP_CONTENT_TYPE, 0, 0, FOR(PUBLISH) | FOR(WILL)},
    {"response-topic", MQTT_PROP_RESPONSE_TOPIC, 0, 0, FOR(PUBLISH) | FOR(WILL)},
    {"correlation-data", MQTT_PROP_CORRELATION_DATA, 0, 0, FOR(PUBLISH) | FOR(WILL)},
    {"subscription-identifier", MQTT_PROP_SUBSCRIPTION_ID, 1, 268435455, FOR(SUBSCRIBE)},
    {"session-expiry-interval", MQTT_PROP_SESSION_EXPIRY, 0, UINT32_MAX, FOR(CONNECT)},
    {"request-problem-information", MQTT_PROP_REQUEST_PROBLEM_INFO, 0, 1, FOR(CONNECT)},
    {"will-delay-interval", MQTT_PROP_WILL_DELAY, 0, UINT32_MAX, FOR(WILL)},
    {"user-property", MQTT_PROP_USER, 0, 0,
     FOR(CONNECT) | FOR(PUBLISH) | FOR(SUBSCRIBE) | FOR(UNSUBSCRIBE) | FOR(WILL)},
};

static bool is_text(const char *text)
{
    return utf8_check(slice_text(text), UTF8_MQTT, NULL) == OK && strlen(text) <= UINT16_MAX;
}

static int add_number(struct cli *cli, const struct cli_command *self, const struct property *p,
                      const char *text, struct mqtt_props *props)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || v < p->least || v > p->most) {
        return cli_usage(cli, self, "-D: %s takes a number from %ld to %ld", p->name, p->least,
                         p->most);
    }
    mqtt_props_set_number(props, p->id, (uint32_t)v);
    return CLI_DONE;
}

/* words: what follows "-D", n of them. *ret_used: how many belong to it. */
static int add_property(struct cli *cli, const struct cli_command *self, char **words, int n,
                        struct client_mqtt *m, int *ret_used)
{
    size_t packet = 0, at = 0;
    while (n >= 3 && packet < COUNT_OF(packets) && strcmp(packets[packet], words[0]) != 0) {
        packet++;
    }
    while (n >= 3 && at < COUNT_OF(properties) && strcmp(properties[at].name, words[1]) != 0) {
        at++;
    }
    if (n < 3 || packet == COUNT_OF(packets) || at == COUNT_OF(properties) ||
        (properties[at].packets >> packet & 1) == 0) {
        return cli_usage(cli, self,
                         "-D takes: connect|publish|subscribe|unsubscribe|will, a property of that "
                         "packet, its value; e.g. -D publish user-property KEY VALUE");
    }
    const struct property *p = &properties[at];
    bool is_user = p->id == MQTT_PROP_USER;
    m->has_props = true;
    *ret_used = is_user ? 4 : 3;
    if (p->most > 0) {
        return add_number(cli, self, p, words[2], &m->props[packet]);
    }
    bool is_binary = p->id == MQTT_PROP_CORRELATION_DATA;
    if (n < *ret_used || (!is_binary && !is_text(words[2])) || (is_user && !is_text(words[3]))) {
        return cli_usage(cli, self, "-D: %s takes %s of UTF-8 text", p->name,
                         is_user ? "a key and a value" : "a value");
    }
    if (!is_user) {
        mqtt_props_set_text(&m->props[packet], p->id, slice_text(words[2]));
        return CLI_DONE;
    }
    mqtt_prop_write_user(&m->user[packet], slice_text(words[2]), slice_text(words[3]));
    return wr_ok(&m->user[packet]) ? CLI_DONE
                                   : cli_usage(cli, self, "-D: too many user properties");
}

int client_mqtt_properties(struct cli *cli, const struct cli_command *self, int argc, char **argv,
                           struct client_mqtt *m, int *ret_argc, char **ret_argv)
{
    for (size_t i = 0; i < CLIENT_PROPS_KINDS; i++) {
        m->user[i] = wr_into(m->user_bytes[i], CLIENT_USER_BYTES);
    }
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-D") == 0 || strcmp(argv[i], "--property") == 0) {
            int used = 0;
            int code = add_property(cli, self, &argv[i + 1], argc - i - 1, m, &used);
            if (code != CLI_DONE) {
                return code;
            }
            i += used;
        } else if (kept == CLIENT_ARGS_MAX) {
            return cli_usage(cli, self, "too many arguments");
        } else {
            ret_argv[kept++] = argv[i];
        }
    }
    for (size_t i = 0; i < CLIENT_PROPS_KINDS; i++) {
        if (wr_slice(&m->user[i]).n > 0) {
            mqtt_props_set_repeated(&m->props[i], wr_slice(&m->user[i]));
        }
    }
    *ret_argc = kept;
    return CLI_DONE;
}

/* ---- CONNECT ---- */

static int read_version(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct client_mqtt *m)
{
    const char *v = cli_value(a, "--protocol-version");
    m->connect.version = MQTT_V5;
    if (v == NULL || strcmp(v, "5") == 0 || strcmp(v, "mqttv5") == 0) {
        return CLI_DONE;
    }
    if (strcmp(v, "311") != 0 && strcmp(v, "mqttv311") != 0 && strcmp(v, "3.1.1") != 0) {
        return cli_usage(cli, self, "-V takes 5 or 311");
    }
    if (m->has_props) {
        return cli_usage(cli, self, "-D is MQTT 5: 3.1.1 has no properties");
    }
    m->connect.version = MQTT_V311;
    return CLI_DONE;
}

static int read_will(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct client_mqtt *m)
{
    const char *topic = cli_value(a, "--will-topic");
    const char *payload = cli_value(a, "--will-payload");
    long qos;
    if (!client_number(cli, self, a, "--will-qos", 0, 2, 0, &qos)) {
        return CLI_USAGE;
    }
    if (topic == NULL) {
        return payload != NULL || cli_has(a, "--will-qos") || cli_has(a, "--will-retain")
                   ? cli_usage(cli, self, "a will needs --will-topic")
                   : CLI_DONE;
    }
    if (!client_topic_ok(cli, self, topic, false)) {
        return CLI_USAGE;
    }
    if (payload != NULL && strlen(payload) > UINT16_MAX) {
        return cli_usage(cli, self, "a will holds at most 65535 bytes");
    }
    m->connect.has_will = true;
    m->connect.will = (struct mqtt_will){.topic = slice_text(topic),
                                         .payload = slice_text(payload),
                                         .props = m->props[CLIENT_PROPS_WILL],
                                         .qos = (uint8_t)qos,
                                         .retain = cli_has(a, "--will-retain")};
    return CLI_DONE;
}

/* An empty id makes the server assign one of this device's own, so that a command never takes the
 * session of the device itself over. Only a session that shall last needs a name. */
static int read_session(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct client_mqtt *m)
{
    const char *id = cli_value(a, "--id");
    long expiry;
    if (!client_number(cli, self, a, "--session-expiry-interval", 0, UINT32_MAX, 0, &expiry)) {
        return CLI_USAGE;
    }
    m->connect.clean_start = !cli_has(a, "--disable-clean-session");
    bool lasts = !m->connect.clean_start || expiry > 0;
    if (id == NULL && lasts) {
        id = m->target.device;
        if (id[0] == '\0') {
            return cli_usage(cli, self, "a session that lasts (-c, -x) needs a name: -i ID");
        }
    }
    m->connect.client_id = slice_text(id);
    if (m->connect.version != MQTT_V5) {
        return CLI_DONE;
    }
    if (!cli_has(a, "--session-expiry-interval")) {
        /* As -c means in 3.1.1: the session outlives the connection, as long as the server lets
         * it. */
        expiry = m->connect.clean_start ? 0 : (long)UINT32_MAX;
    }
    if (expiry > 0) {
        mqtt_props_set_number(&m->connect.props, MQTT_PROP_SESSION_EXPIRY, (uint32_t)expiry);
    }
    return CLI_DONE;
}

int client_mqtt_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct client_mqtt *m)
{
    long keep_alive;
    int code = client_target_read(cli, self, a, CLIENT_MQTTS, &m->target);
    code = code == CLI_DONE ? read_version(cli, self, a, m) : code;
    code = code == CLI_DONE ? read_will(cli, self, a, m) : code;
    m->connect.props = m->props[CLIENT_PROPS_CONNECT];
    code = code == CLI_DONE ? read_session(cli, self, a, m) : code;
    if (code == CLI_DONE &&
        !client_number(cli, self, a, "--keepalive", 0, UINT16_MAX, KEEP_ALIVE_S, &keep_alive)) {
        code = CLI_USAGE;
    }
    if (code != CLI_DONE) {
        return code;
    }
    const struct client_target *t = &m->target;
    m->connect.keep_alive_s = (uint16_t)keep_alive;
    m->connect.has_username = t->username.n > 0;
    m->connect.has_password = t->password.n > 0;
    m->connect.username = buf_slice(&t->username);
    m->connect.password = buf_slice(&t->password);
    m->window = WINDOW;
    if (m->connect.has_password && !m->connect.has_username && m->connect.version != MQTT_V5) {
        return cli_usage(cli, self, "MQTT 3.1.1 takes a password only with a user name: -u NAME");
    }
    return CLI_DONE;
}

void client_mqtt_done(struct client_mqtt *m)
{
    client_target_done(&m->target);
}
