#include "core/principal.h"

#include <assert.h>

#include "base/mem.h"
#include "base/utf8.h"

static bool is_name_byte(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool principal_name_ok(struct slice name)
{
    if (name.n == 0 || name.n > PRINCIPAL_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (!is_name_byte(name.p[i])) {
            return false;
        }
    }
    return true;
}

static struct slice field_text(const char *field, size_t cap)
{
    return slice_of(field, strnlen(field, cap));
}

static enum err attr_check(const struct principal_attr *attrs, size_t at)
{
    struct slice key = field_text(attrs[at].key, sizeof attrs[at].key);
    struct slice value = field_text(attrs[at].value, sizeof attrs[at].value);
    if (!principal_name_ok(key) || value.n >= sizeof attrs[at].value ||
        utf8_check(value, UTF8_STRICT, NULL) != OK) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < at; i++) {
        if (slice_equal(key, field_text(attrs[i].key, sizeof attrs[i].key))) {
            return ERR_MALFORMED;
        }
    }
    return OK;
}

enum err principal_new(uint64_t id, struct slice name, struct slice role,
                       const struct principal_attr *attrs, size_t n_attrs, struct principal **ret)
{
    assert(id != 0);
    if (!principal_name_ok(name) || !principal_name_ok(role)) {
        return ERR_MALFORMED;
    }
    if (n_attrs > PRINCIPAL_ATTRS_MAX) {
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < n_attrs; i++) {
        TRY(attr_check(attrs, i));
    }
    size_t head_bytes = sizeof(struct principal) + n_attrs * sizeof(struct principal_attr);
    struct principal *p = mem_zalloc(head_bytes + name.n + 1 + role.n + 1);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&p->refs, 1);
    p->id = id;
    char *texts = (char *)p + head_bytes;
    slice_copy(texts, name);
    slice_copy(texts + name.n + 1, role);
    p->name = texts;
    p->role = texts + name.n + 1;
    p->n_attrs = (uint8_t)n_attrs;
    if (n_attrs > 0) {
        memcpy(p->attrs, attrs, n_attrs * sizeof p->attrs[0]);
    }
    *ret = p;
    return OK;
}

/* References are counted in an object that is const to all who read it. */
static struct principal *counted(const struct principal *p)
{
    return (struct principal *)(uintptr_t)p;
}

const struct principal *principal_ref(const struct principal *p)
{
    atomic_fetch_add_explicit(&counted(p)->refs, 1, memory_order_relaxed);
    return p;
}

const struct principal *principal_unref(const struct principal *p)
{
    if (p != NULL && atomic_fetch_sub_explicit(&counted(p)->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(counted(p));
    }
    return NULL;
}

const char *principal_attr(const struct principal *p, struct slice key)
{
    /* The built-in names come first, so that no attribute can pose as the device. */
    if (slice_is(key, "device")) {
        return p->name;
    }
    if (slice_is(key, "role")) {
        return p->role;
    }
    for (size_t i = 0; i < p->n_attrs; i++) {
        if (slice_is(key, p->attrs[i].key)) {
            return p->attrs[i].value;
        }
    }
    return slice_is(key, PRINCIPAL_SEGMENT) ? PRINCIPAL_SEGMENT_DEFAULT : NULL;
}
