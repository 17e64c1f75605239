/* What pub, sub and rpc say in CONNECT, out of their options. */
#include <unistd.h>

#include "app/cli/client_mqtt.h"
#include "wire/mqtt/topic.h"

enum { KEEP_ALIVE_S = 60, WINDOW = 20 };

bool client_topic_ok(struct cli *cli, const struct cli_command *self, const char *text,
                     const char *option, bool is_filter)
{
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct slice group, filter;
    enum err err = is_filter ? mqtt_filter_check(slice_text(text), &limits, NULL, &group, &filter)
                             : mqtt_topic_check(slice_text(text), &limits, NULL);
    if (err != OK) {
        (void)cli_usage(cli, self, "%s %s is not a topic %s%s", option, text,
                        is_filter ? "filter" : "to publish to",
                        is_filter ? "" : " (no + or #, not empty, UTF-8)");
    }
    return err == OK;
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
    if (strcmp(v, "31") == 0 || strcmp(v, "mqttv31") == 0) {
        return cli_usage(cli, self,
                         "-V %s is not offered: this command speaks 3.1.1 and 5, which every "
                         "server knows that is still cared for; leave -V away",
                         v);
    }
    if (strcmp(v, "311") != 0 && strcmp(v, "mqttv311") != 0 && strcmp(v, "3.1.1") != 0) {
        return cli_usage(cli, self, "-V takes 5 or 311 (mqttv5, mqttv311)");
    }
    if (m->props.given) {
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
    if (!client_topic_ok(cli, self, topic, "--will-topic", false)) {
        return CLI_USAGE;
    }
    if (payload != NULL && strlen(payload) > UINT16_MAX) {
        return cli_usage(cli, self, "a will holds at most 65535 bytes");
    }
    m->connect.has_will = true;
    m->connect.will = (struct mqtt_will){.topic = slice_text(topic),
                                         .payload = slice_text(payload),
                                         .props = m->props.of[CLIENT_PROPS_WILL],
                                         .qos = (uint8_t)qos,
                                         .retain = cli_has(a, "--will-retain")};
    return CLI_DONE;
}

/* -1 and the sign of infinity are what people type for "as long as the server lets it". */
static bool read_expiry(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        const struct mqtt_props *props, long *ret)
{
    const char *text = cli_value(a, "--session-expiry-interval");
    if (text != NULL && (strcmp(text, "-1") == 0 || strcmp(text, "\xe2\x88\x9e") == 0)) {
        *ret = UINT32_MAX;
        return true;
    }
    /* As -c means in 3.1.1: the session outlives the connection. */
    uint32_t absent = cli_has(a, "--disable-clean-session") ? UINT32_MAX : 0;
    absent = mqtt_props_number(props, MQTT_PROP_SESSION_EXPIRY, absent);
    return client_number(cli, self, a, "--session-expiry-interval", 0, UINT32_MAX, absent, ret);
}

/* An empty id makes the server assign one of this device's own, so that a command never takes the
 * session of the device itself over. Only a session that shall last needs a name. */
static int read_id(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   bool lasts, struct client_mqtt *m)
{
    const char *id = cli_value(a, "--id");
    const char *prefix = cli_value(a, "--id-prefix");
    if (id != NULL && prefix != NULL) {
        return cli_usage(cli, self, "the client id comes from -i or from -I, not from both");
    }
    if (prefix != NULL) {
        int n = snprintf(m->id, sizeof(m->id), "%s-%ld", prefix, (long)getpid());
        if (n < 0 || (size_t)n >= sizeof(m->id)) {
            return cli_usage(cli, self, "-I is too long");
        }
        id = m->id;
    }
    if (id == NULL && lasts) {
        id = m->target.device;
        if (id[0] == '\0') {
            return cli_usage(cli, self, "a session that lasts (-c, -x) needs a name: -i ID");
        }
    }
    m->connect.client_id = slice_text(id);
    return CLI_DONE;
}

static int read_session(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        struct client_mqtt *m)
{
    long expiry;
    bool is_v5 = m->connect.version == MQTT_V5;
    if (!read_expiry(cli, self, a, &m->connect.props, &expiry)) {
        return CLI_USAGE;
    }
    if (!is_v5 && cli_has(a, "--session-expiry-interval")) {
        return cli_usage(cli, self, "-x is MQTT 5: in 3.1.1 a session lasts with -c");
    }
    m->connect.clean_start = !cli_has(a, "--disable-clean-session");
    if (is_v5 && expiry > 0) {
        mqtt_props_set_number(&m->connect.props, MQTT_PROP_SESSION_EXPIRY, (uint32_t)expiry);
    }
    return read_id(cli, self, a, !m->connect.clean_start || expiry > 0, m);
}

/* What this client takes: -D connect may lower or raise it. */
static int read_bounds(struct cli *cli, const struct cli_command *self, struct client_mqtt *m)
{
    const struct mqtt_props *p = &m->connect.props;
    m->window = WINDOW;
    m->receive_max = (uint16_t)mqtt_props_number(p, MQTT_PROP_RECEIVE_MAXIMUM, CLIENT_RECEIVE_MAX);
    m->packet_max = mqtt_props_number(p, MQTT_PROP_MAXIMUM_PACKET_SIZE, CLIENT_PACKET_MAX);
    if (m->packet_max > CLIENT_PACKET_MAX) {
        return cli_usage(cli, self, "-D: maximum-packet-size is at most %d here",
                         (int)CLIENT_PACKET_MAX);
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
    m->connect.props = m->props.of[CLIENT_PROPS_CONNECT];
    code = code == CLI_DONE ? read_session(cli, self, a, m) : code;
    code = code == CLI_DONE ? read_bounds(cli, self, m) : code;
    if (code == CLI_DONE &&
        !client_number(cli, self, a, "--keepalive", 0, UINT16_MAX, KEEP_ALIVE_S, &keep_alive)) {
        code = CLI_USAGE;
    }
    if (code != CLI_DONE) {
        return code;
    }
    const struct client_target *t = &m->target;
    m->debug = cli_has(a, "--debug");
    m->connect.keep_alive_s = (uint16_t)keep_alive;
    m->connect.has_username = t->username.n > 0;
    m->connect.has_password = t->password.n > 0;
    m->connect.username = buf_slice(&t->username);
    m->connect.password = buf_slice(&t->password);
    if (m->connect.has_password && !m->connect.has_username && m->connect.version != MQTT_V5) {
        return cli_usage(cli, self, "MQTT 3.1.1 takes a password only with a user name: -u NAME");
    }
    return CLI_DONE;
}

int client_mqtt_topic(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      const struct client_mqtt *m, const char **ret)
{
    const char *const *topics;
    size_t n = cli_values(a, "--topic", &topics);
    const char *topic = n > 0 ? topics[n - 1] : m->target.topic;
    if (topic[0] == '\0' || n > 1) {
        return cli_usage(cli, self, "%s takes one topic: -t TOPIC", self->name);
    }
    *ret = topic;
    return client_topic_ok(cli, self, topic, "-t", false) ? CLI_DONE : CLI_USAGE;
}

void client_mqtt_done(struct client_mqtt *m)
{
    buf_wipe(&m->options_file);
    client_target_done(&m->target);
}
