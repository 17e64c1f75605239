#include "core/msg.h"

#include <assert.h>
#include <limits.h>

#include "base/mem.h"

enum { MSG_REFS_MAX = INT_MAX };

/* References are counted in an object that is const to all who read it. */
static struct msg *counted(const struct msg *m)
{
    return (struct msg *)(uintptr_t)m;
}

static struct slice put_part(struct msg *m, size_t *at, struct slice part)
{
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
    struct msg *m = mem_alloc(sizeof *m + n);
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

enum err msg_copy(const struct msg *m, struct msg **ret)
{
    struct msg *copy = NULL;
    TRY(msg_new(m->topic, m->props, m->payload, &copy));
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
    *ret = copy;
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

const struct msg *msg_unref(const struct msg *m)
{
    if (m != NULL) {
        unsigned before = atomic_fetch_sub_explicit(&counted(m)->refs, 1, memory_order_acq_rel);
        assert(before > 0);
        if (before == 1) {
            mem_free(counted(m));
        }
    }
    return NULL;
}

size_t msg_cost(const struct msg *m)
{
    return sizeof *m + m->topic.n + m->props.n + m->payload.n;
}
