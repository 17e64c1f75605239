/* senml_syntax - what the two ways to write a pack have in common, for the files of SenML only.
 * What is a list, a field or a number is asked here; what they mean is not. */
#ifndef ENGINE_SENML_SYNTAX_H
#define ENGINE_SENML_SYNTAX_H

#include "base/rd.h"
#include "base/wr.h"
#include "engine/senml.h"

/* The base fields first. */
enum senml_field {
    SENML_BN,
    SENML_BT,
    SENML_BU,
    SENML_BV,
    SENML_BS,
    SENML_BASES,              /* so many are carried over; */
    SENML_BVER = SENML_BASES, /* the version is one for the pack */
    SENML_N,
    SENML_U,
    SENML_V,
    SENML_VS,
    SENML_VB,
    SENML_VD,
    SENML_S,
    SENML_T,
    SENML_UT,
    SENML_FIELDS
};

enum senml_type { SENML_TEXT, SENML_DATA, SENML_BOOL, SENML_NUMBER, SENML_COUNT };

/* A field, as it is written. */
struct senml_member {
    struct slice label, value;
};

struct senml_syntax {
    /* Of a stranger's text. ERR_MALFORMED, ERR_UTF8, ERR_LIMIT. */
    enum err (*check)(struct slice text);
    const char *what; /* it is, when check fails */
    /* All below take what was checked. */
    struct slice (*trim)(struct slice text);
    bool (*is_array)(struct slice value);
    bool (*is_object)(struct slice value);
    bool (*is_null)(struct slice value);
    bool (*is_type)(struct slice value, enum senml_type type);
    struct rd (*parts)(struct slice list);
    bool (*next_element)(struct rd *r, struct slice *ret);
    bool (*next_member)(struct rd *r, struct senml_member *ret);
    /* Of which field is it? SENML_FIELDS: of one that is not known, and its text is in w.
     * ERR_SPACE: it is too long; ERR_PROTOCOL: no label is written like that. */
    enum err (*label)(struct slice label, struct wr *w, enum senml_field *ret);
    bool (*is_same_label)(struct slice a, struct slice b);
    enum err (*number)(struct slice value, double *ret);
    void (*text)(struct slice string, struct wr *w); /* what it says */
    /* Of a known field: how its label is written, and what says the same of a base field as its
     * absence (empty: nothing does). */
    struct slice (*label_of)(enum senml_field field);
    struct slice (*neutral)(enum senml_field field);
    /* Fields and records, each behind the ones before it. */
    void (*open)(struct wr *w, bool is_object, bool is_first);
    void (*field)(struct wr *w, bool is_first, struct slice label, struct slice value);
    void (*close)(struct wr *w, bool is_object, size_t from, size_t n);
};

extern const struct senml_syntax senml_json, senml_cbor;

static inline const struct senml_syntax *senml_syntax(enum senml_form form)
{
    return form == SENML_JSON ? &senml_json : &senml_cbor;
}

/* senml_label_text - of a known field, in JSON. SPEC: RFC8428 4.3 */
const char *senml_label_text(enum senml_field field);
/* senml_find_label - SENML_FIELDS: it is not known. */
enum senml_field senml_find_label(struct slice text);

#endif
