/* A record as journald's native protocol has it: lines KEY=value in one datagram. What could end a
 * line is escaped, so no value needs the form with a length in front; and as a record has bounds
 * (SHIPMENT_BYTES_MAX), no datagram is so large that it had to be a file. */
#include <inttypes.h>

#include "base/clock.h"
#include "service/courier/shipment.h"
#include "service/courier/shipment_text.h"

enum { FACILITY_AUDIT = 13 };

static enum err put_field(struct buf *b, const char *key, const char *value)
{
    TRY(buf_append(b, slice_text(key), SIZE_MAX));
    TRY(buf_append(b, slice_text("="), SIZE_MAX));
    TRY(shipment_put_text(b, value, SHIPMENT_TEXT_FIELD));
    return buf_append(b, slice_text("\n"), SIZE_MAX);
}

static enum err put_number(struct buf *b, const char *key, uint64_t n)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    return put_field(b, key, text);
}

static enum err put_message(struct buf *b, const char *category, const char *reason)
{
    TRY(buf_append(b, slice_text("MESSAGE="), SIZE_MAX));
    TRY(buf_append(b, slice_text(category), SIZE_MAX));
    TRY(buf_append(b, slice_text(": "), SIZE_MAX));
    TRY(shipment_put_text(b, reason, SHIPMENT_TEXT_ASCII));
    return buf_append(b, slice_text("\n"), SIZE_MAX);
}

enum err shipment_journal(const struct shipment *s, const char *host, struct buf *ret)
{
    static const uint64_t levels[] = {6, 5, 4, 1}; /* info, notice, warning, alert */
    const char *category = s->is_checkpoint ? "checkpoint" : event_category_name(s->category);
    char time[CLOCK_ISO8601_BYTES], leaf[DIGEST_HEX_BYTES];
    clock_iso8601(s->wall_ms, time);
    digest_hex(&s->leaf, leaf);
    const struct {
        const char *key, *value;
    } texts[] = {{"SYSLOG_IDENTIFIER", "sallyport"},
                 {"SALLYPORT_HOST", host},
                 {"SALLYPORT_TIME", time},
                 {"SALLYPORT_LEAF", leaf},
                 {"SALLYPORT_CATEGORY", category},
                 {"SALLYPORT_SEVERITY", event_severity_name(s->severity)},
                 {"SALLYPORT_PRINCIPAL", s->principal},
                 {"SALLYPORT_CLIENT_ID", s->client_id},
                 {"SALLYPORT_PEER", s->peer},
                 {"SALLYPORT_LISTENER", s->listener},
                 {"SALLYPORT_PROTOCOL", s->protocol},
                 {"SALLYPORT_TARGET", s->target},
                 {"SALLYPORT_REASON", s->reason}};
    TRY(put_message(ret, category, s->reason));
    TRY(put_number(ret, "PRIORITY", levels[s->severity]));
    TRY(put_number(ret, "SYSLOG_FACILITY", FACILITY_AUDIT));
    TRY(put_number(ret, "SALLYPORT_SEQ", s->seq));
    TRY(put_number(ret, "SALLYPORT_COUNT", s->count));
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        TRY(put_field(ret, texts[i].key, texts[i].value));
    }
    return OK;
}
