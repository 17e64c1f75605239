#include "base/mem.h"
#include "service/directory/directory_record_private.h"

enum err id_list_add(struct id_list *l, uint64_t id)
{
    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 8;
        uint64_t *p = mem_grow(l->p, cap * sizeof *p);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        l->p = p;
        l->cap = cap;
    }
    l->p[l->n++] = id;
    return OK;
}

bool id_list_has(const struct id_list *l, uint64_t id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->p[i] == id) {
            return true;
        }
    }
    return false;
}

void id_list_done(struct id_list *l)
{
    mem_free(l->p);
    *l = (struct id_list){0};
}
