/*
 * link_set - what a device says of itself to the resource directory: the query of a registration,
 * and its links. Strict: what could mean another device, or another server, is refused.
 *
 * Targets and anchors are paths of the device itself ("/light?x", no "//", no fragment): a link
 * elsewhere would send whoever looks it up where the registrant likes.
 * SPEC: RFC9176 5, Appendix C; RFC6690 2.
 */
#ifndef SERVICE_GATEWAY_LINK_SET_H
#define SERVICE_GATEWAY_LINK_SET_H

#include "wire/coap/link.h"

enum {
    LINK_SET_EXTRAS_MAX = 8,     /* parameters that this directory does not know */
    LINK_SET_PARAMETER_MAX = 255 /* bytes of one part of the query. SPEC: RFC7252 5.10 */
};

struct link_set_query {
    bool has_ep, has_d, has_lt, has_base;
    struct slice ep, d, base; /* borrow, as all of it */
    uint64_t lt;
    size_t n_extras;
    struct coap_link_filter extras[LINK_SET_EXTRAS_MAX]; /* name and value */
};

/* link_set_query_read - of a well-formed block of options. *ret_why (static) is what is wrong, on
 * errors. ERR_UTF8: or control characters; ERR_MALFORMED: a name twice, without a value, or one
 * that the directory gives itself; lt no number; ERR_LIMIT: over LINK_SET_EXTRAS_MAX. */
MUST_USE enum err link_set_query_read(struct slice options, struct link_set_query *ret,
                                      const char **ret_why);

/* link_set_check - ERR_UTF8, ERR_MALFORMED; ERR_LIMIT: over links_max links, or
 * COAP_LINK_ATTRIBUTES; ERR_TOO_LARGE: over COAP_LINK_BYTES. O(bytes). */
MUST_USE enum err link_set_check(struct slice links, size_t links_max, uint32_t *ret_n,
                                 const char **ret_why);

/* link_set_attributes - those of q as attributes of the endpoint, and of `old` those that q does
 * not say anew. SPEC: RFC9176 5.3.1. ERR_LIMIT: over LINK_SET_EXTRAS_MAX in all; ERR_SPACE. */
MUST_USE enum err link_set_attributes(struct slice old, const struct link_set_query *q,
                                      struct wr *w);

/* link_set_topic - the path of a target that link_set_check has passed, behind what w has, without
 * its first '/' and its query: "light/1" of "/light/1?x". false: no command can name it. */
bool link_set_topic(struct slice href, struct wr *w);

#endif
