/* A line of the trail as a value, and the frames around what becomes of it. */
#include "service/courier/shipment.h"

#include "base/clock.h"
#include "base/wr.h"

static const char *const format_names[] = {"syslog", "ocsf", "json", "record", "journal"};
enum { FORMATS_OF_FILES = 3 }; /* the others are of sinks alone */

const char *shipment_format_name(enum shipment_format f)
{
    return format_names[f];
}

bool shipment_format_find(struct slice name, enum shipment_format *ret)
{
    for (size_t i = 0; i < FORMATS_OF_FILES; i++) {
        if (slice_is(name, format_names[i])) {
            *ret = (enum shipment_format)i;
            return true;
        }
    }
    return false;
}

static bool read_severity(const char *name, enum event_severity *ret)
{
    for (int i = SEVERITY_INFO; i <= SEVERITY_ALERT; i++) {
        if (strcmp(name, event_severity_name((enum event_severity)i)) == 0) {
            *ret = (enum event_severity)i;
            return true;
        }
    }
    return false;
}

static bool read_digits(const char *text, size_t n, int64_t *ret)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        v = v * 10 + (text[i] - '0');
    }
    *ret = v;
    return true;
}

/* Days since 1970 of a date in the calendar that all machines use. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "2026-11-22T08:00:00.123Z", as clock_iso8601 writes it. */
static bool read_time(const char *text, int64_t *ret)
{
    static const struct {
        uint8_t at, n;
    } parts[] = {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}, {20, 3}};
    int64_t v[COUNT_OF(parts)];
    if (strlen(text) != 24 || text[23] != 'Z') {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!read_digits(text + parts[i].at, parts[i].n, &v[i])) {
            return false;
        }
    }
    int64_t days = days_of(v[0], v[1], v[2]);
    *ret = (((days * 24 + v[3]) * 60 + v[4]) * 60 + v[5]) * 1000 + v[6];
    return true;
}

void shipment_done(struct shipment *s)
{
    json_decref(s->json);
    s->json = NULL;
}

static enum err take_apart(struct shipment *s)
{
    const char *time, *category, *severity;
    json_int_t count;
    if (json_unpack(s->json, "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "time", &time,
                    "category", &category, "severity", &severity, "principal", &s->principal,
                    "client_id", &s->client_id, "peer", &s->peer, "listener", &s->listener,
                    "protocol", &s->protocol, "target", &s->target, "reason", &s->reason, "count",
                    &count) != 0) {
        return ERR_MALFORMED;
    }
    if (!read_time(time, &s->wall_ms) || !read_severity(severity, &s->severity) ||
        !event_category_find(slice_text(category), &s->category) || count < 1 ||
        count > UINT32_MAX) {
        return ERR_MALFORMED;
    }
    s->count = (uint32_t)count;
    return OK;
}

enum err shipment_read(struct slice line, struct shipment *ret)
{
    AUTO(shipment_done) struct shipment s = {0};
    s.json = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    if (s.json == NULL) {
        return ERR_MALFORMED;
    }
    TRY(take_apart(&s));
    *ret = s;
    s.json = NULL;
    return OK;
}

struct shipment shipment_checkpoint(int64_t wall_ms)
{
    return (struct shipment){.is_checkpoint = true,
                             .wall_ms = wall_ms,
                             .severity = SEVERITY_INFO,
                             .count = 1,
                             .principal = "-",
                             .client_id = "-",
                             .peer = "-",
                             .listener = "-",
                             .protocol = "-",
                             .target = "audit",
                             .reason = "the trail is signed up to here"};
}

static enum err framed(const struct shipment *s, const char *host, struct buf *ret)
{
    AUTO(buf_done) struct buf message = {0};
    char length[24];
    TRY(shipment_syslog(s, host, &message));
    int n = snprintf(length, sizeof length, "%zu ", message.n); /* SPEC: RFC5425 4.3.1 */
    TRY(buf_append(ret, slice_of(length, (size_t)n), SIZE_MAX));
    return buf_append(ret, buf_slice(&message), SIZE_MAX);
}

static enum err framed_datagram(const struct shipment *s, const char *host, struct buf *ret)
{
    AUTO(buf_done) struct buf datagram = {0};
    uint8_t front[SHIPMENT_FRAME_BYTES];
    struct wr w = wr_into(front, sizeof front);
    TRY(shipment_journal(s, host, &datagram));
    wr_u32(&w, (uint32_t)datagram.n);
    if (datagram.n > SHIPMENT_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(buf_append(ret, wr_slice(&w), SIZE_MAX));
    return buf_append(ret, buf_slice(&datagram), SIZE_MAX);
}

/* As the trail has it. */
static enum err plain(const struct shipment *s, struct buf *ret)
{
    uint8_t *room;
    size_t n = s->json != NULL ? json_dumpb(s->json, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;
    if (n == 0) {
        return s->is_checkpoint ? OK : ERR_NOMEM;
    }
    TRY(buf_room(ret, n, SIZE_MAX, &room));
    ret->n += json_dumpb(s->json, (char *)room, n, JSON_COMPACT | JSON_ENSURE_ASCII);
    return buf_append(ret, slice_text("\n"), SIZE_MAX);
}

enum err shipment_encode(enum shipment_format format, const struct shipment *s, const char *host,
                         struct buf *ret)
{
    switch (format) {
    case SHIPMENT_SYSLOG:
        return framed(s, host, ret);
    case SHIPMENT_OCSF:
        TRY(shipment_ocsf(s, host, ret));
        return buf_append(ret, slice_text("\n"), SIZE_MAX);
    case SHIPMENT_JSON:
        return plain(s, ret);
    case SHIPMENT_RECORD:
        TRY(shipment_record(s, ret));
        return buf_append(ret, slice_text("\n"), SIZE_MAX);
    case SHIPMENT_JOURNAL:
        return framed_datagram(s, host, ret);
    }
    return ERR_UNSUPPORTED;
}
