/* senml_private - records as they are read, for the files of SenML only. */
#ifndef ENGINE_SENML_PRIVATE_H
#define ENGINE_SENML_PRIVATE_H

#include "engine/senml_syntax.h"

enum {
    SENML_VALUES = 1U << SENML_V | 1U << SENML_VS | 1U << SENML_VB | 1U << SENML_VD,
    SENML_OWN = ~((1U << (SENML_BVER + 1)) - 1) & ((1U << SENML_FIELDS) - 1)
};

/* What is in force at a record. */
struct senml_bases {
    struct slice known[SENML_BASES]; /* as written; empty: none */
    uint8_t n_more;
    struct senml_member more[SENML_MORE_BASES_MAX]; /* of extensions */
};

struct senml_record {
    struct slice text; /* the object, as written */
    struct senml_bases bases;
    unsigned fields; /* its own: a bit for each senml_field */
    double time;     /* resolved; 0 without one */
    bool has_time, has_unit;
    bool is_empty;   /* it has base fields only, for those behind it */
    bool is_removal; /* a patch record that takes away */
    bool is_gone;
    uint8_t unit_n, name_n;
    uint8_t unit[SENML_UNIT_MAX], name[SENML_NAME_MAX]; /* resolved */
};

struct senml_reader {
    const struct senml_syntax *syntax;
    struct rd elements;
    enum senml_kind kind;
    struct senml_bases bases;
    struct slice version; /* as written; empty: not said */
    const char *why;      /* static, with an error */
};

/* A base field that makes a difference, or nothing. */
static inline struct slice senml_base(const struct senml_syntax *syntax,
                                      const struct senml_bases *b, enum senml_field field)
{
    struct slice value = b->known[field], neutral = syntax->neutral(field);
    return neutral.n > 0 && slice_equal(value, neutral) ? (struct slice){0} : value;
}

static inline bool senml_has(const struct senml_record *r, enum senml_field field)
{
    return (r->fields >> field & 1) != 0;
}

/* senml_read - of text that check has passed, and that is an array. */
struct senml_reader senml_read(enum senml_form form, struct slice pack, enum senml_kind kind);
/* senml_next - ERR_NOT_FOUND: that was the last. Other errors as senml_check. */
MUST_USE enum err senml_next(struct senml_reader *s, struct senml_record *ret);
/* senml_is_base - of the labels that apply to the records behind, too. */
bool senml_is_base(const struct senml_syntax *syntax, struct slice label);

#endif
