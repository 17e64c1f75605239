/* What each request takes and gives back: kept for the next one. */
#include "base/mem.h"
#include "base/poison.h"
#include "engine/coap_endpoint_private.h"

enum { SPARE_OUT_MAX = 4096 }; /* a larger buf goes back to the heap */

struct coap_exchange *coap_spare_exchange(struct coap_spares *s)
{
    if (s == NULL || s->exchange == NULL) {
        return mem_zalloc(sizeof(struct coap_exchange));
    }
    struct coap_exchange *x = s->exchange;
    s->exchange = NULL;
    unpoison(x, sizeof(*x));
    *x = (struct coap_exchange){.id = 0};
    return x;
}

struct coap_exchange *coap_spare_exchange_give(struct coap_spares *s, struct coap_exchange *x)
{
    if (s == NULL || s->exchange != NULL || x == NULL) {
        return mem_free(x);
    }
    poison(x, sizeof(*x));
    s->exchange = x;
    return NULL;
}

struct buf coap_spare_out(struct coap_spares *s)
{
    struct buf out = {0};
    if (s != NULL && s->out.p != NULL) {
        out = s->out;
        s->out = (struct buf){0};
        unpoison(out.p, out.cap);
    }
    return out;
}

void coap_spare_out_give(struct coap_spares *s, struct buf *out)
{
    if (s == NULL || s->out.p != NULL || out->p == NULL || out->cap > SPARE_OUT_MAX) {
        buf_done(out);
        return;
    }
    buf_clear(out);
    poison(out->p, out->cap);
    s->out = *out;
    *out = (struct buf){0};
}

void coap_spares_done(struct coap_spares *s)
{
    struct buf out = coap_spare_out(s);
    buf_done(&out);
    if (s->exchange != NULL) {
        unpoison(s->exchange, sizeof(struct coap_exchange));
        s->exchange = mem_free(s->exchange);
    }
}
