#include "wire/coap/link.h"

/* ---- writing ---- */

static bool is_href(struct slice href)
{
    for (size_t i = 0; i < href.n; i++) {
        uint8_t c = href.p[i];
        if (c <= ' ' || c >= 0x7F || c == '<' || c == '>' || c == '"') {
            return false;
        }
    }
    return href.n > 0;
}

static void wr_text(struct wr *w, const char *text)
{
    wr_bytes(w, slice_text(text));
}

enum { NUMBER_TEXT_BYTES = 12 };

static struct slice number_text(uint32_t value, char dst[NUMBER_TEXT_BYTES])
{
    int n = snprintf(dst, NUMBER_TEXT_BYTES, "%u", (unsigned)value);
    return (struct slice){(const uint8_t *)dst, (size_t)n};
}

static void wr_number(struct wr *w, uint32_t value)
{
    char text[NUMBER_TEXT_BYTES];
    wr_bytes(w, number_text(value, text));
}

/* ;name="value", with what could end the quoting escaped. SPEC: RFC6690 2 */
void coap_link_attribute_write(struct wr *w, const char *name, struct slice value)
{
    if (value.n == 0) {
        return;
    }
    wr_u8(w, ';');
    wr_text(w, name);
    wr_text(w, "=\"");
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\') {
            wr_u8(w, '\\');
        }
        wr_u8(w, value.p[i]);
    }
    wr_u8(w, '"');
}

/* One value is a number, more of them a quoted list. SPEC: RFC7252 7.2.1 */
static void wr_formats(struct wr *w, const struct coap_link *l)
{
    const char *quote = l->n_ct > 1 ? "\"" : "";
    wr_text(w, ";ct=");
    wr_text(w, quote);
    for (size_t i = 0; i < l->n_ct; i++) {
        wr_text(w, i > 0 ? " " : "");
        wr_number(w, l->ct[i]);
    }
    wr_text(w, quote);
}

void coap_link_write(struct wr *w, const struct coap_link *l)
{
    if (!is_href(l->href) || l->n_ct > COAP_LINK_FORMATS) {
        wr_fail(w, ERR_MALFORMED);
        return;
    }
    wr_text(w, w->at > 0 ? ",<" : "<");
    wr_bytes(w, l->href);
    wr_u8(w, '>');
    coap_link_attribute_write(w, "rt", l->rt);
    coap_link_attribute_write(w, "if", l->iface);
    coap_link_attribute_write(w, "title", l->title);
    if (l->n_ct > 0) {
        wr_formats(w, l);
    }
    if (l->sz > 0) {
        wr_text(w, ";sz=");
        wr_number(w, l->sz);
    }
    if (l->obs) {
        wr_text(w, ";obs"); /* SPEC: RFC7641 6 */
    }
}

/* ---- filtering ---- */

enum err coap_link_filter_from(struct slice query, struct coap_link_filter *ret)
{
    struct coap_link_filter f = {.value = query};
    bool has_value = false;
    f.name = slice_cut(&f.value, '=', &has_value);
    if (query.n > 0 && f.name.n == 0) {
        return ERR_MALFORMED;
    }
    if (!has_value && query.n > 0) {
        f.prefix = true;
    }
    if (f.value.n > 0 && f.value.p[f.value.n - 1] == '*') {
        f.prefix = true;
        f.value = slice_head(f.value, f.value.n - 1);
    }
    *ret = f;
    return OK;
}

bool coap_link_filter_takes(const struct coap_link_filter *f, struct slice value)
{
    return f->prefix ? slice_has_prefix(value, f->value) : slice_equal(value, f->value);
}

/* An attribute that is not there never matches; a list matches when one of its values does. */
static bool matches_list(const struct coap_link_filter *f, struct slice values)
{
    bool has_more = values.n > 0;
    while (has_more) {
        if (coap_link_filter_takes(f, slice_cut(&values, ' ', &has_more))) {
            return true;
        }
    }
    return false;
}

static bool matches_number(const struct coap_link_filter *f, uint32_t value)
{
    char text[NUMBER_TEXT_BYTES];
    return coap_link_filter_takes(f, number_text(value, text));
}

static bool matches_formats(const struct coap_link_filter *f, const struct coap_link *l)
{
    for (size_t i = 0; i < l->n_ct; i++) {
        if (matches_number(f, l->ct[i])) {
            return true;
        }
    }
    return false;
}

bool coap_link_matches(const struct coap_link_filter *f, const struct coap_link *l)
{
    if (f->name.n == 0) {
        return true;
    }
    if (slice_is(f->name, "href")) {
        return coap_link_filter_takes(f, l->href);
    }
    if (slice_is(f->name, "rt")) {
        return matches_list(f, l->rt);
    }
    if (slice_is(f->name, "if")) {
        return matches_list(f, l->iface);
    }
    if (slice_is(f->name, "ct")) {
        return matches_formats(f, l);
    }
    if (slice_is(f->name, "title")) {
        return l->title.n > 0 && coap_link_filter_takes(f, l->title);
    }
    if (slice_is(f->name, "sz")) {
        return l->sz > 0 && matches_number(f, l->sz);
    }
    return slice_is(f->name, "obs") && l->obs && f->value.n == 0;
}

/* ---- reading ---- */

static bool is_one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static void skip_space(struct rd *r)
{
    while (rd_left(r) > 0 && is_one_of(rd_peek_u8(r), " \t\r\n")) {
        (void)rd_u8(r);
    }
}

/* Takes bytes as long as they are not in `stop`. */
static struct slice rd_until(struct rd *r, const char *stop)
{
    size_t n = 0;
    struct slice rest = slice_of(r->base, r->n);
    rest = slice_from(rest, r->at);
    while (n < rest.n && !is_one_of(rest.p[n], stop) && rest.p[n] > ' ' && rest.p[n] < 0x7F) {
        n++;
    }
    return rd_bytes(r, n);
}

/* Behind the opening quote; the closing one is taken too. */
static struct slice rd_quoted(struct rd *r)
{
    size_t start = r->at;
    while (rd_left(r) > 0) {
        uint8_t c = rd_u8(r);
        if (c == '"') {
            return slice_from(slice_of(r->base, r->at - 1), start);
        }
        if (c == '\\') {
            (void)rd_u8(r);
        } else if (c < ' ' && c != '\t') {
            rd_fail(r, ERR_MALFORMED);
        }
    }
    rd_fail(r, ERR_MALFORMED);
    return (struct slice){0};
}

/* One attribute behind its ';'. */
static void rd_attribute(struct rd *r, struct coap_link_attribute *ret)
{
    struct coap_link_attribute a = {0};
    skip_space(r);
    a.name = rd_until(r, "=;,<>\"\\");
    if (a.name.n == 0) {
        rd_fail(r, ERR_MALFORMED);
    }
    skip_space(r);
    if (rd_left(r) > 0 && rd_peek_u8(r) == '=') {
        (void)rd_u8(r);
        a.has_value = true;
        skip_space(r);
        if (rd_left(r) > 0 && rd_peek_u8(r) == '"') {
            (void)rd_u8(r);
            a.quoted = true;
            a.value = rd_quoted(r);
        } else {
            a.value = rd_until(r, ";,<>\"\\");
            if (a.value.n == 0) {
                rd_fail(r, ERR_MALFORMED);
            }
        }
        skip_space(r);
    }
    *ret = a;
}

struct coap_link_reader coap_link_reader_from(struct slice text)
{
    struct coap_link_reader it = {.r = rd_from(text)};
    if (text.n > COAP_LINK_BYTES) {
        rd_fail(&it.r, ERR_TOO_LARGE);
    }
    return it;
}

static void rd_link(struct rd *r, struct coap_link_item *ret)
{
    struct coap_link_item item = {0};
    if (rd_u8(r) != '<') {
        rd_fail(r, ERR_MALFORMED);
    }
    item.href = rd_until(r, "<>\"");
    if (rd_u8(r) != '>') {
        rd_fail(r, ERR_MALFORMED);
    }
    skip_space(r);
    size_t start = r->at, n = 0;
    while (rd_left(r) > 0 && rd_peek_u8(r) == ';') {
        struct coap_link_attribute ignored;
        (void)rd_u8(r);
        rd_attribute(r, &ignored);
        n++;
        if (n > COAP_LINK_ATTRIBUTES) {
            rd_fail(r, ERR_LIMIT);
        }
    }
    if (rd_ok(r)) {
        item.attributes = slice_from(slice_of(r->base, r->at), start);
        *ret = item;
    }
}

bool coap_link_next(struct coap_link_reader *it, struct coap_link_item *ret)
{
    skip_space(&it->r);
    if (rd_left(&it->r) == 0) {
        return false;
    }
    if (it->n_links > 0) {
        if (rd_u8(&it->r) != ',') {
            rd_fail(&it->r, ERR_MALFORMED);
        }
        skip_space(&it->r);
    }
    rd_link(&it->r, ret);
    it->n_links++;
    return rd_ok(&it->r);
}

enum err coap_link_finish(const struct coap_link_reader *it)
{
    enum err e = rd_finish(&it->r);
    return e == ERR_TRUNCATED || e == ERR_TRAILING ? ERR_MALFORMED : e;
}

bool coap_link_attribute_next(struct slice *attributes, struct coap_link_attribute *ret)
{
    struct rd r = rd_from(*attributes);
    struct coap_link_attribute a = {0};
    if (attributes->n == 0 || rd_u8(&r) != ';') {
        return false;
    }
    rd_attribute(&r, &a);
    if (!rd_ok(&r)) {
        return false;
    }
    *attributes = slice_from(*attributes, r.at);
    *ret = a;
    return true;
}

/* ---- somebody else's attributes ---- */

bool coap_link_name_is_ok(struct slice name)
{
    struct slice word = name;
    if (word.n > 0 && word.p[word.n - 1] == '*') {
        word = slice_head(word, word.n - 1);
    }
    for (size_t i = 0; i < word.n; i++) {
        uint8_t c = word.p[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && !is_one_of(c, "!#$&+-.^_`|~")) {
            return false;
        }
    }
    return word.n > 0;
}

/* Is `text`, in which a backslash is for the byte behind it, this value? */
static bool takes_escaped(const struct coap_link_filter *f, struct slice text, bool is_quoted)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++, n++) {
        i += is_quoted && text.p[i] == '\\' && i + 1 < text.n ? 1 : 0;
        if (n == f->value.n) {
            return f->prefix;
        }
        if (text.p[i] != f->value.p[n]) {
            return false;
        }
    }
    return n == f->value.n;
}

static bool is_list(struct slice name)
{
    return slice_is(name, "rt") || slice_is(name, "if") || slice_is(name, "rel") ||
           slice_is(name, "rev") || slice_is(name, "ct");
}

static bool attribute_matches(const struct coap_link_filter *f, const struct coap_link_attribute *a)
{
    struct slice rest = a->value;
    bool has_more = true;
    if (!slice_equal(f->name, a->name)) {
        return false;
    }
    if (!is_list(a->name)) {
        return takes_escaped(f, a->value, a->quoted);
    }
    while (has_more) {
        if (takes_escaped(f, slice_cut(&rest, ' ', &has_more), a->quoted)) {
            return true;
        }
    }
    return false;
}

bool coap_link_attributes_match(const struct coap_link_filter *f, struct slice attributes)
{
    struct coap_link_attribute a;
    while (coap_link_attribute_next(&attributes, &a)) {
        if (attribute_matches(f, &a)) {
            return true;
        }
    }
    return false;
}
