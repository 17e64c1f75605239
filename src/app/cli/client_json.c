#include "app/cli/client_json.h"

#include <jansson.h>

#include "app/cli/client_format.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

enum { TIME_BYTES = 64, NAME_BYTES = 64, INDENT = 2 };

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void print_hex(FILE *to, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        fprintf(to, "%02x", s.p[i]);
    }
}

/* NULL when it is no UTF-8. */
static json_t *text_of(struct slice s)
{
    return s.n > 0 ? json_stringn((const char *)s.p, s.n) : json_string("");
}

bool client_json_is_json(struct slice payload)
{
    if (payload.n == 0) {
        return true;
    }
    AUTO(json_release)
    json_t *j = json_loadb((const char *)payload.p, payload.n,
                           JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    return j != NULL;
}

/* ---- properties ---- */

/* A second value under a name makes a list of them. */
static void add_again(json_t *object, const char *name, size_t name_n, json_t *value)
{
    json_t *there = json_object_getn(object, name, name_n);
    if (value == NULL) {
        return;
    }
    if (there == NULL) {
        (void)json_object_setn_new(object, name, name_n, value);
        return;
    }
    if (!json_is_array(there)) {
        json_t *list = json_array();
        (void)json_array_append(list, there);
        (void)json_object_setn_new(object, name, name_n, list);
        there = list;
    }
    (void)json_array_append_new(there, value);
}

static const char *property_name(enum mqtt_prop_id id)
{
    switch ((unsigned)id) {
    case MQTT_PROP_PAYLOAD_FORMAT:
        return "payload-format-indicator";
    case MQTT_PROP_MESSAGE_EXPIRY:
        return "message-expiry-interval";
    case MQTT_PROP_CONTENT_TYPE:
        return "content-type";
    case MQTT_PROP_RESPONSE_TOPIC:
        return "response-topic";
    case MQTT_PROP_CORRELATION_DATA:
        return "correlation-data";
    case MQTT_PROP_SUBSCRIPTION_ID:
        return "subscription-identifier";
    case MQTT_PROP_TOPIC_ALIAS:
        return "topic-alias";
    default:
        return NULL;
    }
}

/* Binary data may be text or not. */
static void add_bytes(json_t *object, const char *name, struct slice s)
{
    json_t *text = text_of(s);
    if (text != NULL) {
        add_again(object, name, strlen(name), text);
        return;
    }
    char hex_name[NAME_BYTES];
    AUTO(buf_done) struct buf hex = {0};
    (void)snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
    for (size_t i = 0; i < s.n; i++) {
        char two[3];
        (void)snprintf(two, sizeof(two), "%02x", s.p[i]);
        if (buf_append(&hex, slice_text(two), SIZE_MAX / 4) != OK) {
            return;
        }
    }
    add_again(object, hex_name, strlen(hex_name), text_of(buf_slice(&hex)));
}

static json_t *properties_of(const struct mqtt_publish *m)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props.block);
    struct mqtt_prop p;
    json_t *all = json_object(), *users = json_object();
    while (mqtt_props_next(&it, &p)) {
        const char *name = property_name(p.id);
        if (p.id == MQTT_PROP_USER) {
            add_again(users, p.key.n > 0 ? (const char *)p.key.p : "", p.key.n, text_of(p.text));
        } else if (name != NULL &&
                   (p.id == MQTT_PROP_CONTENT_TYPE || p.id == MQTT_PROP_RESPONSE_TOPIC ||
                    p.id == MQTT_PROP_CORRELATION_DATA)) {
            add_bytes(all, name, p.text);
        } else if (name != NULL) {
            add_again(all, name, strlen(name), json_integer(p.number));
        }
    }
    if (json_object_size(users) > 0) {
        (void)json_object_set(all, "user-properties", users);
    }
    json_decref(users);
    return all;
}

/* ---- the object ---- */

static bool local_time(int64_t wall_ms, char dst[TIME_BYTES])
{
    char head[TIME_BYTES / 2], zone[TIME_BYTES / 4];
    time_t s = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (localtime_r(&s, &tm) == NULL ||
        strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm) == 0 ||
        strftime(zone, sizeof(zone), "%z", &tm) == 0) {
        return false;
    }
    (void)snprintf(dst, TIME_BYTES, "%s.%06ld%s", head, (long)(wall_ms % 1000) * 1000, zone);
    return true;
}

/* Line ends between its members would make several lines of it. */
static void print_raw(FILE *to, struct slice s, bool is_terminal)
{
    while (s.n > 0) {
        size_t at = 0;
        while (at < s.n && s.p[at] != '\n' && s.p[at] != '\r') {
            at++;
        }
        client_payload_print(to, slice_head(s, at), is_terminal);
        if (at < s.n) {
            fputc(' ', to);
        }
        s = slice_from(s, at + 1);
    }
}

/* An object's last brace gives way to one more member, which the library cannot hold: bytes that
 * are no text, or a payload as it is. */
static void print_with_payload(FILE *to, const json_t *object, const struct client_json *how,
                               const struct mqtt_publish *m)
{
    size_t flags = how->pretty ? JSON_INDENT(INDENT) : JSON_COMPACT;
    flags |= how->is_terminal ? JSON_ENSURE_ASCII : 0;
    char *dump = json_dumps(object, flags);
    AUTO(json_release) json_t *text = text_of(m->payload);
    bool is_raw = how->payload_is_json && m->payload.n > 0;
    if (dump == NULL) {
        return;
    }
    const char *end = how->pretty ? "\n}" : "}";
    const char *name = !is_raw && text == NULL ? "payload_hex" : "payload";
    fprintf(to, "%.*s,%s\"%s\":%s", (int)(strlen(dump) - strlen(end)), dump,
            how->pretty ? "\n  " : "", name, how->pretty ? " " : "");
    free(dump); /* the library's own allocation */
    if (m->payload.n == 0) {
        fputs("null", to);
    } else if (is_raw) {
        print_raw(to, m->payload, how->is_terminal);
    } else if (text != NULL) {
        json_dumpf(text, to, JSON_ENCODE_ANY | (how->is_terminal ? JSON_ENSURE_ASCII : 0));
    } else {
        fputc('"', to);
        print_hex(to, m->payload);
        fputc('"', to);
    }
    fputs(end, to);
}

void client_json_print(FILE *to, const struct client_json *how, const struct mqtt_publish *m,
                       int64_t wall_ms)
{
    char time[TIME_BYTES];
    if (!local_time(wall_ms, time)) {
        return;
    }
    AUTO(json_release)
    json_t *line =
        json_pack("{s:s, s:s%, s:i, s:i, s:I}", "tst", time, "topic", m->topic.p, m->topic.n, "qos",
                  (int)m->qos, "retain", m->retain ? 1 : 0, "payloadlen", (json_int_t)m->payload.n);
    if (line == NULL) {
        return;
    }
    if (m->qos > 0) {
        (void)json_object_set_new(line, "mid", json_integer(m->packet_id));
    }
    AUTO(json_release) json_t *properties = properties_of(m);
    if (json_object_size(properties) > 0) {
        (void)json_object_set(line, "properties", properties);
    }
    print_with_payload(to, line, how, m);
}

void client_json_print_own(FILE *to, const struct mqtt_publish *m, int64_t wall_ms,
                           bool is_terminal)
{
    char time[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall_ms, time);
    AUTO(json_release)
    json_t *line = json_pack("{s:s, s:s%, s:i, s:b, s:I}", "time", time, "topic", m->topic.p,
                             m->topic.n, "qos", (int)m->qos, "retain", m->retain ? 1 : 0, "bytes",
                             (json_int_t)m->payload.n);
    if (line == NULL) {
        return;
    }
    json_t *text = text_of(m->payload);
    if (text != NULL) {
        (void)json_object_set_new(line, "payload", text);
        json_dumpf(line, to, JSON_COMPACT | (is_terminal ? JSON_ENSURE_ASCII : 0));
        return;
    }
    struct client_json how = {.is_terminal = is_terminal};
    print_with_payload(to, line, &how, m);
}

static void add_option(json_t *object, const char *name, const struct coap_message *m,
                       uint16_t number)
{
    uint32_t value;
    if (coap_options_find_uint(m->options, number, &value)) {
        (void)json_object_set_new(object, name, json_integer(value));
    }
}

void client_json_print_coap(FILE *to, const struct coap_message *m, struct slice body,
                            bool is_terminal)
{
    AUTO(json_release) json_t *object = json_object();
    struct client_json how = {.is_terminal = is_terminal};
    struct mqtt_publish payload = {.payload = body};
    struct slice etag;
    char code[COAP_CODE_TEXT_BYTES], hex[2 * 8 + 1] = "";
    coap_code_text(m->code, code);
    (void)json_object_set_new(object, "code", json_string(code));
    if (coap_options_find(m->options, COAP_OPTION_ETAG, &etag)) {
        for (size_t i = 0; i < etag.n && i < 8; i++) {
            (void)snprintf(hex + 2 * i, 3, "%02x", etag.p[i]);
        }
        (void)json_object_set_new(object, "etag", json_string(hex));
    }
    add_option(object, "observe", m, COAP_OPTION_OBSERVE);
    add_option(object, "format", m, COAP_OPTION_CONTENT_FORMAT);
    add_option(object, "max_age", m, COAP_OPTION_MAX_AGE);
    (void)json_object_set_new(object, "bytes", json_integer((json_int_t)body.n));
    print_with_payload(to, object, &how, &payload);
}
