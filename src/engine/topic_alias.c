#include "engine/topic_alias.h"

#include <assert.h>

#include "base/mem.h"

MUST_USE enum err topic_alias_set(struct topic_aliases *t, uint16_t alias, struct slice name)
{
    assert(alias >= 1 && alias <= TOPIC_ALIASES_MAX && name.n > 0);
    if (t->names == NULL) {
        t->names = mem_array(TOPIC_ALIASES_MAX, sizeof(*t->names));
    }
    void *copy = t->names != NULL ? mem_alloc(name.n) : NULL;
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    struct slice *s = &t->names[alias - 1];
    slice_copy(copy, name); /* before the old one goes: it may be the same bytes */
    mem_free((void *)(uintptr_t)s->p);
    *s = slice_of(copy, name.n);
    return OK;
}

struct slice topic_alias_name(const struct topic_aliases *t, uint16_t alias)
{
    bool is_known = t->names != NULL && alias >= 1 && alias <= TOPIC_ALIASES_MAX;
    return is_known ? t->names[alias - 1] : (struct slice){0};
}

uint16_t topic_alias_find(const struct topic_aliases *t, struct slice name)
{
    for (uint16_t i = 0; i < t->n; i++) {
        if (slice_equal(t->names[i], name)) {
            return (uint16_t)(i + 1);
        }
    }
    return 0;
}

uint16_t topic_alias_next(const struct topic_aliases *t, struct slice name, uint16_t max)
{
    bool is_worth_it = name.n >= TOPIC_ALIAS_BYTES_MIN;
    return is_worth_it && t->n < max && t->n < TOPIC_ALIASES_MAX ? (uint16_t)(t->n + 1) : 0;
}

MUST_USE enum err topic_alias_add(struct topic_aliases *t, struct slice name)
{
    TRY(topic_alias_set(t, (uint16_t)(t->n + 1), name));
    t->n++;
    return OK;
}

void topic_aliases_done(struct topic_aliases *t)
{
    for (size_t i = 0; t->names != NULL && i < TOPIC_ALIASES_MAX; i++) {
        mem_free((void *)(uintptr_t)t->names[i].p);
    }
    mem_free(t->names);
    *t = (struct topic_aliases){0};
}
