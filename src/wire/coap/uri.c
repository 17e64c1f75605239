#include "wire/coap/uri.h"

#include "base/scope.h"

static const char hex_digits[] = "0123456789ABCDEF";

static bool is_alnum(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte behind a '%', or -1. A missing digit reads as a zero byte, which is no digit. */
static int rd_escaped(struct rd *r)
{
    int high = hex_value(rd_u8(r));
    int low = hex_value(rd_u8(r));
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A path segment's plain characters. SPEC: RFC3986 3.3 */
static bool is_segment_char(uint8_t c)
{
    return is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=:@");
}

/* SPEC: RFC3986 3.4; '&' separates the parts. SPEC: RFC7252 6.5 */
static bool is_query_char(uint8_t c)
{
    return c != '&' && (is_segment_char(c) || c == '/' || c == '?');
}

enum err coap_percent_decode(struct slice text, void *dst, size_t cap, size_t *ret_n)
{
    struct rd r = rd_from(text);
    struct wr w = wr_into(dst, cap);
    while (rd_left(&r) > 0) {
        uint8_t c = rd_u8(&r);
        if (c == '%') {
            int value = rd_escaped(&r);
            if (value < 0) {
                return ERR_MALFORMED;
            }
            c = (uint8_t)value;
        }
        wr_u8(&w, c);
    }
    return wr_done(&w, ret_n);
}

static void wr_escaped(struct wr *w, struct slice s, bool (*is_plain)(uint8_t))
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (is_plain(c)) {
            wr_u8(w, c);
        } else {
            wr_u8(w, '%');
            wr_u8(w, (uint8_t)hex_digits[c >> 4]);
            wr_u8(w, (uint8_t)hex_digits[c & 0x0F]);
        }
    }
}

/* Bytes a URI can hold, with whole escapes. */
static bool is_uri_text(struct slice text)
{
    struct rd r = rd_from(text);
    while (rd_left(&r) > 0) {
        uint8_t c = rd_u8(&r);
        if (c == '%') {
            if (rd_escaped(&r) < 0) {
                return false;
            }
        } else if (!is_segment_char(c) && !is_one_of(c, "/?[]")) {
            return false; /* also '#': a fragment has no place in a request. SPEC: RFC7252 6.1 */
        }
    }
    return true;
}

static bool has_prefix_ignoring_case(struct slice text, const char *lower_prefix)
{
    size_t n = strlen(lower_prefix);
    if (text.n < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text.p[i];
        if (c >= 'A' && c <= 'Z') {
            c = (uint8_t)(c + ('a' - 'A'));
        }
        if (c != (uint8_t)lower_prefix[i]) {
            return false;
        }
    }
    return true;
}

static bool is_ipv4(struct slice host)
{
    struct slice rest = host;
    bool has_more = true;
    size_t n = 0;
    while (has_more) {
        struct slice part = slice_cut(&rest, '.', &has_more);
        unsigned value = 0;
        for (size_t i = 0; i < part.n; i++) {
            if (part.p[i] < '0' || part.p[i] > '9' || part.n > 3) {
                return false;
            }
            value = value * 10 + (unsigned)(part.p[i] - '0');
        }
        n++;
        if (part.n == 0 || value > 255 || n > 4) {
            return false;
        }
    }
    return n == 4;
}

/* An empty port means the scheme's own. SPEC: RFC7252 6.4 */
static enum err parse_port(struct slice text, uint16_t *port)
{
    uint32_t value = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || i >= 5) {
            return ERR_MALFORMED;
        }
        value = value * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (text.n > 0 && (value == 0 || value > UINT16_MAX)) {
        return ERR_MALFORMED;
    }
    if (text.n > 0) {
        *port = (uint16_t)value;
    }
    return OK;
}

static bool is_host_text(struct slice host, bool is_bracketed)
{
    for (size_t i = 0; i < host.n; i++) {
        uint8_t c = host.p[i];
        bool is_plain = is_alnum(c) || is_one_of(c, "-._~!$&'()*+,;=%");
        if (!is_plain && !(is_bracketed && c == ':')) {
            return false;
        }
    }
    return host.n > 0 && host.n <= COAP_URI_SEGMENT_BYTES;
}

static enum err parse_authority(struct slice authority, struct coap_uri *u)
{
    struct slice port = {0};
    bool has_port = false;
    bool is_bracketed = authority.n > 0 && authority.p[0] == '[';
    if (is_bracketed) {
        struct slice rest = slice_from(authority, 1);
        bool is_closed = false;
        u->host = slice_cut(&rest, ']', &is_closed);
        if (!is_closed || (rest.n > 0 && rest.p[0] != ':')) {
            return ERR_MALFORMED;
        }
        port = slice_from(rest, 1);
    } else {
        port = authority;
        u->host = slice_cut(&port, ':', &has_port);
    }
    if (!is_host_text(u->host, is_bracketed)) {
        return ERR_MALFORMED; /* SPEC: RFC7252 6.1: a host is required */
    }
    u->is_ip_literal = is_bracketed || is_ipv4(u->host);
    return parse_port(port, &u->port);
}

static const struct scheme {
    const char *prefix;
    enum coap_uri_carrier carrier;
    bool secure;
    uint16_t port;
} schemes[] = {{"coap://", COAP_URI_UDP, false, COAP_PORT},
               {"coaps://", COAP_URI_UDP, true, COAPS_PORT},
               {"coap+tcp://", COAP_URI_TCP, false, COAP_PORT},
               {"coaps+tcp://", COAP_URI_TCP, true, COAPS_PORT},
               {"coap+ws://", COAP_URI_WEBSOCKET, false, COAP_WS_PORT},
               {"coaps+ws://", COAP_URI_WEBSOCKET, true, COAPS_WS_PORT}};

static const struct scheme *scheme_of(struct slice text)
{
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        if (has_prefix_ignoring_case(text, schemes[i].prefix)) {
            return &schemes[i];
        }
    }
    return NULL;
}

enum err coap_uri_parse(struct slice text, struct coap_uri *ret)
{
    const struct scheme *s = scheme_of(text);
    return s == NULL || s->carrier == COAP_URI_UDP ? coap_uri_parse_any(text, ret)
                                                   : ERR_UNSUPPORTED;
}

enum err coap_uri_parse_any(struct slice text, struct coap_uri *ret)
{
    const struct scheme *s = scheme_of(text);
    if (text.n > COAP_URI_BYTES) {
        return ERR_TOO_LARGE;
    }
    if (s == NULL) {
        return ERR_UNSUPPORTED;
    }
    struct coap_uri u = {.carrier = s->carrier, .secure = s->secure, .port = s->port};
    struct slice rest = slice_from(text, strlen(s->prefix));
    if (!is_uri_text(rest)) {
        return ERR_MALFORMED;
    }
    bool has_query = false;
    u.query = rest;
    struct slice before_query = slice_cut(&u.query, '?', &has_query);
    size_t authority_n = slice_find(before_query, '/');
    u.path = slice_from(before_query, authority_n);
    TRY(parse_authority(slice_head(before_query, authority_n), &u));
    *ret = u;
    return OK;
}

static void add_unescaped(struct coap_option_writer *o, uint16_t number, struct slice text)
{
    uint8_t bytes[COAP_URI_SEGMENT_BYTES];
    size_t n = 0;
    enum err e = coap_percent_decode(text, bytes, sizeof(bytes), &n);
    if (e != OK) {
        wr_fail(&o->w, e == ERR_SPACE ? ERR_TOO_LARGE : e);
        return;
    }
    coap_option_add(o, number, slice_of(bytes, n));
}

/* Segments are kept as slices until the last one is known, because ".." takes one back. */
enum { SEGMENTS_MAX = 128 };

void coap_uri_path_options(struct slice path, struct coap_option_writer *o)
{
    struct slice segments[SEGMENTS_MAX];
    size_t n = 0;
    bool has_more = path.n > 0;
    struct slice rest = path;
    if (path.n > 0 && path.p[0] == '/') {
        rest = slice_from(path, 1);
    }
    while (has_more) {
        struct slice segment = slice_cut(&rest, '/', &has_more);
        if (slice_is(segment, ".") || slice_is(segment, "..")) {
            n -= segment.n == 2 && n > 0;
            /* SPEC: RFC3986 5.2.4: a trailing dot segment leaves the slash before it. */
            segment = (struct slice){0};
            if (has_more) {
                continue;
            }
        }
        if (n == SEGMENTS_MAX) {
            wr_fail(&o->w, ERR_TOO_LARGE);
            return;
        }
        segments[n++] = segment;
    }
    if (n == 1 && segments[0].n == 0) {
        return; /* SPEC: RFC7252 6.4: "/" is no option at all */
    }
    for (size_t i = 0; i < n; i++) {
        add_unescaped(o, COAP_OPTION_URI_PATH, segments[i]);
    }
}

void coap_uri_options(const struct coap_uri *u, struct coap_option_writer *o)
{
    if (!u->is_ip_literal) {
        uint8_t host[COAP_URI_SEGMENT_BYTES];
        size_t n = 0;
        enum err e = coap_percent_decode(u->host, host, sizeof(host), &n);
        if (e != OK) {
            wr_fail(&o->w, e);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            if (host[i] >= 'A' && host[i] <= 'Z') {
                host[i] = (uint8_t)(host[i] + ('a' - 'A')); /* SPEC: RFC7252 6.4 */
            }
        }
        coap_option_add(o, COAP_OPTION_URI_HOST, slice_of(host, n));
    }
    coap_uri_path_options(u->path, o);
    struct slice rest = u->query;
    bool has_more = rest.n > 0;
    while (has_more) {
        struct slice part = slice_cut(&rest, '&', &has_more);
        add_unescaped(o, COAP_OPTION_URI_QUERY, part);
    }
}

bool coap_uri_path_next(struct coap_options *it, struct slice *ret)
{
    struct coap_option option;
    while (coap_options_next(it, &option)) {
        if (option.number == COAP_OPTION_URI_PATH) {
            *ret = option.value;
            return true;
        }
    }
    return false;
}

void coap_uri_path_write(struct slice options, struct wr *w)
{
    struct coap_options it = coap_options_from(options);
    struct slice segment;
    bool is_empty = true;
    while (coap_uri_path_next(&it, &segment)) {
        wr_u8(w, '/');
        wr_escaped(w, segment, is_segment_char);
        is_empty = false;
    }
    if (is_empty) {
        wr_u8(w, '/');
    }
}

void coap_uri_query_write(struct slice options, struct wr *w)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    bool is_first = true;
    while (coap_options_next(&it, &option)) {
        if (option.number != COAP_OPTION_URI_QUERY) {
            continue;
        }
        if (!is_first) {
            wr_u8(w, '&');
        }
        wr_escaped(w, option.value, is_query_char);
        is_first = false;
    }
}

bool coap_uri_path_is(struct slice options, const char *path)
{
    struct coap_options it = coap_options_from(options);
    struct slice segment;
    struct slice rest = slice_from(slice_text(path), 1); /* behind the leading '/' */
    bool has_more = rest.n > 0;
    while (coap_uri_path_next(&it, &segment)) {
        if (!has_more || !slice_equal(segment, slice_cut(&rest, '/', &has_more))) {
            return false;
        }
    }
    return !has_more;
}

bool coap_uri_query_find(struct slice options, const char *name, struct slice *ret)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    while (coap_options_next(&it, &option)) {
        if (option.number != COAP_OPTION_URI_QUERY) {
            continue;
        }
        bool has_value = false;
        struct slice value = option.value;
        struct slice found = slice_cut(&value, '=', &has_value);
        if (slice_is(found, name)) {
            *ret = value;
            return true;
        }
    }
    return false;
}
