#include "wire/coap/forward.h"

#include <strings.h>

#include "base/scope.h"

#define BIT(number) COAP_OPTION_BIT(number)

/* Unsafe options that are understood here, and so may go on or be acted on. */
static const uint64_t known_in_requests =
    BIT(COAP_OPTION_URI_HOST) | BIT(COAP_OPTION_OBSERVE) | BIT(COAP_OPTION_URI_PORT) |
    BIT(COAP_OPTION_URI_PATH) | BIT(COAP_OPTION_MAX_AGE) | BIT(COAP_OPTION_URI_QUERY) |
    BIT(COAP_OPTION_BLOCK2) | BIT(COAP_OPTION_BLOCK1) | BIT(COAP_OPTION_PROXY_URI) |
    BIT(COAP_OPTION_PROXY_SCHEME);
static const uint64_t known_in_answers = BIT(COAP_OPTION_OBSERVE) | BIT(COAP_OPTION_MAX_AGE) |
                                         BIT(COAP_OPTION_BLOCK2) | BIT(COAP_OPTION_BLOCK1);

/* What is this hop's alone, or is written anew. */
static const uint64_t left_of_requests = BIT(COAP_OPTION_URI_HOST) | BIT(COAP_OPTION_URI_PORT) |
                                         BIT(COAP_OPTION_URI_PATH) | BIT(COAP_OPTION_URI_QUERY) |
                                         BIT(COAP_OPTION_HOP_LIMIT) | BIT(COAP_OPTION_PROXY_URI) |
                                         BIT(COAP_OPTION_PROXY_SCHEME);
static const uint64_t left_of_answers = BIT(COAP_OPTION_OBSERVE) | BIT(COAP_OPTION_HOP_LIMIT);

static bool is_in(uint64_t set, uint16_t number)
{
    return number < 64 && (set & COAP_OPTION_BIT(number)) != 0;
}

/* ---- where to ---- */

bool coap_forward_is_asked(struct slice options)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_PROXY_URI || o.number == COAP_OPTION_PROXY_SCHEME) {
            return true;
        }
    }
    return false;
}

static bool is_scheme(struct slice text, const char *name)
{
    return text.n == strlen(name) && strncasecmp((const char *)text.p, name, text.n) == 0;
}

static struct slice without_brackets(struct slice host)
{
    bool has = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    return has ? slice_from(slice_head(host, host.n - 1), 1) : host;
}

static enum err read_uri(struct slice text, struct coap_option_writer *o, struct coap_forward *ret)
{
    struct coap_uri u;
    TRY(coap_uri_parse(text, &u));
    ret->secure = u.secure;
    ret->host = u.host;
    ret->port = u.port;
    struct coap_uri nameless = u;
    nameless.is_ip_literal = true; /* the host is the caller's to tell */
    coap_uri_options(&nameless, o);
    return OK;
}

/* The URI is in the Uri options, but for its scheme. SPEC: RFC7252 5.10.2 */
static enum err read_scheme(struct slice scheme, struct slice options, struct coap_option_writer *o,
                            struct coap_forward *ret)
{
    uint32_t port;
    struct coap_options it = coap_options_from(options);
    struct coap_option one;
    ret->secure = is_scheme(scheme, "coaps");
    if (!ret->secure && !is_scheme(scheme, "coap")) {
        return ERR_UNSUPPORTED;
    }
    if (!coap_options_find(options, COAP_OPTION_URI_HOST, &ret->host)) {
        return ERR_MALFORMED;
    }
    ret->host = without_brackets(ret->host);
    port = ret->secure ? COAPS_PORT : COAP_PORT;
    (void)coap_options_find_uint(options, COAP_OPTION_URI_PORT, &port);
    if (port == 0 || port > UINT16_MAX) {
        return ERR_MALFORMED;
    }
    ret->port = (uint16_t)port;
    while (coap_options_next(&it, &one)) {
        if (one.number == COAP_OPTION_URI_PATH || one.number == COAP_OPTION_URI_QUERY) {
            coap_option_add(o, one.number, one.value);
        }
    }
    return OK;
}

enum err coap_forward_read(struct slice options, uint8_t into[COAP_FORWARD_BYTES],
                           struct coap_forward *ret)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option_writer o = coap_option_writer_into(into, COAP_FORWARD_BYTES);
    struct coap_option one, asked = {0};
    struct coap_forward f = {.port = 0};
    unsigned n = 0;
    while (coap_options_next(&it, &one)) {
        if (one.number == COAP_OPTION_PROXY_URI || one.number == COAP_OPTION_PROXY_SCHEME) {
            asked = one;
            n++;
        }
    }
    TRY(coap_options_finish(&it));
    if (n != 1) {
        return ERR_MALFORMED;
    }
    TRY(asked.number == COAP_OPTION_PROXY_URI ? read_uri(asked.value, &o, &f)
                                              : read_scheme(asked.value, options, &o, &f));
    enum err err = coap_option_writer_done(&o, &f.uri);
    if (err != OK) {
        return err == ERR_SPACE ? ERR_TOO_LARGE : err;
    }
    *ret = f;
    return OK;
}

enum err coap_forward_hops(struct slice options, uint8_t *ret)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number != COAP_OPTION_HOP_LIMIT) {
            continue;
        }
        if (o.value.n != 1 || o.value.p[0] == 0) {
            return ERR_MALFORMED;
        }
        if (o.value.p[0] == 1) {
            return ERR_LIMIT;
        }
        *ret = (uint8_t)(o.value.p[0] - 1);
        return OK;
    }
    *ret = COAP_FORWARD_HOPS;
    return OK;
}

/* ---- what goes on ---- */

static bool has_length(const struct coap_option_info *info, struct slice value)
{
    return value.n >= info->min_bytes && value.n <= info->max_bytes;
}

/* SPEC: RFC7252 5.7.1, 5.4.3, 5.4.5 */
static bool may_pass(struct coap_option o, bool is_repeated, uint64_t known)
{
    const struct coap_option_info *info = coap_option_find(o.number);
    bool is_known = is_in(known, o.number) ||
                    (o.number == COAP_OPTION_NO_RESPONSE && is_in(known, COAP_OPTION_URI_PATH));
    if (coap_option_is_unsafe(o.number) && !is_known) {
        return false;
    }
    bool is_wrong =
        info != NULL && (!has_length(info, o.value) || (is_repeated && !info->repeatable));
    return !is_wrong || !coap_option_is_critical(o.number);
}

struct filter {
    uint64_t known, left;
    bool drops_tag;
};

/* Is it left out? What is elective and wrong counts as not there; unsafe, it must not go on. */
static bool is_left(struct coap_option o, const struct filter *f)
{
    const struct coap_option_info *info = coap_option_find(o.number);
    bool is_wrong = info != NULL && !has_length(info, o.value);
    return is_in(f->left, o.number) || o.number == COAP_OPTION_NO_RESPONSE ||
           (f->drops_tag && o.number == COAP_OPTION_REQUEST_TAG) ||
           (is_wrong && coap_option_is_unsafe(o.number));
}

/* Both in order into one; of equal numbers those of `more` come first. */
static enum err merge(struct slice options, struct slice more, const struct filter *f,
                      struct coap_option_writer *w, uint16_t *ret_number)
{
    struct coap_options a = coap_options_from(options), b = coap_options_from(more);
    struct coap_option one, other;
    bool has_other = coap_options_next(&b, &other);
    uint32_t last = UINT32_MAX;
    while (coap_options_next(&a, &one)) {
        if (!may_pass(one, one.number == last, f->known)) {
            *ret_number = one.number;
            return ERR_UNSUPPORTED;
        }
        last = one.number;
        while (has_other && other.number <= one.number) {
            coap_option_add(w, other.number, other.value);
            has_other = coap_options_next(&b, &other);
        }
        if (!is_left(one, f)) {
            coap_option_add(w, one.number, one.value);
        }
    }
    while (has_other) {
        coap_option_add(w, other.number, other.value);
        has_other = coap_options_next(&b, &other);
    }
    TRY(coap_options_finish(&a));
    return coap_options_finish(&b);
}

static enum err finish(const struct coap_option_writer *w, struct slice *ret)
{
    enum err err = coap_option_writer_done(w, ret);
    return err == ERR_SPACE ? ERR_TOO_LARGE : err;
}

/* What is written anew, in the order of numbers. */
static enum err write_new(const struct coap_forward_change *c, uint8_t dst[COAP_FORWARD_BYTES],
                          struct slice *ret)
{
    struct coap_option_writer w = coap_option_writer_into(dst, COAP_FORWARD_BYTES);
    struct coap_options it = coap_options_from(c->uri);
    struct coap_option o;
    bool has_etag = c->etag.n == 0;
    while (coap_options_next(&it, &o)) {
        if (!has_etag && o.number > COAP_OPTION_ETAG) {
            coap_option_add(&w, COAP_OPTION_ETAG, c->etag);
            has_etag = true;
        }
        coap_option_add(&w, o.number, o.value);
    }
    TRY(coap_options_finish(&it));
    if (!has_etag) {
        coap_option_add(&w, COAP_OPTION_ETAG, c->etag);
    }
    coap_option_add_uint(&w, COAP_OPTION_HOP_LIMIT, c->hops);
    if (c->tag.n > 0) {
        coap_option_add(&w, COAP_OPTION_REQUEST_TAG, c->tag);
    }
    return finish(&w, ret);
}

enum err coap_forward_request(struct slice options, const struct coap_forward_change *change,
                              uint8_t dst[COAP_FORWARD_BYTES], struct slice *ret,
                              uint16_t *ret_number)
{
    uint8_t into[COAP_FORWARD_BYTES];
    struct slice more;
    struct filter f = {.known = known_in_requests,
                       .left = left_of_requests |
                               (change->drops_observe ? BIT(COAP_OPTION_OBSERVE) : 0),
                       .drops_tag = change->tag.n > 0};
    struct coap_option_writer w = coap_option_writer_into(dst, COAP_FORWARD_BYTES);
    TRY(write_new(change, into, &more));
    TRY(merge(options, more, &f, &w, ret_number));
    return finish(&w, ret);
}

enum err coap_forward_answer(struct slice options, struct slice where,
                             uint8_t dst[COAP_FORWARD_BYTES], struct slice *ret,
                             uint16_t *ret_number)
{
    struct filter f = {.known = known_in_answers, .left = left_of_answers};
    struct coap_option_writer w = coap_option_writer_into(dst, COAP_FORWARD_BYTES);
    struct slice path;
    bool has_path = coap_options_find(options, COAP_OPTION_LOCATION_PATH, &path);
    TRY(merge(options, has_path ? where : (struct slice){0}, &f, &w, ret_number));
    return finish(&w, ret);
}
