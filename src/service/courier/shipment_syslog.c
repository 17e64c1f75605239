/* A record as a message of syslog: every key as structured data. SPEC: RFC5424 6. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "service/courier/shipment.h"

enum { FACILITY_AUDIT = 13, HOST_MAX = 255 };

static enum err put(struct buf *b, const char *text)
{
    return buf_append(b, slice_text(text), SIZE_MAX);
}

/* What a terminal, or a reader of lines, takes for more than a letter. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           c == 0x061c;
}

/* The next character of valid UTF-8. */
static uint32_t take_character(struct slice *s, size_t *ret_n)
{
    uint8_t first = s->p[0];
    size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = first & masks[n];
    n = n < s->n ? n : s->n;
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (s->p[i] & 0x3f);
    }
    *ret_n = n;
    return c;
}

/* A value between quotes. SPEC: RFC5424 6.3.3. */
static enum err put_value(struct buf *b, const char *text, bool is_ascii)
{
    struct slice rest = slice_text(text);
    while (rest.n > 0) {
        size_t n;
        char escaped[16];
        uint32_t c = take_character(&rest, &n);
        if (is_control(c) || (is_ascii && c >= 0x80)) {
            (void)snprintf(escaped, sizeof escaped, "%s\\u%04" PRIx32, is_ascii ? "" : "\\", c);
            TRY(put(b, escaped));
        } else {
            if (!is_ascii && (c == '"' || c == '\\' || c == ']')) {
                TRY(put(b, "\\"));
            }
            TRY(buf_append(b, slice_head(rest, n), SIZE_MAX));
        }
        rest = slice_from(rest, n);
    }
    return OK;
}

static enum err put_param(struct buf *b, const char *name, const char *value)
{
    TRY(put(b, " "));
    TRY(put(b, name));
    TRY(put(b, "=\""));
    TRY(put_value(b, value, false));
    return put(b, "\"");
}

/* Only what a header may hold. SPEC: RFC5424 6.2.4. */
static enum err put_host(struct buf *b, const char *host)
{
    struct slice s = slice_head(slice_text(host), HOST_MAX);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f) {
            return put(b, "-");
        }
    }
    return s.n > 0 ? buf_append(b, s, SIZE_MAX) : put(b, "-");
}

static enum err put_data(const struct shipment *s, const char *category, struct buf *b)
{
    char number[32];
    char leaf[DIGEST_HEX_BYTES];
    (void)snprintf(number, sizeof number, "[sallyport@%d", SHIPMENT_ENTERPRISE);
    TRY(put(b, number));
    if (s->seq > 0) {
        (void)snprintf(number, sizeof number, "%" PRIu64, s->seq);
        digest_hex(&s->leaf, leaf);
        TRY(put_param(b, "seq", number));
        TRY(put_param(b, "leaf", leaf));
    }
    (void)snprintf(number, sizeof number, "%" PRIu32, s->count);
    TRY(put_param(b, "category", category));
    TRY(put_param(b, "severity", event_severity_name(s->severity)));
    TRY(put_param(b, "principal", s->principal));
    TRY(put_param(b, "client_id", s->client_id));
    TRY(put_param(b, "peer", s->peer));
    TRY(put_param(b, "listener", s->listener));
    TRY(put_param(b, "protocol", s->protocol));
    TRY(put_param(b, "target", s->target));
    TRY(put_param(b, "reason", s->reason));
    TRY(put_param(b, "count", number));
    return put(b, "]");
}

enum err shipment_syslog(const struct shipment *s, const char *host, struct buf *ret)
{
    static const int levels[] = {6, 5, 4, 1}; /* info, notice, warning, alert */
    const char *category = s->is_checkpoint ? "checkpoint" : event_category_name(s->category);
    char front[32];
    char time[CLOCK_ISO8601_BYTES];
    clock_iso8601(s->wall_ms, time);
    (void)snprintf(front, sizeof front, "<%d>1 ", FACILITY_AUDIT * 8 + levels[s->severity]);
    TRY(put(ret, front));
    TRY(put(ret, time));
    TRY(put(ret, " "));
    TRY(put_host(ret, host));
    TRY(put(ret, " sallyport - "));
    TRY(put(ret, category));
    TRY(put(ret, " "));
    TRY(put_data(s, category, ret));
    TRY(put(ret, " "));
    TRY(put(ret, category));
    TRY(put(ret, ": "));
    return put_value(ret, s->reason, true);
}
