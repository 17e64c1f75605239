#include "wire/json/merge_patch.h"

#include <assert.h>

#include "wire/json/text.h"

/* The members of one object of a patch. */
struct changes {
    size_t n;
    struct json_member at[MERGE_NAMES_MAX];
};

static const struct json_member *find_change(const struct changes *c,
                                             const struct json_member *named)
{
    for (size_t i = 0; i < c->n; i++) {
        if (json_is_same_name(&c->at[i], named)) {
            return &c->at[i];
        }
    }
    return NULL;
}

static enum err read_changes(struct slice object, struct changes *c)
{
    struct rd r = json_parts(object);
    struct json_member m;
    c->n = 0;
    while (json_next_member(&r, &m)) {
        if (c->n >= MERGE_NAMES_MAX) {
            return ERR_LIMIT;
        }
        if (find_change(c, &m) != NULL) {
            return ERR_EXISTS;
        }
        c->at[c->n++] = m;
    }
    return OK;
}

static enum err check_changes(struct slice value)
{
    struct changes c;
    if (!json_is_object(value)) {
        return OK; /* what is in an array is no patch */
    }
    TRY(read_changes(value, &c));
    for (size_t i = 0; i < c.n; i++) {
        TRY(check_changes(c.at[i].value));
    }
    return OK;
}

enum err merge_patch_check(struct slice patch)
{
    if (patch.n > MERGE_PATCH_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(json_check(patch));
    return check_changes(json_trim(patch));
}

/* ---- merging ---- */

static void write_name(struct wr *w, struct slice name, bool *is_first)
{
    if (!*is_first) {
        wr_u8(w, ',');
    }
    *is_first = false;
    wr_u8(w, '"');
    wr_bytes(w, name);
    wr_u8(w, '"');
    wr_u8(w, ':');
}

static void merge(struct slice target, struct slice patch, struct wr *w);

/* The members that there are, as they become; bits of *seen: whose changes are done. */
static void merge_members(struct slice target, const struct changes *c, uint64_t *seen,
                          bool *is_first, struct wr *w)
{
    struct rd old = json_parts(target);
    struct json_member m;
    while (json_next_member(&old, &m)) {
        const struct json_member *change = find_change(c, &m);
        if (change != NULL) {
            *seen |= UINT64_C(1) << (change - c->at);
        }
        if (change != NULL && json_is_null(change->value)) {
            continue;
        }
        write_name(w, m.name, is_first);
        if (change != NULL) {
            merge(m.value, change->value, w);
        } else {
            wr_bytes(w, m.value);
        }
    }
}

/* As deep as the patch, which is bounded. */
static void merge(struct slice target, struct slice patch, struct wr *w)
{
    struct changes c;
    uint64_t seen = 0;
    bool is_first = true;
    if (!json_is_object(patch)) {
        wr_bytes(w, patch);
        return;
    }
    enum err err = read_changes(patch, &c);
    assert(err == OK); /* it was checked */
    (void)err;
    wr_u8(w, '{');
    if (json_is_object(target)) {
        merge_members(target, &c, &seen, &is_first, w);
    }
    for (size_t i = 0; i < c.n; i++) {
        if (!json_is_null(c.at[i].value) && (seen >> i & 1) == 0) {
            write_name(w, c.at[i].name, &is_first);
            merge((struct slice){0}, c.at[i].value, w);
        }
    }
    wr_u8(w, '}');
}

void merge_patch(struct slice target, struct slice patch, struct wr *w)
{
    merge(target.n > 0 ? json_trim(target) : target, json_trim(patch), w);
}
