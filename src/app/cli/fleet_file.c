#include "app/cli/fleet_file.h"

#include <stdarg.h>

#include "base/scope.h"
#include "base/utf8.h"
#include "core/principal.h"
#include "service/admin/provision.h"

struct reading {
    struct slice rest;
    unsigned line;        /* that was cut last */
    json_t *rows, *names; /* owned; names: each once */
    struct why *why;
};

static void reading_done(struct reading *r)
{
    json_decref(r->rows);
    json_decref(r->names);
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

__attribute__((format(printf, 3, 4))) static enum err complain(const struct reading *r, enum err e,
                                                               const char *format, ...)
{
    char said[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    why_set(r->why, "line %u: %s", r->line, said);
    return e;
}

/* false: the end. Empty lines and a carriage return at the end do not count. */
static bool next_line(struct reading *r, struct slice *ret)
{
    while (r->rest.n > 0) {
        bool more;
        struct slice line = slice_cut(&r->rest, '\n', &more);
        r->line++;
        if (line.n > 0 && line.p[line.n - 1] == '\r') {
            line = slice_head(line, line.n - 1);
        }
        if (line.n > 0) {
            *ret = line;
            return true;
        }
    }
    return false;
}

/* What a row must be, whichever way it was written. Takes row. */
static enum err take_row(struct reading *r, json_t *row)
{
    AUTO(json_release) json_t *own = row;
    const char *name = json_string_value(json_object_get(own, "name"));
    const char *role = json_string_value(json_object_get(own, "role"));
    const char *gateway = json_string_value(json_object_get(own, "gateway"));
    const json_t *credentials = json_object_get(own, "credentials");
    if (name == NULL || !principal_name_ok(slice_text(name)) || name[0] == '.') {
        return complain(r, ERR_MALFORMED,
                        "a device's name is 1 to %d of [A-Za-z0-9._-] and begins with no dot",
                        PRINCIPAL_NAME_MAX);
    }
    if ((role != NULL && !principal_name_ok(slice_text(role))) ||
        (gateway != NULL && !principal_name_ok(slice_text(gateway)))) {
        return complain(r, ERR_MALFORMED, "role and gateway are names of [A-Za-z0-9._-]");
    }
    for (size_t i = 0; i < json_array_size(credentials); i++) {
        const char *kind = json_string_value(json_array_get(credentials, i));
        if (provision_credential_find(slice_text(kind)) == 0) {
            return complain(r, ERR_MALFORMED,
                            "kinds of credentials are x509, password, scram, psk, oscore");
        }
    }
    if (json_object_get(r->names, name) != NULL) {
        return complain(r, ERR_MALFORMED, "%s is in the list twice", name);
    }
    if (json_array_size(r->rows) == FLEET_ROWS_MAX) {
        return complain(r, ERR_LIMIT, "more than %d devices: cut the list in two", FLEET_ROWS_MAX);
    }
    return json_object_set_new(r->names, name, json_true()) == 0 &&
                   json_array_append(r->rows, own) == 0
               ? OK
               : ERR_NOMEM;
}

/* One attribute of a row. */
static enum err set_attr(const struct reading *r, json_t *attrs, struct slice key,
                         struct slice value)
{
    char name[PRINCIPAL_NAME_MAX + 1];
    if (!principal_name_ok(key) || !slice_to_text(key, name, sizeof name)) {
        return complain(r, ERR_MALFORMED, "an attribute's name is of [A-Za-z0-9._-]");
    }
    if (value.n > PRINCIPAL_ATTR_MAX || utf8_check(value, UTF8_STRICT, NULL) != OK) {
        return complain(r, ERR_MALFORMED, "attribute %s: text of at most %d bytes", name,
                        PRINCIPAL_ATTR_MAX);
    }
    if (json_object_size(attrs) == PRINCIPAL_ATTRS_MAX) {
        return complain(r, ERR_LIMIT, "a device has at most %d attributes", PRINCIPAL_ATTRS_MAX);
    }
    const char *bytes = value.n > 0 ? (const char *)value.p : "";
    return json_object_set_new(attrs, name, json_stringn(bytes, value.n)) == 0 ? OK : ERR_NOMEM;
}

/* ---- JSON lines ---- */

static enum err check_members(const struct reading *r, json_t *row)
{
    const char *key;
    json_t *value;
    json_object_foreach(row, key, value)
    {
        bool is_text =
            strcmp(key, "name") == 0 || strcmp(key, "role") == 0 || strcmp(key, "gateway") == 0;
        bool is_list = strcmp(key, "credentials") == 0;
        if (!is_text && !is_list && strcmp(key, "attrs") != 0) {
            return complain(r, ERR_MALFORMED,
                            "members are name, role, gateway, credentials and attrs, not %.40s",
                            key);
        }
        if (is_text ? !json_is_string(value)
                    : !(is_list ? json_is_array(value) : json_is_object(value))) {
            return complain(r, ERR_MALFORMED, "%.40s is %s", key,
                            is_text   ? "text"
                            : is_list ? "a list"
                                      : "an object");
        }
    }
    return OK;
}

static enum err read_json_row(struct reading *r, struct slice line)
{
    AUTO(json_release) json_t *attrs = json_object();
    AUTO(json_release)
    json_t *row = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
    const char *key;
    json_t *value;
    if (!json_is_object(row)) {
        return complain(r, ERR_MALFORMED, "not one JSON object in one line");
    }
    TRY(check_members(r, row));
    json_object_foreach(json_object_get(row, "attrs"), key, value)
    {
        if (!json_is_string(value)) {
            return complain(r, ERR_MALFORMED, "attribute %.40s is text", key);
        }
        TRY(set_attr(r, attrs, slice_text(key),
                     slice_of(json_string_value(value), json_string_length(value))));
    }
    if (json_object_set(row, "attrs", attrs) != 0) {
        return ERR_NOMEM;
    }
    return take_row(r, TAKE(row));
}

/* ---- CSV ---- */

/* One field off *rest into dst; *more: another one follows. */
static enum err next_field(const struct reading *r, struct slice *rest, char dst[FLEET_LINE_MAX],
                           struct slice *ret, bool *more)
{
    size_t n = 0, at = 0;
    bool is_quoted = rest->n > 0 && rest->p[0] == '"', is_open = is_quoted;
    for (at = is_quoted ? 1 : 0; at < rest->n && (is_open || rest->p[at] != ','); at++) {
        uint8_t c = rest->p[at];
        bool is_quote = c == '"';
        if (is_quote && !is_quoted) {
            return complain(r, ERR_MALFORMED, "a quote inside a field: quote all of it");
        }
        if (is_quote && is_open && at + 1 < rest->n && rest->p[at + 1] == '"') {
            at++; /* "" is one */
        } else if (is_quote && is_open) {
            is_open = false;
            continue;
        } else if (is_quoted && !is_open) {
            return complain(r, ERR_MALFORMED, "a comma follows a quoted field");
        }
        dst[n++] = (char)c;
    }
    if (is_open) {
        return complain(r, ERR_MALFORMED, "a quote is not closed in its line");
    }
    *more = at < rest->n;
    *rest = slice_from(*rest, *more ? at + 1 : at);
    *ret = slice_of(dst, n);
    return OK;
}

struct heading {
    char keys[FLEET_COLUMNS_MAX][PRINCIPAL_NAME_MAX + 1];
    size_t n;
};

static enum err read_heading(const struct reading *r, struct slice line, struct heading *h)
{
    char text[FLEET_LINE_MAX];
    bool more = true, has_name = false;
    while (more) {
        struct slice key = {0};
        TRY(next_field(r, &line, text, &key, &more));
        if (h->n == FLEET_COLUMNS_MAX) {
            return complain(r, ERR_LIMIT, "at most %d columns", FLEET_COLUMNS_MAX);
        }
        if (!principal_name_ok(key) || !slice_to_text(key, h->keys[h->n], sizeof h->keys[0])) {
            return complain(r, ERR_MALFORMED,
                            "the heading names the columns: name, role, gateway, credentials and "
                            "attributes");
        }
        for (size_t i = 0; i < h->n; i++) {
            if (strcmp(h->keys[i], h->keys[h->n]) == 0) {
                return complain(r, ERR_MALFORMED, "column %s is there twice", h->keys[i]);
            }
        }
        has_name = has_name || slice_is(key, "name");
        h->n++;
    }
    return has_name ? OK : complain(r, ERR_MALFORMED, "the heading has no column name");
}

/* "x509+psk" */
static json_t *kinds_of(struct slice text)
{
    json_t *list = json_array();
    bool more = true;
    while (more) {
        struct slice kind = slice_cut(&text, '+', &more);
        json_t *name = kind.n > 0 ? json_stringn((const char *)kind.p, kind.n) : NULL;
        /* What is no text is no kind either. */
        (void)json_array_append_new(list, name != NULL ? name : json_string(""));
    }
    return list;
}

static enum err read_csv_row(struct reading *r, const struct heading *h, struct slice line)
{
    AUTO(json_release) json_t *row = json_object();
    json_t *attrs = json_object();
    char text[FLEET_LINE_MAX];
    bool more = true;
    size_t n = 0;
    if (json_object_set_new(row, "attrs", attrs) != 0) {
        return ERR_NOMEM;
    }
    while (more) {
        struct slice value = {0};
        TRY(next_field(r, &line, text, &value, &more));
        if (n == h->n) {
            return complain(r, ERR_MALFORMED, "more fields than the heading has columns");
        }
        const char *key = h->keys[n++];
        bool is_text =
            strcmp(key, "name") == 0 || strcmp(key, "role") == 0 || strcmp(key, "gateway") == 0;
        bool is_list = strcmp(key, "credentials") == 0;
        if (value.n == 0) {
            continue;
        }
        if (!is_text && !is_list) {
            TRY(set_attr(r, attrs, slice_text(key), value));
        } else if (json_object_set_new(row, key,
                                       is_list
                                           ? kinds_of(value)
                                           : json_stringn((const char *)value.p, value.n)) != 0) {
            return complain(r, ERR_MALFORMED, "%s is not text", key);
        }
    }
    return n == h->n ? take_row(r, TAKE(row))
                     : complain(r, ERR_MALFORMED, "fewer fields than the heading has columns");
}

static enum err read_rows(struct reading *r)
{
    struct heading heading = {.n = 0};
    struct slice line;
    bool is_first = true, is_json = false;
    while (next_line(r, &line)) {
        if (line.n >= FLEET_LINE_MAX) {
            return complain(r, ERR_LIMIT, "longer than %d bytes", FLEET_LINE_MAX - 1);
        }
        is_json = is_first ? line.p[0] == '{' : is_json;
        if (is_json) {
            TRY(read_json_row(r, line));
        } else if (is_first) {
            TRY(read_heading(r, line, &heading));
        } else {
            TRY(read_csv_row(r, &heading, line));
        }
        is_first = false;
    }
    return json_array_size(r->rows) > 0 ? OK
                                        : complain(r, ERR_MALFORMED, "there is no device in it");
}

enum err fleet_file_read(struct slice text, json_t **ret, struct why *why)
{
    AUTO(reading_done)
    struct reading r = {.rest = text, .rows = json_array(), .names = json_object(), .why = why};
    if (r.rows == NULL || r.names == NULL) {
        return ERR_NOMEM;
    }
    TRY(read_rows(&r));
    *ret = json_incref(r.rows);
    return OK;
}
