#include "core/lending.h"

bool lending_take(struct lending *l, const struct msg *m, struct wr *w)
{
    size_t n = m->payload.n;
    if (l == NULL || n == 0 || n < l->least || l->n == LENDING_MAX || n > wr_left(w)) {
        return false;
    }
    l->lent[l->n++] = (struct lent){.msg = msg_ref(m), .at = w->at};
    l->bytes += n;
    w->cap -= n;
    return true;
}

size_t lending_parts(const struct lending *l, struct slice copied,
                     struct slice parts[LENDING_PARTS])
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct lent *lent = &l->lent[i];
        if (lent->at > at) {
            parts[n++] = slice_of(copied.p + at, lent->at - at);
            at = lent->at;
        }
        parts[n++] = lent->msg->payload;
    }
    if (copied.n > at) {
        parts[n++] = slice_from(copied, at);
    }
    return n;
}

void lending_done(struct lending *l)
{
    for (size_t i = 0; i < l->n; i++) {
        (void)msg_unref(l->lent[i].msg);
    }
    l->n = l->bytes = 0;
}
