#include "core/quarantine.h"

#include "base/mem.h"
#include "base/wr.h"
#include "core/flow.h"

static size_t prefix_bytes(const struct principal *p)
{
    return sizeof QUARANTINE_ROOT - 1 + strlen(p->name) + 1;
}

bool quarantine_is_of(const struct principal *p, struct slice topic)
{
    struct slice root = slice_text(QUARANTINE_ROOT), name = slice_text(p->name);
    if (!slice_has_prefix(topic, root)) {
        return false;
    }
    struct slice rest = slice_from(topic, root.n);
    return rest.n > name.n + 1 && slice_has_prefix(rest, name) && rest.p[name.n] == '/';
}

/* What nobody else has set yet is not copied: number, session and body are given later. */
static enum err moved(const struct account *a, const struct msg *m, struct msg **ret)
{
    size_t n = prefix_bytes(a->principal) + m->topic.n;
    uint8_t *topic = mem_alloc(n);
    if (topic == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_into(topic, n);
    struct msg *copy = NULL;
    wr_bytes(&w, slice_text(QUARANTINE_ROOT));
    wr_bytes(&w, slice_text(a->principal->name));
    wr_u8(&w, '/');
    wr_bytes(&w, m->topic);
    enum err err = msg_new(wr_slice(&w), m->props, m->payload, &copy);
    mem_free(topic);
    TRY(err);
    copy->qos = m->qos;
    copy->is_utf8 = m->is_utf8;
    copy->publisher = m->publisher;
    copy->segment = flow_segment_of(a->principal);
    copy->epoch = m->epoch;
    copy->content_format = m->content_format;
    copy->expires_at_ms = m->expires_at_ms;
    *ret = copy;
    return OK;
}

enum err quarantine_take(const struct account *a, struct msg **m)
{
    struct msg *copy = NULL;
    if (!a->is_quarantined) {
        return OK;
    }
    TRY(moved(a, *m, &copy));
    msg_unref(*m);
    *m = copy;
    return OK;
}
