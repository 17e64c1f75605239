/* What leaves: the queue of datagrams, and confirmable messages until they are acknowledged. */
#include <assert.h>

#include "base/mem.h"
#include "engine/coap_endpoint_private.h"

enum { LENGTH_BYTES = 2 };

uint64_t coap_draw(struct coap_endpoint *e)
{
    struct siphash_key key = {e->seed, ~e->seed};
    uint8_t counter[8];
    struct wr w = wr_into(counter, sizeof(counter));
    wr_u64(&w, e->n_drawn);
    uint64_t drawn = siphash(&key, wr_slice(&w));
    if (e->n_drawn++ < UINT32_MAX) {
        return drawn;
    }
    e->seed = drawn; /* nobody has seen it */
    e->n_drawn = 0;
    return coap_draw(e);
}

uint32_t coap_new_id(struct coap_endpoint *e)
{
    return e->next_id++;
}

uint16_t coap_new_mid(struct coap_endpoint *e)
{
    return e->next_mid++;
}

enum err coap_send(struct coap_endpoint *e, struct slice datagram, uint64_t now_ms)
{
    size_t waiting = e->out.n - e->out_at;
    if (waiting + LENGTH_BYTES + datagram.n > e->limits->output_bytes) {
        e->counters->overflow++;
        return OK;
    }
    if (e->out_at > 0) {
        buf_drop(&e->out, e->out_at);
        e->out_at = 0;
    }
    if (e->out.p == NULL) {
        e->out = coap_spare_out(e->spares);
    }
    uint8_t *place = NULL;
    TRY(buf_room(&e->out, LENGTH_BYTES + datagram.n, e->limits->output_bytes, &place));
    struct wr w = wr_into(place, LENGTH_BYTES + datagram.n);
    wr_block16(&w, datagram);
    e->out.n += w.at;
    e->counters->bytes_out += datagram.n;
    if (!coap_endpoint_is_proven(e, now_ms)) {
        e->counters->unproven_bytes_out += datagram.n;
    }
    return OK;
}

size_t coap_endpoint_output(struct coap_endpoint *e, void *dst, size_t cap)
{
    struct rd r = rd_from(slice_from(buf_slice(&e->out), e->out_at));
    struct slice datagram = rd_block16(&r);
    if (!rd_ok(&r) || datagram.n > cap) {
        return 0;
    }
    struct wr w = wr_into(dst, cap);
    wr_bytes(&w, datagram);
    e->out_at += (uint32_t)r.at;
    if (e->out_at == e->out.n) {
        e->out_at = 0;
        coap_spare_out_give(e->spares, &e->out); /* most endpoints are silent most of the time */
    }
    return w.at;
}

enum err coap_encode(const struct coap_endpoint *e, const struct coap_message *m,
                     uint8_t dst[COAP_MESSAGE_CAP], struct slice *ret)
{
    size_t n = 0;
    enum err err = coap_message_encode(m, dst, e->out_max, &n);
    if (err != OK) {
        return err == ERR_SPACE ? ERR_TOO_LARGE : err;
    }
    *ret = slice_of(dst, n);
    return OK;
}

enum err coap_send_empty(struct coap_endpoint *e, enum coap_type type, uint16_t mid,
                         uint64_t now_ms)
{
    uint8_t bytes[COAP_MESSAGE_CAP];
    struct slice datagram;
    struct coap_message m = {.type = type, .code = COAP_EMPTY, .mid = mid};
    TRY(coap_encode(e, &m, bytes, &datagram));
    return coap_send(e, datagram, now_ms);
}

void coap_patch_header(struct slice message, uint8_t *bytes, enum coap_type type, uint16_t mid)
{
    assert(message.n >= COAP_HEADER_BYTES);
    uint8_t first = (uint8_t)((message.p[0] & ~0x30U) | (unsigned)type << 4);
    uint8_t code = message.p[1];
    struct wr w = wr_into(bytes, COAP_HEADER_BYTES);
    wr_u8(&w, first);
    wr_u8(&w, code);
    wr_u16(&w, mid);
}

/* ---- confirmable messages ---- */

static struct coap_transmission *first_of(const struct coap_endpoint *e)
{
    struct list_node *node = thin_first(&e->transmissions);
    return node != NULL ? LIST_ENTRY(node, struct coap_transmission, node) : NULL;
}

static enum err start(struct coap_endpoint *e, struct coap_transmission *t, uint64_t now_ms)
{
    uint64_t spread = e->limits->ack_random_permille - 1000;
    uint64_t permille = 1000 + (spread > 0 ? coap_draw(e) % (spread + 1) : 0);
    TRY(coap_send(e, buf_slice(&t->bytes), now_ms));
    /* SPEC: RFC7252 4.2: between ACK_TIMEOUT and ACK_TIMEOUT * ACK_RANDOM_FACTOR */
    t->timeout_ms = (uint32_t)(e->limits->ack_timeout_ms * permille / 1000);
    t->due_at_ms = now_ms + t->timeout_ms;
    t->n_sent = 1;
    return OK;
}

enum err coap_transmissions_start(struct coap_endpoint *e, uint64_t now_ms)
{
    struct coap_transmission *t = first_of(e);
    return t != NULL && t->n_sent == 0 ? start(e, t, now_ms) : OK;
}

enum err coap_transmit(struct coap_endpoint *e, struct slice datagram, uint16_t mid,
                       enum coap_about about, uint32_t id, struct coap_observation *ob,
                       uint64_t now_ms)
{
    if (e->n_transmissions >= e->limits->n_transmissions) {
        e->counters->overflow++;
        return ERR_LIMIT;
    }
    struct coap_transmission *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return ERR_NOMEM;
    }
    *t = (struct coap_transmission){
        .mid = mid, .about = (uint8_t)about, .id = id, .ob = ob, .due_at_ms = UINT64_MAX};
    thin_append(&e->transmissions, &t->node);
    e->n_transmissions++;
    enum err err = buf_append(&t->bytes, datagram, datagram.n);
    if (err == OK) {
        err = coap_transmissions_start(e, now_ms); /* SPEC: RFC7252 4.7, NSTART */
    }
    if (err != OK) {
        coap_transmission_remove(e, t);
    }
    return err;
}

struct coap_transmission *coap_transmission_find(const struct coap_endpoint *e, uint16_t mid)
{
    struct coap_transmission *t = first_of(e);
    return t != NULL && t->n_sent > 0 && t->mid == mid ? t : NULL;
}

void coap_transmission_remove(struct coap_endpoint *e, struct coap_transmission *t)
{
    thin_remove(&e->transmissions, &t->node);
    e->n_transmissions--;
    buf_done(&t->bytes);
    (void)mem_free(t);
}

void coap_transmissions_of_request_remove(struct coap_endpoint *e, uint32_t id)
{
    thin_for_each_safe (node, next, &e->transmissions) {
        struct coap_transmission *t = LIST_ENTRY(node, struct coap_transmission, node);
        if (t->about == COAP_ABOUT_REQUEST && t->id == id) {
            coap_transmission_remove(e, t);
        }
    }
}

void coap_transmissions_of_observation_remove(struct coap_endpoint *e,
                                              const struct coap_observation *ob)
{
    thin_for_each_safe (node, next, &e->transmissions) {
        struct coap_transmission *t = LIST_ENTRY(node, struct coap_transmission, node);
        if (t->about == COAP_ABOUT_OBSERVATION && t->ob == ob) {
            coap_transmission_remove(e, t);
        }
    }
}

void coap_endpoint_hurry(struct coap_endpoint *e, uint64_t now_ms)
{
    struct coap_transmission *t = first_of(e);
    if (t == NULL || t->about != COAP_ABOUT_REQUEST || t->n_sent == 0 ||
        t->n_sent > e->limits->max_retransmit) {
        return;
    }
    uint64_t sent_at_ms = t->due_at_ms - t->timeout_ms;
    if (now_ms >= sent_at_ms + e->limits->ack_timeout_ms && now_ms < t->due_at_ms) {
        t->due_at_ms = now_ms;
    }
}

/* A newer state goes out in place of the one nobody acknowledged, with the tries that are left.
 * SPEC: RFC7641 4.5.2 */
static void take_newer_state(struct coap_endpoint *e, struct coap_transmission *t, uint64_t now_ms)
{
    if (t->ob == NULL || t->ob->state_n == 0) {
        return;
    }
    buf_done(&t->bytes);
    t->bytes = coap_observation_give(t->ob);
    t->mid = coap_new_mid(e);
    coap_patch_header(buf_slice(&t->bytes), t->bytes.p, COAP_CON, t->mid);
    coap_observation_sent(t->ob, e->limits, t->mid, true, now_ms);
}

enum err coap_transmissions_tick(struct coap_endpoint *e, uint64_t now_ms,
                                 struct coap_transmission **ret_lost)
{
    *ret_lost = NULL;
    TRY(coap_transmissions_start(e, now_ms));
    struct coap_transmission *t = first_of(e);
    if (t == NULL || now_ms < t->due_at_ms) {
        return OK;
    }
    if (t->n_sent > e->limits->max_retransmit) {
        *ret_lost = t; /* SPEC: RFC7252 4.2: MAX_RETRANSMIT tries, and the last timeout is over */
        return OK;
    }
    take_newer_state(e, t, now_ms);
    TRY(coap_send(e, buf_slice(&t->bytes), now_ms));
    e->counters->retransmitted++;
    t->n_sent++;
    t->timeout_ms *= 2;
    t->due_at_ms = now_ms + t->timeout_ms;
    return OK;
}
