#include "service/review/crowd.h"

#include <stdlib.h>

#include "base/mem.h"

struct crowd {
    const struct principal **by_name, **by_id; /* by_name owns the references */
    size_t n, cap;
};

enum err crowd_new(struct crowd **ret)
{
    *ret = mem_zalloc(sizeof **ret);
    return *ret != NULL ? OK : ERR_NOMEM;
}

struct crowd *crowd_free(struct crowd *c)
{
    if (c == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < c->n; i++) {
        (void)principal_unref(c->by_name[i]);
    }
    mem_free(c->by_name);
    mem_free(c->by_id);
    return mem_free(c);
}

enum err crowd_add(struct crowd *c, const struct principal *p)
{
    if (c->n == c->cap) {
        size_t cap = c->cap > 0 ? 2 * c->cap : 64;
        const struct principal **grown = mem_grow(c->by_name, cap * sizeof *grown);
        if (grown == NULL) {
            (void)principal_unref(p);
            return ERR_NOMEM;
        }
        c->by_name = grown;
        c->cap = cap;
    }
    c->by_name[c->n++] = p;
    return OK;
}

static int name_order(const void *a, const void *b)
{
    const struct principal *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int id_order(const void *a, const void *b)
{
    const struct principal *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

enum err crowd_sort(struct crowd *c)
{
    if (c->n == 0) {
        return OK;
    }
    c->by_id = mem_array(c->n, sizeof *c->by_id);
    if (c->by_id == NULL) {
        return ERR_NOMEM;
    }
    memcpy(c->by_id, c->by_name, c->n * sizeof *c->by_id);
    qsort(c->by_name, c->n, sizeof *c->by_name, name_order);
    qsort(c->by_id, c->n, sizeof *c->by_id, id_order);
    for (size_t i = 1; i < c->n; i++) {
        if (name_order(&c->by_name[i - 1], &c->by_name[i]) == 0 ||
            id_order(&c->by_id[i - 1], &c->by_id[i]) == 0) {
            return ERR_EXISTS;
        }
    }
    return OK;
}

size_t crowd_count(const struct crowd *c)
{
    return c->n;
}

const struct principal *crowd_at(const struct crowd *c, size_t i)
{
    assert(i < c->n);
    return c->by_name[i];
}

static int name_compare(struct slice name, const char *other)
{
    size_t n = strlen(other);
    int order = name.n > 0 ? memcmp(name.p, other, name.n < n ? name.n : n) : 0;
    return order != 0 ? order : (name.n > n) - (name.n < n);
}

bool crowd_find(const struct crowd *c, struct slice name, size_t *ret)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = name_compare(name, c->by_name[mid]->name);
        if (order == 0) {
            *ret = mid;
            return true;
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return false;
}

static const struct principal *person_by_name(void *ctx, struct slice name)
{
    const struct crowd *c = ctx;
    size_t i;
    return crowd_find(c, name, &i) ? c->by_name[i] : NULL;
}

static const struct principal *person_by_id(void *ctx, uint64_t id)
{
    const struct crowd *c = ctx;
    size_t low = 0, high = c->by_id != NULL ? c->n : 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->by_id[mid]->id == id) {
            return c->by_id[mid];
        }
        if (id < c->by_id[mid]->id) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

struct people crowd_people(const struct crowd *c)
{
    return (struct people){.ctx = (void *)(uintptr_t)c, /* it is only read */
                           .by_name = person_by_name,
                           .by_id = person_by_id};
}
