/*
 * link - the CoRE link format of /.well-known/core: a writer, a query filter and a reader.
 * SPEC: RFC6690 2, 4.1; RFC7641 6; RFC7252 7.2.1.
 */
#ifndef WIRE_COAP_LINK_H
#define WIRE_COAP_LINK_H

#include "wire/coap/message.h"

enum { COAP_LINK_FORMATS = 4, COAP_LINK_BYTES = 16384, COAP_LINK_ATTRIBUTES = 32 };

/* One link as we publish it. Empty slices are attributes that are not there. */
struct coap_link {
    struct slice href;  /* an escaped path reference, "/mq/a%20b"; not empty, without '<' and '>' */
    struct slice rt;    /* resource types, separated by one space */
    struct slice iface; /* the attribute `if` */
    struct slice title;
    uint16_t ct[COAP_LINK_FORMATS];
    uint8_t n_ct;
    uint32_t sz; /* bytes; 0 = not said */
    bool obs;    /* observable */
};

/* coap_link_write - appends one link, after a comma when w holds some already. Values are quoted
 * with escapes. Errors stick: ERR_SPACE; ERR_MALFORMED when the href cannot be written. */
void coap_link_write(struct wr *w, const struct coap_link *l);

/* A filter out of one Uri-Query part: "rt=temp*". Borrows. */
struct coap_link_filter {
    struct slice name;  /* empty: everything matches */
    struct slice value; /* without the trailing '*' */
    bool prefix;
};

/* coap_link_filter_from - ERR_MALFORMED when there is no name; a part without '=' asks for the
 * presence of the attribute (any value). The empty query is the filter that lets all pass. */
MUST_USE enum err coap_link_filter_from(struct slice query, struct coap_link_filter *ret);
/* coap_link_matches - href as a whole; rt, if and ct value by value; title, sz and obs as a whole;
 * attributes a link does not have never match. SPEC: RFC6690 4.1 */
bool coap_link_matches(const struct coap_link_filter *f, const struct coap_link *l);

/* coap_link_attribute_write - appends ;name="value" behind a link that was written; nothing when
 * the value is empty. The name is a plain word. */
void coap_link_attribute_write(struct wr *w, const char *name, struct slice value);

/* ---- reading somebody else's list ---- */

struct coap_link_reader {
    struct rd r;
    size_t n_links;
};

struct coap_link_item {
    struct slice href;       /* between '<' and '>' */
    struct slice attributes; /* from the first ';' on, checked */
};

struct coap_link_attribute {
    struct slice name;
    struct slice value; /* without quotes, escapes still in it; empty when there is none */
    bool has_value, quoted;
};

/* coap_link_reader_from - borrows. Over COAP_LINK_BYTES the first read is ERR_TOO_LARGE. */
struct coap_link_reader coap_link_reader_from(struct slice text);
/* coap_link_next - one link; false at the end or at the first error, which coap_link_finish gives:
 * ERR_MALFORMED, ERR_LIMIT for more than COAP_LINK_ATTRIBUTES attributes on one link. */
bool coap_link_next(struct coap_link_reader *it, struct coap_link_item *ret);
MUST_USE enum err coap_link_finish(const struct coap_link_reader *it);
/* coap_link_attribute_next - cuts one attribute off *attributes; false when there are no more. */
bool coap_link_attribute_next(struct slice *attributes, struct coap_link_attribute *ret);
/* coap_link_attributes_match - does one of them have this name and value? rt, if, rel, rev and ct
 * value by value, others as a whole; escapes count for what they mean. Not for href and anchor,
 * which have to be resolved first. SPEC: RFC6690 4.1, RFC9176 6.2 */
bool coap_link_attributes_match(const struct coap_link_filter *f, struct slice attributes);
/* coap_link_filter_takes - does a value as a whole match? Whatever the name. */
bool coap_link_filter_takes(const struct coap_link_filter *f, struct slice value);
/* coap_link_name_is_ok - of an attribute: letters, digits and !#$&+-.^_`|~, one '*' at its end.
 * SPEC: RFC6690 2 */
bool coap_link_name_is_ok(struct slice name);

#endif
