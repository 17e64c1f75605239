/* Packet ids of QoS 2 that a client has opened and not released: sorted, so that a search is short.
 */
#include "base/mem.h"
#include "core/session.h"

enum { INBOUND_FIRST = 8 };

size_t session_inbound_count(const struct session *s)
{
    return s->inbound != NULL ? s->inbound->n : 0;
}

static size_t inbound_place(const struct session *s, uint16_t packet_id)
{
    size_t low = 0, high = session_inbound_count(s);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->inbound->ids[middle] < packet_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_at(const struct session *s, size_t place, uint16_t packet_id)
{
    return place < session_inbound_count(s) && s->inbound->ids[place] == packet_id;
}

/* Room for one more. */
static enum err inbound_room(struct session *s)
{
    size_t n = session_inbound_count(s);
    size_t cap = s->inbound != NULL ? s->inbound->cap : 0;
    if (n < cap) {
        return OK;
    }
    cap = cap == 0 ? INBOUND_FIRST : cap * 2;
    struct session_inbound *grown =
        mem_grow(s->inbound, sizeof *grown + cap * sizeof grown->ids[0]);
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    grown->n = n;
    grown->cap = cap;
    s->inbound = grown;
    return OK;
}

enum err session_inbound_add(struct session *s, uint16_t packet_id, uint32_t max, enum inbound *ret)
{
    size_t place = inbound_place(s, packet_id);
    if (is_at(s, place, packet_id)) {
        *ret = INBOUND_REPEATED;
        return OK;
    }
    if (session_inbound_count(s) >= max) {
        return ERR_LIMIT; /* SPEC: MQTT5 3.3.4 */
    }
    TRY(inbound_room(s));
    struct session_inbound *in = s->inbound;
    memmove(in->ids + place + 1, in->ids + place, (in->n - place) * sizeof in->ids[0]);
    in->ids[place] = packet_id;
    in->n++;
    *ret = INBOUND_NEW;
    return OK;
}

bool session_inbound_has(const struct session *s, uint16_t packet_id)
{
    return is_at(s, inbound_place(s, packet_id), packet_id);
}

bool session_inbound_remove(struct session *s, uint16_t packet_id)
{
    size_t place = inbound_place(s, packet_id);
    if (!is_at(s, place, packet_id)) {
        return false;
    }
    struct session_inbound *in = s->inbound;
    in->n--;
    memmove(in->ids + place, in->ids + place + 1, (in->n - place) * sizeof in->ids[0]);
    return true;
}
