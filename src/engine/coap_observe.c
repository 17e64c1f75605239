#include "engine/coap_observe.h"

#include "base/mem.h"

enum { SEQUENCE_MASK = (1 << COAP_OBSERVE_SEQUENCE_BITS) - 1 };
enum { SEQUENCE_HALF = 1 << (COAP_OBSERVE_SEQUENCE_BITS - 1), ORDER_WINDOW_MS = 128000 };

void coap_observers_init(struct coap_observers *o)
{
    *o = (struct coap_observers){0};
}

void coap_observers_done(struct coap_observers *o)
{
    thin_for_each_safe (node, next, &o->list) {
        coap_observers_remove(o, LIST_ENTRY(node, struct coap_observation, node));
    }
}

enum err coap_observers_add(struct coap_observers *o, const struct coap_limits *limits,
                            struct slice token, uint64_t key, uint64_t now_ms,
                            struct coap_observation **ret)
{
    struct coap_observation *old = coap_observers_find_token(o, token);
    if (token.n > COAP_ENDPOINT_TOKEN_MAX || (old == NULL && o->n >= limits->n_observations)) {
        return ERR_LIMIT;
    }
    struct coap_observation *ob = mem_zalloc(sizeof(*ob) + token.n);
    if (ob == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_into(ob->token, token.n);
    wr_bytes(&w, token);
    ob->token_n = (uint8_t)token.n;
    ob->key = key;
    ob->con_at_ms = now_ms;
    if (old != NULL) {
        coap_observers_remove(o, old); /* SPEC: RFC7641 4.1: replaced, not added */
    }
    thin_append(&o->list, &ob->node);
    o->n++;
    *ret = ob;
    return OK;
}

void coap_observers_remove(struct coap_observers *o, struct coap_observation *ob)
{
    thin_remove(&o->list, &ob->node);
    o->n--;
    (void)mem_free(ob->state);
    (void)mem_free(ob);
}

struct buf coap_observation_give(struct coap_observation *ob)
{
    struct buf state = {.p = ob->state, .n = ob->state_n, .cap = ob->state_n};
    ob->state = NULL;
    ob->state_n = 0;
    return state;
}

void coap_observation_hold(struct coap_observation *ob, struct buf *state)
{
    (void)mem_free(ob->state);
    ob->state = state->p;
    ob->state_n = (uint32_t)state->n; /* one message, or what an output takes */
    *state = (struct buf){0};
}

struct coap_observation *coap_observers_find_token(const struct coap_observers *o,
                                                   struct slice token)
{
    thin_for_each (node, &o->list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (slice_equal(token, slice_of(ob->token, ob->token_n))) {
            return ob;
        }
    }
    return NULL;
}

struct coap_observation *coap_observers_find_mid(const struct coap_observers *o, uint16_t mid)
{
    thin_for_each (node, &o->list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        for (size_t i = 0; i < ob->n_mids; i++) {
            if (ob->mids[i] == mid) {
                return ob;
            }
        }
    }
    return NULL;
}

uint32_t coap_observers_sequence(struct coap_observers *o)
{
    o->sequence = (o->sequence + 1) & SEQUENCE_MASK;
    return o->sequence;
}

bool coap_observation_wants_con(const struct coap_observation *ob, const struct coap_limits *limits,
                                uint64_t now_ms)
{
    return ob->since_con + 1 >= limits->notification_con_nth ||
           now_ms - ob->con_at_ms >= limits->notification_con_ms;
}

uint64_t coap_observation_ready_at(const struct coap_observation *ob,
                                   const struct coap_limits *limits)
{
    uint64_t burst_ms = 0;
    if (limits->notification_burst > 1) {
        burst_ms = (uint64_t)(limits->notification_burst - 1) * limits->notification_every_ms;
    }
    return ob->credit_at_ms > burst_ms ? ob->credit_at_ms - burst_ms : 0;
}

void coap_observation_sent(struct coap_observation *ob, const struct coap_limits *limits,
                           uint16_t mid, bool confirmable, uint64_t now_ms)
{
    uint64_t from_ms = ob->credit_at_ms > now_ms ? ob->credit_at_ms : now_ms;
    ob->credit_at_ms = from_ms + limits->notification_every_ms;
    ob->since_con++;
    if (confirmable) {
        ob->since_con = 0;
        ob->con_at_ms = now_ms;
    }
    ob->mids[ob->next_mid] = mid;
    ob->next_mid = (uint8_t)((ob->next_mid + 1) % COAP_OBSERVE_MIDS);
    if (ob->n_mids < COAP_OBSERVE_MIDS) {
        ob->n_mids++;
    }
}

bool coap_order_is_newer(struct coap_order *o, uint32_t sequence, uint64_t now_ms)
{
    /* SPEC: RFC7641 3.4: ahead by less than half the circle, or the old one is too old to count. */
    uint32_t ahead = (sequence - o->sequence) & SEQUENCE_MASK;
    bool is_newer =
        !o->has_seen || (ahead > 0 && ahead < SEQUENCE_HALF) || now_ms - o->at_ms > ORDER_WINDOW_MS;
    if (is_newer) {
        *o = (struct coap_order){.at_ms = now_ms, .sequence = sequence, .has_seen = true};
    }
    return is_newer;
}
