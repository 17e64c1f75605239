#include "app/cli/client_format.h"

#include "base/clock.h"
#include "base/scope.h"
#include "base/utf8.h"

static const char letters[] = "tpxqrlmCRDESPIUj%";
static const char escapes[] = "ntr0\\";

const char *client_format_check(const char *format)
{
    for (const char *at = format; *at != '\0'; at++) {
        bool is_field = *at == '%';
        if ((is_field || *at == '\\') &&
            (at[1] == '\0' || strchr(is_field ? letters : escapes, at[1]) == NULL)) {
            return at;
        }
        at += is_field || *at == '\\';
    }
    return NULL;
}

static void print_hex(FILE *to, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        fprintf(to, "%02x", s.p[i]);
    }
}

/* A stranger's bytes must not move the cursor, set the title or hide a line. */
void client_payload_print(FILE *to, struct slice s, bool is_terminal)
{
    if (s.n == 0) {
        return;
    }
    if (!is_terminal) {
        (void)!fwrite(s.p, 1, s.n, to);
        return;
    }
    bool is_utf8 = utf8_check(s, UTF8_MQTT, NULL) == OK;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        bool is_c1 = c == 0xC2 && i + 1 < s.n && s.p[i + 1] < 0xA0;
        bool is_plain = (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\t';
        if (is_plain || (c >= 0x80 && is_utf8 && !is_c1)) {
            fputc(c, to);
        } else {
            fprintf(to, "\\x%02x", c);
            if (is_c1) {
                i++;
                fprintf(to, "\\x%02x", s.p[i]);
            }
        }
    }
}

static void print_users(FILE *to, const struct mqtt_publish *m, bool is_terminal)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props.block);
    struct mqtt_prop p;
    const char *between = "";
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_USER) {
            fputs(between, to);
            client_payload_print(to, p.key, is_terminal);
            fputc(':', to);
            client_payload_print(to, p.text, is_terminal);
            between = " ";
        }
    }
}

static void print_ids(FILE *to, const struct mqtt_publish *m)
{
    struct mqtt_props_iter it = mqtt_props_each(m->props.block);
    struct mqtt_prop p;
    const char *between = "";
    while (mqtt_props_next(&it, &p)) {
        if (p.id == MQTT_PROP_SUBSCRIPTION_ID) {
            fprintf(to, "%s%u", between, (unsigned)p.number);
            between = " ";
        }
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void print_json(FILE *to, const struct mqtt_publish *m, int64_t wall_ms)
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
    json_t *text =
        m->payload.n > 0 ? json_stringn((const char *)m->payload.p, m->payload.n) : json_string("");
    if (text != NULL) {
        (void)json_object_set_new(line, "payload", text);
        json_dumpf(line, to, JSON_COMPACT);
        return;
    }
    /* Not UTF-8: the object's last brace gives way to one more member. */
    json_t *object = line;
    char *dump = json_dumps(object, JSON_COMPACT);
    if (dump != NULL) {
        fprintf(to, "%.*s,\"payload_hex\":\"", (int)strlen(dump) - 1, dump);
        print_hex(to, m->payload);
        fputs("\"}", to);
        free(dump); /* the library's own allocation */
    }
}

static void print_time(FILE *to, char letter, int64_t wall_ms)
{
    char time[CLOCK_ISO8601_BYTES];
    clock_iso8601(wall_ms, time);
    if (letter == 'I') {
        fputs(time, to);
    } else {
        fprintf(to, "%lld.%03d", (long long)(wall_ms / 1000), (int)(wall_ms % 1000));
    }
}

static void print_field(FILE *to, char letter, const struct mqtt_publish *m, int64_t wall_ms,
                        bool is_terminal)
{
    const struct mqtt_props *p = &m->props;
    switch (letter) {
    case 't':
        client_payload_print(to, m->topic, is_terminal);
        break;
    case 'p':
        client_payload_print(to, m->payload, is_terminal);
        break;
    case 'x':
        print_hex(to, m->payload);
        break;
    case 'q':
        fprintf(to, "%d", m->qos);
        break;
    case 'r':
        fputc(m->retain ? '1' : '0', to);
        break;
    case 'l':
        fprintf(to, "%zu", m->payload.n);
        break;
    case 'm':
        fprintf(to, "%d", m->packet_id);
        break;
    case 'C':
        client_payload_print(to, mqtt_props_text(p, MQTT_PROP_CONTENT_TYPE), is_terminal);
        break;
    case 'R':
        client_payload_print(to, mqtt_props_text(p, MQTT_PROP_RESPONSE_TOPIC), is_terminal);
        break;
    case 'D':
        client_payload_print(to, mqtt_props_text(p, MQTT_PROP_CORRELATION_DATA), is_terminal);
        break;
    case 'E':
        if (mqtt_props_has(p, MQTT_PROP_MESSAGE_EXPIRY)) {
            fprintf(to, "%u", (unsigned)mqtt_props_number(p, MQTT_PROP_MESSAGE_EXPIRY, 0));
        }
        break;
    case 'S':
        print_ids(to, m);
        break;
    case 'P':
        print_users(to, m, is_terminal);
        break;
    case 'I':
    case 'U':
        print_time(to, letter, wall_ms);
        break;
    case 'j':
        print_json(to, m, wall_ms);
        break;
    default:
        fputc(letter, to); /* %% */
    }
}

void client_format_print(FILE *to, const char *format, const struct mqtt_publish *m,
                         int64_t wall_ms, bool is_terminal)
{
    for (const char *at = format; *at != '\0'; at++) {
        if (*at == '%') {
            at++;
            print_field(to, *at, m, wall_ms, is_terminal);
        } else if (*at == '\\') {
            at++;
            fputc(*at == 'n'   ? '\n'
                  : *at == 't' ? '\t'
                  : *at == 'r' ? '\r'
                  : *at == '0' ? '\0'
                               : '\\',
                  to);
        } else {
            fputc(*at, to);
        }
    }
}
