#include "core/msg.h"

#include <assert.h>
#include <limits.h>

#include "core/msg_pool.h"

enum { MSG_REFS_MAX = INT_MAX };

/* References are counted in an object that is const to all who read it. */
static struct msg *counted(const struct msg *m)
{
    return (struct msg *)(uintptr_t)m;
}

static inline struct slice put_part(struct msg *m, size_t *at, struct slice part)
{
    if (part.n == 0) {
        return (struct slice){0};
    }
    struct slice here = slice_of(m->bytes + *at, part.n);
    slice_copy(m->bytes + *at, part);
    *at += part.n;
    return here;
}

enum err msg_new(struct slice topic, struct slice props, struct slice payload, struct msg **ret)
{
    size_t n = 0;
    if (__builtin_add_overflow(topic.n, props.n, &n) || __builtin_add_overflow(n, payload.n, &n) ||
        n > SIZE_MAX - sizeof(struct msg)) {
        return ERR_NOMEM;
    }
    struct msg *m = msg_pool_take(msg_pool_own(), sizeof *m + n);
    if (m == NULL) {
        return ERR_NOMEM;
    }
    *m = (struct msg){.expires_at_ms = UINT64_MAX, .content_format = UINT16_MAX};
    atomic_init(&m->refs, 1);
    size_t at = 0;
    m->topic = put_part(m, &at, topic);
    m->props = put_part(m, &at, props);
    m->payload = put_part(m, &at, payload);
    *ret = m;
    return OK;
}

/* All but the parts, and what names one record. */
static void copy_facts(const struct msg *m, struct msg *copy)
{
    copy->qos = m->qos;
    copy->retain = m->retain;
    copy->is_utf8 = m->is_utf8;
    copy->for_group = m->for_group;
    copy->expires_at_ms = m->expires_at_ms;
    copy->publisher = m->publisher;
    copy->session = m->session;
    copy->epoch = m->epoch;
    copy->segment = m->segment;
    copy->content_format = m->content_format;
}

enum err msg_copy(const struct msg *m, struct msg **ret)
{
    struct msg *copy = NULL;
    assert(!msg_is_husk(m));
    TRY(msg_new(m->topic, m->props, m->payload, &copy));
    copy_facts(m, copy);
    *ret = copy;
    return OK;
}

/* The same record, so the same names. */
static enum err same_with(const struct msg *m, struct slice props, struct slice payload,
                          struct msg **ret)
{
    struct msg *copy = NULL;
    TRY(msg_new(m->topic, props, payload, &copy));
    copy_facts(m, copy);
    copy->number = m->number;
    copy->body_id = m->body_id;
    *ret = copy;
    return OK;
}

enum err msg_husk(const struct msg *m, const struct msg **ret)
{
    const struct msg *known = atomic_load_explicit(&counted(m)->husk, memory_order_acquire);
    struct msg *husk = NULL;
    assert(!msg_is_husk(m) && m->body_id != 0 && msg_away(m) > 0 && msg_away(m) <= UINT32_MAX);
    if (known != NULL) {
        *ret = msg_ref(known);
        return OK;
    }
    TRY(same_with(m, (struct slice){0}, (struct slice){0}, &husk));
    husk->n_away = (uint32_t)msg_away(m);
    if (atomic_compare_exchange_strong_explicit(&counted(m)->husk, &known, husk,
                                                memory_order_acq_rel, memory_order_acquire)) {
        *ret = msg_ref(husk); /* the message keeps the first one */
        return OK;
    }
    msg_unref(husk); /* another worker was quicker */
    *ret = msg_ref(known);
    return OK;
}

enum err msg_whole(const struct msg *husk, struct slice props, struct slice payload,
                   const struct msg **ret)
{
    struct msg *m = NULL;
    if (payload.n > husk->n_away || props.n != husk->n_away - payload.n) {
        return ERR_MALFORMED;
    }
    TRY(same_with(husk, props, payload, &m));
    atomic_init(&m->husk, msg_ref(husk));
    *ret = m;
    return OK;
}

const struct msg *msg_ref(const struct msg *m)
{
    return msg_ref_n(m, 1);
}

const struct msg *msg_ref_n(const struct msg *m, unsigned n)
{
    /* Who adds holds a reference already, so nothing needs to be ordered here. */
    unsigned before = atomic_fetch_add_explicit(&counted(m)->refs, n, memory_order_relaxed);
    assert(before > 0 && n <= (unsigned)MSG_REFS_MAX && before <= (unsigned)MSG_REFS_MAX);
    return m;
}

/* Was this reference the last one? Who finds a single one holds it, and nobody can make another
 * meanwhile: then there is nothing to count, and no bus to lock. */
static bool drop_reference(struct msg *m)
{
    if (atomic_load_explicit(&m->refs, memory_order_acquire) == 1) {
        return true;
    }
    unsigned before = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    return before == 1;
}

const struct msg *msg_unref(const struct msg *m)
{
    if (m != NULL && drop_reference(counted(m))) {
        msg_unref(atomic_load_explicit(&m->husk, memory_order_relaxed));
        msg_pool_give(msg_pool_own(), counted(m),
                      sizeof *m + m->topic.n + m->props.n + m->payload.n);
    }
    return NULL;
}
