/* A record as a message of syslog: every key as structured data. SPEC: RFC5424 6. */
#include <inttypes.h>

#include "base/clock.h"
#include "service/courier/shipment.h"
#include "service/courier/shipment_text.h"

enum { FACILITY_AUDIT = 13, HOST_MAX = 255 };

static enum err put(struct buf *b, const char *text)
{
    return buf_append(b, slice_text(text), SIZE_MAX);
}

static enum err put_param(struct buf *b, const char *name, const char *value)
{
    TRY(put(b, " "));
    TRY(put(b, name));
    TRY(put(b, "=\""));
    TRY(shipment_put_text(b, value, SHIPMENT_TEXT_QUOTED));
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
    return shipment_put_text(ret, s->reason, SHIPMENT_TEXT_ASCII);
}
