/* One event as one line of JSON: whatever a stranger put into it. */
#include <jansson.h>

#include "base/utf8.h"
#include "service/watch/audit.h"

/* What stands behind the reason when the principal is only a claim: the keys of a line are fixed.
 */
#define CLAIMED " [the name is claimed, not proven]"

enum {
    REASON_MAX = sizeof((struct event){0}.reason) + sizeof CLAIMED,
    TEXT_MAX = 4 * REASON_MAX /* every byte may become \xNN */
};

static void json_release(json_t **j)
{
    json_decref(*j);
}

static bool is_plain(uint8_t byte)
{
    return byte != 0x7f; /* JSON escapes the other control bytes, this one it leaves to terminals */
}

static void append_escaped(char *dst, size_t *at, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    dst[(*at)++] = '\\';
    dst[(*at)++] = 'x';
    dst[(*at)++] = digits[byte >> 4];
    dst[(*at)++] = digits[byte & 15];
}

/* The field as JSON text; "-" when it is empty. */
static json_t *text_of(const char *field, size_t cap)
{
    struct slice rest = slice_of(field, strnlen(field, cap));
    char text[TEXT_MAX];
    size_t n = 0;
    if (rest.n == 0) {
        return json_string("-");
    }
    while (rest.n > 0) {
        size_t good = rest.n;
        if (utf8_check(rest, UTF8_MQTT, &good) == OK) {
            good = rest.n;
        }
        for (size_t i = 0; i < good; i++) {
            if (is_plain(rest.p[i])) {
                text[n++] = (char)rest.p[i];
            } else {
                append_escaped(text, &n, rest.p[i]);
            }
        }
        rest = slice_from(rest, good);
        if (rest.n > 0) {
            append_escaped(text, &n, rest.p[0]);
            rest = slice_from(rest, 1);
        }
    }
    return json_stringn(text, n);
}

#define TEXT_OF(e, field) text_of((e)->field, sizeof((e)->field))

enum err audit_encode(const struct event *e, struct buf *ret)
{
    char time[CLOCK_ISO8601_BYTES];
    char reason[REASON_MAX];
    clock_iso8601(e->wall_ms, time);
    snprintf(reason, sizeof reason, "%s%s", e->reason, e->is_claimed ? CLAIMED : "");
    const char *protocol =
        e->protocol == EVENT_PROTOCOL_none ? "-" : event_protocol_name(e->protocol);
    AUTO(json_release)
    json_t *line =
        json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:s,s:o,s:o,s:I}", "time", time, "category",
                  event_category_name(e->category), "severity", event_severity_name(e->severity),
                  "principal", TEXT_OF(e, principal), "client_id", TEXT_OF(e, client_id), "peer",
                  TEXT_OF(e, peer), "listener", TEXT_OF(e, listener), "protocol", protocol,
                  "target", TEXT_OF(e, target), "reason", text_of(reason, sizeof reason), "count",
                  (json_int_t)(e->count > 0 ? e->count : 1));
    if (line == NULL) {
        return ERR_NOMEM;
    }
    size_t n = json_dumpb(line, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII);
    uint8_t *room;
    if (n == 0) {
        return ERR_NOMEM;
    }
    TRY(buf_room(ret, n + 1, ret->n + AUDIT_LINE_MAX, &room));
    if (json_dumpb(line, (char *)room, n, JSON_COMPACT | JSON_ENSURE_ASCII) != n) {
        return ERR_NOMEM;
    }
    room[n] = '\n';
    ret->n += n + 1;
    return OK;
}
