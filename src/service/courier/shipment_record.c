/* A record as one object that carries what a receiver drops repetitions by. */
#include "service/courier/shipment.h"

#include "base/clock.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static json_t *checkpoint_of(const struct shipment *s)
{
    char time[CLOCK_ISO8601_BYTES];
    clock_iso8601(s->wall_ms, time);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i}", "time", time, "category",
                     "checkpoint", "severity", event_severity_name(s->severity), "principal",
                     s->principal, "client_id", s->client_id, "peer", s->peer, "listener",
                     s->listener, "protocol", s->protocol, "target", s->target, "reason", s->reason,
                     "count", 1);
}

enum err shipment_record(const struct shipment *s, struct buf *ret)
{
    char leaf[DIGEST_HEX_BYTES];
    uint8_t *room;
    AUTO(json_release) json_t *o = s->is_checkpoint ? checkpoint_of(s) : json_incref(s->json);
    digest_hex(&s->leaf, leaf);
    if (o == NULL || json_object_set_new(o, "seq", json_integer((json_int_t)s->seq)) != 0 ||
        json_object_set_new(o, "leaf", json_string(leaf)) != 0) {
        return ERR_NOMEM;
    }
    size_t n = json_dumpb(o, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (n == 0) {
        return ERR_NOMEM;
    }
    TRY(buf_room(ret, n, SIZE_MAX, &room));
    ret->n += json_dumpb(o, (char *)room, n, JSON_COMPACT | JSON_ENSURE_ASCII);
    return OK;
}
