/* Packet ids of QoS 2 that a client has opened and not released: sorted, so that a search is short.
 */
#include "base/mem.h"
#include "core/session.h"

static size_t inbound_place(const struct session *s, uint16_t packet_id)
{
    size_t low = 0, high = s->n_inbound;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->inbound[middle] < packet_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

enum err session_inbound_add(struct session *s, uint16_t packet_id, uint32_t max, enum inbound *ret)
{
    size_t place = inbound_place(s, packet_id);
    if (place < s->n_inbound && s->inbound[place] == packet_id) {
        *ret = INBOUND_REPEATED;
        return OK;
    }
    if (s->n_inbound >= max) {
        return ERR_LIMIT; /* SPEC: MQTT5 3.3.4 */
    }
    if (s->n_inbound == s->inbound_cap) {
        size_t cap = s->inbound_cap == 0 ? 8 : s->inbound_cap * 2;
        uint16_t *grown = mem_grow(s->inbound, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        s->inbound = grown;
        s->inbound_cap = cap;
    }
    memmove(s->inbound + place + 1, s->inbound + place,
            (s->n_inbound - place) * sizeof *s->inbound);
    s->inbound[place] = packet_id;
    s->n_inbound++;
    *ret = INBOUND_NEW;
    return OK;
}

bool session_inbound_has(const struct session *s, uint16_t packet_id)
{
    size_t place = inbound_place(s, packet_id);
    return place < s->n_inbound && s->inbound[place] == packet_id;
}

bool session_inbound_remove(struct session *s, uint16_t packet_id)
{
    size_t place = inbound_place(s, packet_id);
    if (place == s->n_inbound || s->inbound[place] != packet_id) {
        return false;
    }
    s->n_inbound--;
    memmove(s->inbound + place, s->inbound + place + 1,
            (s->n_inbound - place) * sizeof *s->inbound);
    return true;
}
