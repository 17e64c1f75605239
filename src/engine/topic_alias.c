#include "engine/topic_alias.h"

#include <assert.h>

#include "base/mem.h"

MUST_USE enum err topic_alias_set(struct topic_aliases *t, uint16_t alias, struct slice name)
{
    assert(alias >= 1 && alias <= TOPIC_ALIASES_MAX && name.n > 0);
    if (t->table == NULL) {
        t->table = mem_zalloc(sizeof(*t->table));
    }
    void *copy = t->table != NULL ? mem_alloc(name.n) : NULL;
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    struct slice *s = &t->table->names[alias - 1];
    slice_copy(copy, name); /* before the old one goes: it may be the same bytes */
    mem_free((void *)(uintptr_t)s->p);
    *s = slice_of(copy, name.n);
    return OK;
}

struct slice topic_alias_name(const struct topic_aliases *t, uint16_t alias)
{
    bool is_known = t->table != NULL && alias >= 1 && alias <= TOPIC_ALIASES_MAX;
    return is_known ? t->table->names[alias - 1] : (struct slice){0};
}

static uint16_t n_given(const struct topic_aliases *t)
{
    return t->table != NULL ? t->table->n : 0;
}

uint16_t topic_alias_find(const struct topic_aliases *t, struct slice name)
{
    for (uint16_t i = 0; i < n_given(t); i++) {
        if (slice_equal(t->table->names[i], name)) {
            return (uint16_t)(i + 1);
        }
    }
    return 0;
}

uint16_t topic_alias_next(const struct topic_aliases *t, struct slice name, uint16_t max)
{
    bool is_worth_it = name.n >= TOPIC_ALIAS_BYTES_MIN;
    uint16_t n = n_given(t);
    return is_worth_it && n < max && n < TOPIC_ALIASES_MAX ? (uint16_t)(n + 1) : 0;
}

MUST_USE enum err topic_alias_add(struct topic_aliases *t, struct slice name)
{
    TRY(topic_alias_set(t, (uint16_t)(n_given(t) + 1), name));
    t->table->n++;
    return OK;
}

void topic_aliases_done(struct topic_aliases *t)
{
    for (size_t i = 0; t->table != NULL && i < TOPIC_ALIASES_MAX; i++) {
        mem_free((void *)(uintptr_t)t->table->names[i].p);
    }
    mem_free(t->table);
    *t = (struct topic_aliases){0};
}
