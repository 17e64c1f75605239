/* SenML packs, record by record, in the resolved form in which they are compared. SPEC: RFC8428 4,
 * RFC8790 3. */
#include <math.h>

#include "base/scope.h"
#include "engine/senml_private.h"

static const uint8_t types[SENML_FIELDS] = {
    [SENML_BN] = SENML_TEXT,   [SENML_BT] = SENML_NUMBER, [SENML_BU] = SENML_TEXT,
    [SENML_BV] = SENML_NUMBER, [SENML_BS] = SENML_NUMBER, [SENML_BVER] = SENML_COUNT,
    [SENML_N] = SENML_TEXT,    [SENML_U] = SENML_TEXT,    [SENML_V] = SENML_NUMBER,
    [SENML_VS] = SENML_TEXT,   [SENML_VB] = SENML_BOOL,   [SENML_VD] = SENML_DATA,
    [SENML_S] = SENML_NUMBER,  [SENML_T] = SENML_NUMBER,  [SENML_UT] = SENML_NUMBER,
};

/* One record while it is read. */
struct reading {
    struct senml_reader *s;
    struct senml_record *r;
    struct slice own[SENML_FIELDS]; /* as written */
    struct slice seen[SENML_FIELDS_MAX + SENML_BVER + 1 + SENML_MORE_BASES_MAX];
    size_t n_seen, n_own, n_unknown; /* of them: no base fields; and not known, either */
};

static enum err fail(struct senml_reader *s, enum err err, const char *why)
{
    s->why = why;
    return err;
}

/* ---- labels ---- */

/* ERR_SPACE, ERR_PROTOCOL. */
static enum err read_label(const struct senml_syntax *syntax, struct slice label,
                           char dst[SENML_LABEL_MAX + 1], enum senml_field *ret)
{
    struct wr w = wr_into(dst, SENML_LABEL_MAX);
    TRY(syntax->label(label, &w, ret));
    dst[w.at] = '\0';
    return OK;
}

bool senml_is_base(const struct senml_syntax *syntax, struct slice label)
{
    char text[SENML_LABEL_MAX + 1];
    enum senml_field field;
    if (read_label(syntax, label, text, &field) != OK) {
        return false;
    }
    return field < SENML_FIELDS ? field <= SENML_BVER : text[0] == 'b';
}

/* ---- fields ---- */

static enum err check_number(struct senml_reader *s, enum senml_field field, struct slice value)
{
    double number = 0;
    enum err err = s->syntax->number(value, &number);
    if (err != OK) {
        return err == ERR_LIMIT ? fail(s, err, "a number is beyond a double")
                                : fail(s, ERR_PROTOCOL, "a field that is a number is none");
    }
    if (field == SENML_BVER && number > SENML_VERSION) {
        return fail(s, ERR_UNSUPPORTED,
                    "it is of a newer version of SenML"); /* SPEC: RFC8428 4.4 */
    }
    if (field == SENML_BVER && (number < 1 || number > (unsigned)number)) {
        return fail(s, ERR_PROTOCOL, "a version is a positive integer");
    }
    return OK;
}

static enum err check_type(struct senml_reader *s, enum senml_field field, struct slice value)
{
    static const char *const whys[] = {
        [SENML_TEXT] = "a field that is a string is none",
        [SENML_DATA] = "vd is no data",
        [SENML_BOOL] = "vb is neither true nor false",
        [SENML_NUMBER] = "a field that is a number is none",
        [SENML_COUNT] = "a version is a positive integer",
    };
    enum senml_type type = types[field];
    if (field == SENML_V && s->kind == SENML_PATCH && s->syntax->is_null(value)) {
        return OK; /* SPEC: RFC8790 3.2 */
    }
    if (!s->syntax->is_type(value, type)) {
        return fail(s, ERR_PROTOCOL, whys[type]);
    }
    return type == SENML_NUMBER || type == SENML_COUNT ? check_number(s, field, value) : OK;
}

/* A fetch record selects, and says nothing. SPEC: RFC8790 3.1 */
static bool may_have(enum senml_kind kind, enum senml_field field)
{
    enum {
        SELECTING = 1U << SENML_BN | 1U << SENML_BT | 1U << SENML_BU | 1U << SENML_N |
                    1U << SENML_U | 1U << SENML_T
    };
    return kind != SENML_FETCH || (field < SENML_FIELDS && (SELECTING >> field & 1) != 0);
}

/* A field that is not known, of a record that may have such. */
static enum err take_unknown(struct reading *g, const struct senml_member *m, const char *label)
{
    struct senml_bases *b = &g->s->bases;
    size_t n = strlen(label), i = 0;
    if (g->s->kind == SENML_PACK && n > 0 && label[n - 1] == '_') {
        /* SPEC: RFC8428 4.4; not of a patch: RFC8790 5 */
        return fail(g->s, ERR_UNSUPPORTED, "a field must be understood, and is not");
    }
    if (label[0] != 'b') {
        g->n_unknown++;
        return OK;
    }
    while (i < b->n_more && !g->s->syntax->is_same_label(b->more[i].label, m->label)) {
        i++;
    }
    if (i == SENML_MORE_BASES_MAX) {
        return fail(g->s, ERR_LIMIT, "too many base fields of extensions");
    }
    b->more[i] = *m;
    b->n_more = i == b->n_more ? (uint8_t)(i + 1) : b->n_more;
    return OK;
}

static enum err take_version(struct senml_reader *s, struct slice value)
{
    double now = 0, before = 0;
    if (s->version.n > 0) {
        TRY(s->syntax->number(value, &now));
        TRY(s->syntax->number(s->version, &before));
    }
    if (now < before || now > before) {
        return fail(s, ERR_PROTOCOL, "its records are of two versions"); /* SPEC: RFC8428 4.4 */
    }
    s->version = value;
    return OK;
}

static enum err take_field(struct reading *g, const struct senml_member *m)
{
    char label[SENML_LABEL_MAX + 1];
    struct senml_reader *s = g->s;
    enum senml_field field = SENML_FIELDS;
    enum err err = read_label(s->syntax, m->label, label, &field);
    if (err != OK) {
        return err == ERR_SPACE ? fail(s, ERR_LIMIT, "a label is too long")
                                : fail(s, ERR_PROTOCOL, "a label is written as none is");
    }
    if (!may_have(s->kind, field)) {
        return fail(s, ERR_PROTOCOL, "a fetch record has n, bn, t, bt, u and bu only");
    }
    if (field == SENML_FIELDS) {
        return take_unknown(g, m, label);
    }
    TRY(check_type(s, field, m->value));
    g->own[field] = m->value;
    g->r->fields |= 1U << field;
    if (field == SENML_BVER) {
        return take_version(s, m->value);
    }
    if (field < SENML_BASES) {
        s->bases.known[field] = m->value;
    }
    return OK;
}

static enum err take_fields(struct reading *g)
{
    const struct senml_syntax *syntax = g->s->syntax;
    struct rd members = syntax->parts(g->r->text);
    struct senml_member m;
    while (syntax->next_member(&members, &m)) {
        g->n_own += senml_is_base(syntax, m.label) ? 0 : 1;
        if (g->n_own > SENML_FIELDS_MAX || g->n_seen == COUNT_OF(g->seen)) {
            return fail(g->s, ERR_LIMIT, "a record has too many fields");
        }
        for (size_t i = 0; i < g->n_seen; i++) {
            if (syntax->is_same_label(g->seen[i], m.label)) {
                return fail(g->s, ERR_EXISTS, "a record has a label twice");
            }
        }
        g->seen[g->n_seen++] = m.label;
        TRY(take_field(g, &m));
    }
    return OK;
}

/* ---- resolving. SPEC: RFC8428 4.5, 4.6 ---- */

/* SPEC: RFC8428 4.5.1 */
static bool is_name_byte(uint8_t c, bool is_first)
{
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_first) {
        return is_letter || (c >= '0' && c <= '9');
    }
    return is_letter || (c >= '-' && c <= ':') || c == '_'; /* "-./", digits and ":" */
}

static void write_text(const struct reading *g, struct slice string, struct wr *w)
{
    if (string.n > 0) {
        g->s->syntax->text(string, w);
    }
}

static enum err resolve_name(struct reading *g)
{
    struct senml_record *r = g->r;
    struct wr w = wr_into(r->name, sizeof(r->name));
    write_text(g, r->bases.known[SENML_BN], &w);
    write_text(g, g->own[SENML_N], &w);
    if (!wr_ok(&w)) {
        return fail(g->s, ERR_LIMIT, "a name is too long");
    }
    r->name_n = (uint8_t)w.at;
    for (size_t i = 0; i < w.at; i++) {
        if (!is_name_byte(r->name[i], i == 0)) {
            return fail(g->s, ERR_PROTOCOL, "a name has a character that names do not have");
        }
    }
    return r->name_n > 0 ? OK : fail(g->s, ERR_PROTOCOL, "a record has no name");
}

static enum err resolve_time(struct reading *g)
{
    struct senml_record *r = g->r;
    double base = 0, own = 0;
    struct slice bt = r->bases.known[SENML_BT];
    if (bt.n > 0) {
        TRY(g->s->syntax->number(bt, &base));
    }
    if (senml_has(r, SENML_T)) {
        TRY(g->s->syntax->number(g->own[SENML_T], &own));
    }
    r->has_time = bt.n > 0 || senml_has(r, SENML_T);
    r->time = base + own;
    return isfinite(r->time) ? OK : fail(g->s, ERR_LIMIT, "a time is beyond a double");
}

static enum err resolve_unit(struct reading *g)
{
    struct senml_record *r = g->r;
    struct slice unit = senml_has(r, SENML_U) ? g->own[SENML_U] : r->bases.known[SENML_BU];
    struct wr w = wr_into(r->unit, sizeof(r->unit));
    write_text(g, unit, &w);
    if (!wr_ok(&w)) {
        return fail(g->s, ERR_LIMIT, "a unit is too long");
    }
    r->has_unit = unit.n > 0;
    r->unit_n = (uint8_t)w.at;
    return OK;
}

/* ---- what a record of each kind has ---- */

/* SPEC: RFC8428 4.2, 5.1.7; RFC8790 3.2 */
static enum err check_values(struct reading *g)
{
    struct senml_record *r = g->r;
    unsigned values = r->fields & SENML_VALUES;
    const struct senml_syntax *syntax = g->s->syntax;
    bool has_base = senml_base(syntax, &r->bases, SENML_BV).n > 0 ||
                    senml_base(syntax, &r->bases, SENML_BS).n > 0;
    if ((values & (values - 1)) != 0) {
        return fail(g->s, ERR_PROTOCOL, "a record has more than one value");
    }
    if (values != 0 || senml_has(r, SENML_S)) {
        r->is_removal = syntax->is_null(g->own[SENML_V]);
        return OK;
    }
    if (g->s->kind == SENML_PATCH) {
        return fail(g->s, ERR_PROTOCOL, "a patch record has neither value nor sum");
    }
    r->is_empty = !has_base && (r->fields & SENML_OWN) == 0 && g->n_unknown == 0;
    return r->is_empty || has_base ? OK
                                   : fail(g->s, ERR_PROTOCOL, "a record has neither value nor sum");
}

static enum err check_record(struct reading *g)
{
    enum { NAMED = 1U << SENML_N | 1U << SENML_BN };
    if (g->s->kind != SENML_FETCH) {
        TRY(check_values(g));
    } else if ((g->r->fields & NAMED) == 0) {
        return fail(g->s, ERR_PROTOCOL, "a fetch record has neither n nor bn");
    }
    if (g->r->is_empty) {
        return OK;
    }
    TRY(resolve_name(g));
    TRY(resolve_time(g));
    return resolve_unit(g);
}

struct senml_reader senml_read(enum senml_form form, struct slice pack, enum senml_kind kind)
{
    const struct senml_syntax *syntax = senml_syntax(form);
    return (struct senml_reader){
        .syntax = syntax, .elements = syntax->parts(syntax->trim(pack)), .kind = kind};
}

enum err senml_next(struct senml_reader *s, struct senml_record *ret)
{
    struct reading g = {.s = s, .r = ret};
    struct slice text;
    if (!s->syntax->next_element(&s->elements, &text)) {
        return ERR_NOT_FOUND;
    }
    if (!s->syntax->is_object(text)) {
        return fail(s, ERR_MALFORMED, "it is not an array of objects");
    }
    *ret = (struct senml_record){.text = text};
    TRY(take_fields(&g));
    ret->bases = s->bases;
    return check_record(&g);
}

enum err senml_check(enum senml_form form, struct slice pack, enum senml_kind kind,
                     const char **ret_why)
{
    const struct senml_syntax *syntax = senml_syntax(form);
    bool is_etch = kind != SENML_PACK;
    struct senml_record r;
    size_t n = 0;
    *ret_why = "it is too large";
    if (pack.n > (is_etch ? SENML_ETCH_BYTES_MAX : SENML_PACK_BYTES_MAX)) {
        return ERR_TOO_LARGE;
    }
    *ret_why = syntax->what;
    TRY(syntax->check(pack));
    *ret_why = "it is not an array of objects";
    if (!syntax->is_array(syntax->trim(pack))) {
        return ERR_MALFORMED;
    }
    struct senml_reader s = senml_read(form, pack, kind);
    enum err err;
    while ((err = senml_next(&s, &r)) == OK) {
        *ret_why = "it has too many records";
        if (++n > (is_etch ? SENML_ETCH_RECORDS_MAX : SENML_RECORDS_MAX)) {
            return ERR_LIMIT;
        }
    }
    *ret_why = s.why;
    if (err == ERR_NOT_FOUND && is_etch && n == 0) {
        *ret_why = "it has no record"; /* SPEC: RFC8790 3.1 */
        return ERR_PROTOCOL;
    }
    return err == ERR_NOT_FOUND ? OK : err;
}
