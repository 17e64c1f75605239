#include "core/session_set.h"

#include "base/mem.h"

void session_set_done(struct session_set *set)
{
    if (set->has_table) {
        map_done(set->table);
        mem_free(set->table);
    }
    *set = (struct session_set){0};
}

/* The one there is, and s. */
static enum err table_new(const struct session_set *set, const struct siphash_key *key,
                          struct session *s, struct map **ret)
{
    struct map *m = mem_alloc(sizeof *m);
    if (m == NULL) {
        return ERR_NOMEM;
    }
    map_init(m, key, session_key);
    enum err err = map_add(m, set->only);
    err = err == OK ? map_add(m, s) : err;
    if (err != OK) {
        map_done(m);
        mem_free(m);
        return err;
    }
    *ret = m;
    return OK;
}

enum err session_set_add(struct session_set *set, const struct siphash_key *key, struct session *s)
{
    if (set->has_table) {
        TRY(map_add(set->table, s));
    } else if (set->n == 0) {
        set->only = s;
    } else {
        TRY(table_new(set, key, s, &set->table));
        set->has_table = true;
    }
    set->n++;
    return OK;
}

struct session *session_set_find(const struct session_set *set, struct slice client_id)
{
    if (set->has_table) {
        return map_find(set->table, client_id);
    }
    return set->n > 0 && slice_equal(session_client_id(set->only), client_id) ? set->only : NULL;
}

void session_set_remove(struct session_set *set, const struct session *s)
{
    if (set->has_table) {
        map_remove(set->table, session_client_id(s));
    } else {
        set->only = NULL;
    }
    set->n--;
}

struct session *session_set_next(const struct session_set *set, size_t *at)
{
    if (set->has_table) {
        return map_next(set->table, at);
    }
    return (*at)++ == 0 ? set->only : NULL;
}
