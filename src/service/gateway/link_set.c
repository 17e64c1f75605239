#include "service/gateway/link_set.h"

#include "base/scope.h"
#include "base/utf8.h"
#include "wire/coap/uri.h"

static enum err refuse(enum err err, const char *why, const char **ret_why)
{
    *ret_why = why;
    return err;
}

/* ---- the query ---- */

static bool is_number(struct slice text, uint64_t *ret)
{
    enum { DIGITS_MAX = 10 };
    uint64_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        n = n * 10 + (text.p[i] - '0');
    }
    *ret = n;
    return text.n > 0 && text.n <= DIGITS_MAX;
}

/* What the directory says of an endpoint or a link, and what a lookup understands. */
static bool is_ours(struct slice name)
{
    static const char *const names[] = {"ep", "d",   "lt",  "base", "href", "anchor",
                                        "rt", "rel", "rev", "ct",   "page", "count"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

static enum err add_extra(struct link_set_query *q, const struct coap_link_filter *one,
                          const char **ret_why)
{
    if (is_ours(one->name) || !coap_link_name_is_ok(one->name)) {
        return refuse(ERR_MALFORMED, "a parameter has a name that is the directory's, or no word",
                      ret_why);
    }
    for (size_t i = 0; i < q->n_extras; i++) {
        if (slice_equal(q->extras[i].name, one->name)) {
            return refuse(ERR_MALFORMED, "a parameter came twice", ret_why);
        }
    }
    if (q->n_extras == LINK_SET_EXTRAS_MAX) {
        return refuse(ERR_LIMIT, "8 parameters beside ep, d, lt and base are kept", ret_why);
    }
    q->extras[q->n_extras++] = *one;
    return OK;
}

static enum err take(struct slice *to, bool *has, struct slice value, const char **ret_why)
{
    if (*has) {
        return refuse(ERR_MALFORMED, "a parameter came twice", ret_why);
    }
    *has = true;
    *to = value;
    return OK;
}

static enum err read_part(struct slice part, struct link_set_query *q, const char **ret_why)
{
    bool has_value = false;
    struct coap_link_filter one = {.value = part};
    struct slice lt;
    one.name = slice_cut(&one.value, '=', &has_value);
    if (utf8_check(part, UTF8_STRICT, NULL) != OK) {
        return refuse(ERR_UTF8, "a parameter is no UTF-8, or holds a control character", ret_why);
    }
    if (!has_value || one.value.n == 0) {
        return refuse(ERR_MALFORMED, "a parameter is like lt=3600", ret_why);
    }
    if (slice_is(one.name, "ep")) {
        return take(&q->ep, &q->has_ep, one.value, ret_why);
    }
    if (slice_is(one.name, "d")) {
        return take(&q->d, &q->has_d, one.value, ret_why);
    }
    if (slice_is(one.name, "base")) {
        return take(&q->base, &q->has_base, one.value, ret_why);
    }
    if (slice_is(one.name, "lt")) {
        TRY(take(&lt, &q->has_lt, one.value, ret_why));
        return is_number(lt, &q->lt) ? OK
                                     : refuse(ERR_MALFORMED, "lt is a number of seconds", ret_why);
    }
    return add_extra(q, &one, ret_why);
}

enum err link_set_query_read(struct slice options, struct link_set_query *ret, const char **ret_why)
{
    struct link_set_query q = {.n_extras = 0};
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_URI_QUERY) {
            TRY(read_part(o.value, &q, ret_why));
        }
    }
    *ret = q;
    return OK;
}

/* ---- links ---- */

static bool is_dots(struct slice segment)
{
    return slice_is(segment, ".") || slice_is(segment, "..");
}

/* One segment of a path, as a device would be asked for it. */
static bool is_segment(struct slice escaped)
{
    uint8_t plain[COAP_URI_SEGMENT_BYTES];
    size_t n = 0;
    if (coap_percent_decode(escaped, plain, sizeof(plain), &n) != OK) {
        return false;
    }
    struct slice s = slice_of(plain, n);
    return !is_dots(s) && slice_find(s, '/') == s.n && utf8_check(s, UTF8_MQTT, NULL) == OK;
}

/* SPEC: RFC9176 Appendix C, and more: it is of the device itself */
static bool is_own_path(struct slice ref)
{
    uint8_t ignored[COAP_URI_BYTES];
    size_t n;
    bool has_query = false, has_more = true;
    struct slice query = ref;
    struct slice path = slice_cut(&query, '?', &has_query);
    if (path.n == 0 || path.p[0] != '/' || (path.n > 1 && path.p[1] == '/') ||
        ref.n > COAP_URI_BYTES || slice_find(ref, '#') != ref.n) {
        return false;
    }
    path = slice_from(path, 1);
    while (has_more) {
        if (!is_segment(slice_cut(&path, '/', &has_more))) {
            return false;
        }
    }
    return coap_percent_decode(query, ignored, sizeof(ignored), &n) == OK;
}

/* Without escapes, so that it is a path as it stands. */
static bool is_anchor(const struct coap_link_attribute *a)
{
    for (size_t i = 0; i < a->value.n; i++) {
        uint8_t c = a->value.p[i];
        if (c <= ' ' || c >= 0x7F || c == '\\' || c == '<' || c == '>') {
            return false;
        }
    }
    return is_own_path(a->value);
}

/* Names that a lookup would show as if the directory had said it. */
static bool is_forged(struct slice name)
{
    return slice_is(name, "href") || slice_is(name, "ep") || slice_is(name, "d") ||
           slice_is(name, "base") || slice_is(name, "lt") || slice_is(name, "page") ||
           slice_is(name, "count");
}

static enum err check_attributes(struct slice attributes, const char **ret_why)
{
    struct slice seen[COAP_LINK_ATTRIBUTES];
    struct coap_link_attribute a;
    size_t n = 0;
    while (n < COAP_LINK_ATTRIBUTES && coap_link_attribute_next(&attributes, &a)) {
        for (size_t i = 0; i < n; i++) {
            if (slice_equal(seen[i], a.name) && !slice_is(a.name, "hreflang")) {
                return refuse(ERR_MALFORMED, "a link has an attribute twice", ret_why);
            }
        }
        if (!coap_link_name_is_ok(a.name) || is_forged(a.name)) {
            return refuse(ERR_MALFORMED,
                          "an attribute has a name that is the directory's, or no word", ret_why);
        }
        if (slice_is(a.name, "anchor") && !is_anchor(&a)) {
            return refuse(ERR_MALFORMED, "an anchor is a path of the device itself: \"/a/b\"",
                          ret_why);
        }
        seen[n++] = a.name;
    }
    return OK;
}

enum err link_set_check(struct slice links, size_t links_max, uint32_t *ret_n, const char **ret_why)
{
    struct coap_link_reader it = coap_link_reader_from(links);
    struct coap_link_item item;
    size_t n = 0;
    if (utf8_check(links, UTF8_MQTT, NULL) != OK) {
        return refuse(ERR_UTF8, "the links are not well-formed UTF-8", ret_why);
    }
    while (coap_link_next(&it, &item)) {
        if (++n > links_max) {
            return refuse(ERR_LIMIT, "more links than registration_links allows", ret_why);
        }
        if (!is_own_path(item.href)) {
            return refuse(ERR_MALFORMED,
                          "a target is a path of the device itself: </a/b>, not another server",
                          ret_why);
        }
        TRY(check_attributes(item.attributes, ret_why));
    }
    enum err err = coap_link_finish(&it);
    if (err != OK) {
        return refuse(err,
                      err == ERR_MALFORMED ? "the payload is no link format: </a>;rt=\"b\",</c>"
                                           : "the links are too many, or too large",
                      ret_why);
    }
    *ret_n = (uint32_t)n;
    return OK;
}

/* ---- attributes of the endpoint ---- */

static void write_attribute(struct wr *w, struct slice name, struct slice value)
{
    char word[LINK_SET_PARAMETER_MAX + 1];
    if (!slice_to_text(name, word, sizeof(word))) {
        wr_fail(w, ERR_SPACE);
        return;
    }
    coap_link_attribute_write(w, word, value);
}

static bool says(const struct link_set_query *q, struct slice name)
{
    for (size_t i = 0; i < q->n_extras; i++) {
        if (slice_equal(q->extras[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* As it stands, with its escapes. */
static void keep_attribute(struct wr *w, const struct coap_link_attribute *a)
{
    wr_u8(w, ';');
    wr_bytes(w, a->name);
    wr_bytes(w, slice_text("=\""));
    wr_bytes(w, a->value);
    wr_u8(w, '"');
}

enum err link_set_attributes(struct slice old, const struct link_set_query *q, struct wr *w)
{
    struct coap_link_attribute a;
    size_t n = q->n_extras;
    while (coap_link_attribute_next(&old, &a)) {
        if (!says(q, a.name)) {
            keep_attribute(w, &a);
            n++;
        }
    }
    for (size_t i = 0; i < q->n_extras; i++) {
        write_attribute(w, q->extras[i].name, q->extras[i].value);
    }
    return n > LINK_SET_EXTRAS_MAX ? ERR_LIMIT : w->err;
}

bool link_set_topic(struct slice href, struct wr *w)
{
    bool has_more = true;
    struct slice path = slice_cut(&href, '?', &has_more);
    size_t n = 0;
    path = slice_from(path, 1);
    /* checked before: no escape makes a '/' */
    uint8_t plain[COAP_URI_BYTES];
    if (coap_percent_decode(path, plain, sizeof(plain), &n) != OK) {
        return false;
    }
    wr_bytes(w, slice_of(plain, n));
    return wr_ok(w);
}
