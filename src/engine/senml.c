/* Selecting and changing records of a pack. SPEC: RFC8790 3. */
#include "engine/senml.h"

#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "base/scope.h"
#include "engine/senml_private.h"

/* ---- matching ---- */

/* A base time and a time add up to the last bits of another sum only. */
static bool is_same_time(double a, double b)
{
    double larger = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    return fabs(a - b) <= 2 * DBL_EPSILON * larger;
}

/* Does the fetch or patch record pick this one? What it does not give it does not ask for.
 * SPEC: RFC8790 3.1 */
static bool picks(const struct senml_record *by, const struct senml_record *r)
{
    if (r->is_gone || r->is_empty ||
        !slice_equal(slice_of(by->name, by->name_n), slice_of(r->name, r->name_n))) {
        return false;
    }
    if (by->has_time && !is_same_time(by->time, r->time)) {
        return false;
    }
    return !by->has_unit || (r->has_unit && slice_equal(slice_of(by->unit, by->unit_n),
                                                        slice_of(r->unit, r->unit_n)));
}

/* ---- writing ---- */

struct writing {
    const struct senml_syntax *syntax;
    struct wr w;
    struct senml_bases said; /* in force behind what was written */
    struct slice version;
    bool spells_units; /* each record has its own */
    size_t n_records;
    size_t n_fields; /* of the record that is written */
};

static void write_field(struct writing *o, struct slice label, struct slice value)
{
    o->syntax->field(&o->w, o->n_fields++ == 0, label, value);
}

/* Does this base field make no difference to the record? */
static bool is_covered(const struct writing *o, const struct senml_record *r,
                       enum senml_field field)
{
    enum { OTHERS = 1U << SENML_VS | 1U << SENML_VB | 1U << SENML_VD };
    return (field == SENML_BU && (senml_has(r, SENML_U) || o->spells_units)) ||
           (field == SENML_BV && (r->fields & OTHERS) != 0);
}

static void write_base(struct writing *o, const struct senml_record *r, enum senml_field field)
{
    struct slice want = senml_base(o->syntax, &r->bases, field);
    struct slice said = senml_base(o->syntax, &o->said, field);
    if (is_covered(o, r, field) || slice_equal(want, said)) {
        return;
    }
    want = want.n > 0 ? want : o->syntax->neutral(field);
    if (want.n == 0) {
        wr_fail(&o->w, ERR_UNSUPPORTED); /* nothing takes back a sum, or what an extension says */
        return;
    }
    write_field(o, o->syntax->label_of(field), want);
    o->said.known[field] = want;
}

static struct senml_member *find_more(const struct writing *o, struct senml_bases *b,
                                      struct slice label)
{
    for (size_t i = 0; i < b->n_more; i++) {
        if (o->syntax->is_same_label(b->more[i].label, label)) {
            return &b->more[i];
        }
    }
    return NULL;
}

/* Base fields of extensions: what they mean is not known, so none is taken back. */
static void write_more(struct writing *o, const struct senml_record *r)
{
    struct senml_bases *said = &o->said;
    for (size_t i = 0; i < r->bases.n_more; i++) {
        const struct senml_member *m = &r->bases.more[i];
        struct senml_member *there = find_more(o, said, m->label);
        if (there != NULL && slice_equal(there->value, m->value)) {
            continue;
        }
        if (there == NULL && said->n_more == SENML_MORE_BASES_MAX) {
            wr_fail(&o->w, ERR_UNSUPPORTED);
            return;
        }
        there = there != NULL ? there : &said->more[said->n_more++];
        *there = *m;
        write_field(o, m->label, m->value);
    }
    if (said->n_more > r->bases.n_more) {
        wr_fail(&o->w, ERR_UNSUPPORTED); /* one is in force that the record did not have */
    }
}

static void write_record(struct writing *o, const struct senml_record *r)
{
    struct rd members = o->syntax->parts(r->text);
    struct senml_member m;
    bool is_first = o->n_records++ == 0;
    size_t from = o->w.at;
    o->syntax->open(&o->w, true, is_first);
    o->n_fields = 0;
    if (is_first && o->version.n > 0) {
        write_field(o, o->syntax->label_of(SENML_BVER), o->version);
    }
    for (enum senml_field field = SENML_BN; field < SENML_BASES; field++) {
        write_base(o, r, field);
    }
    write_more(o, r);
    size_t n_bases = o->n_fields;
    if (o->spells_units && !senml_has(r, SENML_U) && r->bases.known[SENML_BU].n > 0) {
        write_field(o, o->syntax->label_of(SENML_U), r->bases.known[SENML_BU]);
    }
    while (o->syntax->next_member(&members, &m)) {
        if (!senml_is_base(o->syntax, m.label)) {
            write_field(o, m.label, m.value);
        }
    }
    if (o->n_fields - n_bases > SENML_FIELDS_MAX) {
        wr_fail(&o->w, ERR_LIMIT);
    }
    o->syntax->close(&o->w, true, from, o->n_fields);
}

/* ---- fetch ---- */

/* All records of a checked pack. */
static enum err read_all(struct senml_reader *s, struct senml_record *all, size_t room, size_t *n)
{
    enum err err = ERR_LIMIT;
    for (*n = 0; *n < room && (err = senml_next(s, &all[*n])) == OK; ++*n) {
    }
    return err == ERR_NOT_FOUND || *n == room ? OK : err;
}

static size_t count_records(enum senml_form form, struct slice pack)
{
    const struct senml_syntax *syntax = senml_syntax(form);
    struct rd elements = syntax->parts(syntax->trim(pack));
    struct slice ignored;
    size_t n = 0;
    while (pack.n > 0 && syntax->next_element(&elements, &ignored)) {
        n++;
    }
    return n;
}

bool senml_is_empty(enum senml_form form, struct slice pack)
{
    return count_records(form, pack) == 0;
}

static void records_free(struct senml_record **p)
{
    *p = mem_free(*p);
}

static enum err write_picked(struct senml_reader *s, const struct senml_record *by, size_t n,
                             struct writing *o)
{
    struct senml_record r;
    enum err err;
    o->syntax->open(&o->w, false, true);
    while ((err = senml_next(s, &r)) == OK) {
        bool is_picked = false;
        for (size_t i = 0; i < n && !is_picked; i++) {
            is_picked = picks(&by[i], &r);
        }
        o->version = s->version;
        if (is_picked) { /* once, whoever else picks it. SPEC: RFC8790 3.1 */
            write_record(o, &r);
        }
    }
    o->syntax->close(&o->w, false, 0, o->n_records);
    return err == ERR_NOT_FOUND ? o->w.err : err;
}

enum err senml_fetch(enum senml_form form, struct slice target, struct slice fetch, struct buf *ret)
{
    /* No field is written more often than it stands there; commas and heads may be more. */
    size_t n = count_records(form, fetch), most = target.n + SENML_RECORDS_MAX;
    AUTO(records_free) struct senml_record *by = mem_array(n, sizeof(*by));
    struct senml_reader s = senml_read(form, fetch, SENML_FETCH);
    struct senml_reader all = senml_read(form, target, SENML_PACK);
    uint8_t *room;
    if (by == NULL) {
        return ERR_NOMEM;
    }
    TRY(read_all(&s, by, n, &n));
    TRY(buf_room(ret, most, most, &room));
    struct writing o = {.syntax = all.syntax, .w = wr_into(room, most)};
    TRY(write_picked(&all, by, n, &o));
    ret->n = o.w.at;
    return OK;
}

/* ---- patch ---- */

struct patching {
    struct senml_record *all; /* what is to be, in its order */
    size_t n;
};

/* SPEC: RFC8790 3.2 */
static enum err apply(struct patching *p, const struct senml_record *by)
{
    struct senml_record *found = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (picks(by, &p->all[i])) {
            if (found != NULL) {
                return ERR_PROTOCOL; /* both would be the same record */
            }
            found = &p->all[i];
        }
    }
    if (found != NULL && by->is_removal) {
        found->is_gone = true;
    } else if (found != NULL) {
        *found = *by;
    } else if (!by->is_removal) {
        p->all[p->n++] = *by;
    }
    return OK;
}

/* Nothing takes a base unit back either: with a record that has none behind it, each says its own.
 */
static bool must_spell_units(const struct patching *p)
{
    bool is_said = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct senml_record *r = &p->all[i];
        if (r->is_gone || r->is_empty || senml_has(r, SENML_U)) {
            continue;
        }
        if (r->bases.known[SENML_BU].n == 0 && is_said) {
            return true;
        }
        is_said = is_said || r->bases.known[SENML_BU].n > 0;
    }
    return false;
}

static enum err write_patched(enum senml_form form, const struct patching *p, struct slice version,
                              struct buf *ret)
{
    uint8_t *room;
    TRY(buf_room(ret, SENML_PACK_BYTES_MAX, SENML_PACK_BYTES_MAX, &room));
    struct writing o = {.syntax = senml_syntax(form),
                        .w = wr_into(room, SENML_PACK_BYTES_MAX),
                        .version = version,
                        .spells_units = must_spell_units(p)};
    o.syntax->open(&o.w, false, true);
    for (size_t i = 0; i < p->n; i++) {
        if (!p->all[i].is_gone && !p->all[i].is_empty) {
            write_record(&o, &p->all[i]);
        }
    }
    o.syntax->close(&o.w, false, 0, o.n_records);
    if (!wr_ok(&o.w)) {
        return o.w.err == ERR_SPACE ? ERR_TOO_LARGE : o.w.err;
    }
    if (o.n_records > SENML_RECORDS_MAX) {
        return ERR_LIMIT;
    }
    ret->n = o.w.at;
    return OK;
}

enum err senml_patch(enum senml_form form, struct slice target, struct slice patch, struct buf *ret)
{
    size_t n_target = count_records(form, target), n_patch = count_records(form, patch);
    AUTO(records_free) struct senml_record *all = mem_array(n_target + n_patch, sizeof(*all));
    struct senml_reader before = {.kind = SENML_PACK}, s = senml_read(form, patch, SENML_PATCH);
    struct patching p = {.all = all};
    struct senml_record by;
    enum err err;
    if (all == NULL) {
        return ERR_NOMEM;
    }
    if (target.n > 0) {
        before = senml_read(form, target, SENML_PACK);
        TRY(read_all(&before, all, n_target, &p.n));
    }
    while ((err = senml_next(&s, &by)) == OK) {
        TRY(apply(&p, &by));
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    return write_patched(form, &p, n_target > 0 ? before.version : s.version, ret);
}
