#include "service/doctor/hocon.h"

#include <stdarg.h>

#include "base/mem.h"
#include "service/doctor/lines.h"

enum { FIRST_ROOM = 64 };

struct piece {
    struct piece *next;
    size_t n;
    uint8_t bytes[];
};

struct hocon {
    struct hocon_entry *items;
    size_t n;
    struct piece *texts;
};

struct path {
    char text[HOCON_PATH_MAX + 1];
    size_t n;
};

/* One file while it is read. */
struct reader {
    const struct source *source;
    struct facts *f;
    struct hocon *doc;
    const char *name;
    struct slice all;
    size_t at;
    struct facts_place place; /* of the byte at `at` */
    unsigned n_includes, include_depth;
};

static enum err read_fields(struct reader *r, struct path *path, unsigned depth, int end);
static enum err read_value(struct reader *r, struct path *path, unsigned depth);

struct hocon *hocon_free(struct hocon *h)
{
    if (h != NULL) {
        while (h->texts != NULL) {
            struct piece *next = h->texts->next;
            mem_wipe(h->texts->bytes, h->texts->n);
            mem_free(h->texts);
            h->texts = next;
        }
        mem_free(h->items);
    }
    return mem_free(h);
}

/* ---- entries ---- */

static enum err keep_text(struct hocon *h, struct slice s, struct slice *ret)
{
    *ret = (struct slice){0};
    if (s.n == 0) {
        return OK;
    }
    struct piece *p = mem_alloc(sizeof *p + s.n);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->next = h->texts;
    p->n = s.n;
    slice_copy(p->bytes, s);
    h->texts = p;
    *ret = slice_of(p->bytes, s.n);
    return OK;
}

static bool is_below(const char *path, const char *above, size_t n)
{
    return strncmp(path, above, n) == 0 && (path[n] == '.' || path[n] == '\0');
}

/* A list takes the place of the list that was there. */
static void forget_below(struct hocon *h, const struct path *path)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (!is_below(h->items[i].path, path->text, path->n)) {
            h->items[kept++] = h->items[i];
        }
    }
    h->n = kept;
}

static enum err add(struct reader *r, struct facts_place at, const struct path *path,
                    struct slice text, bool is_object)
{
    struct hocon *h = r->doc;
    if (h->n == HOCON_ENTRIES_MAX) {
        r->f->n_dropped++;
        return OK;
    }
    if ((h->n & (h->n - 1)) == 0 || h->items == NULL) {
        size_t room = h->n < FIRST_ROOM ? FIRST_ROOM : 2 * h->n;
        struct hocon_entry *items = mem_grow(h->items, room * sizeof *items);
        if (items == NULL) {
            return ERR_NOMEM;
        }
        h->items = items;
    }
    struct slice kept;
    TRY(keep_text(h, text, &kept));
    h->items[h->n] = (struct hocon_entry){.at = at, .text = kept, .is_object = is_object};
    slice_copy(h->items[h->n++].path, slice_of(path->text, path->n));
    return OK;
}

static bool push(struct path *path, struct slice name)
{
    size_t dot = path->n > 0;
    if (name.n == 0 || path->n + dot + name.n > HOCON_PATH_MAX || slice_find(name, 0) < name.n) {
        return false;
    }
    if (dot) {
        path->text[path->n] = '.';
    }
    slice_copy(path->text + path->n + dot, name);
    path->n += dot + name.n;
    path->text[path->n] = '\0';
    return true;
}

static void pop(struct path *path, size_t n)
{
    path->n = n;
    path->text[n] = '\0';
}

/* ---- bytes ---- */

static int peek(const struct reader *r, size_t ahead)
{
    return r->at + ahead < r->all.n ? r->all.p[r->at + ahead] : -1;
}

static void step(struct reader *r)
{
    r->place.line += peek(r, 0) == '\n';
    r->at++;
}

static bool is_comment(const struct reader *r)
{
    return peek(r, 0) == '#' || (peek(r, 0) == '/' && peek(r, 1) == '/');
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_inline(struct reader *r)
{
    while (is_blank(peek(r, 0))) {
        step(r);
    }
}

/* Blanks, ends of lines and comments; between fields commas, too. */
static void skip(struct reader *r, bool commas)
{
    for (;;) {
        int c = peek(r, 0);
        if (is_comment(r)) {
            while (peek(r, 0) != '\n' && peek(r, 0) >= 0) {
                step(r);
            }
        } else if (is_blank(c) || c == '\n' || (commas && (c == ',' || c == ';'))) {
            step(r);
        } else {
            return;
        }
    }
}

/* The file is read no further; what came before stays. Nothing of it is shown: it may be a secret.
 */
static enum err bad(struct reader *r, const char *reason)
{
    TRY(facts_unread(r->f, r->place, (struct slice){0}, reason));
    return ERR_MALFORMED;
}

/* "text", with escapes, or """text""" as it is. */
static enum err read_quoted(struct reader *r, struct buf *ret)
{
    bool is_raw = peek(r, 1) == '"' && peek(r, 2) == '"';
    for (int i = is_raw ? 3 : 1; i > 0; i--) {
        step(r);
    }
    for (;;) {
        int c = peek(r, 0);
        bool is_end = c == '"' && (!is_raw || (peek(r, 1) == '"' && peek(r, 2) == '"'));
        if (c < 0 || (c == '\n' && !is_raw)) {
            return bad(r, "a text in quotes has no end");
        }
        for (int i = is_end && is_raw ? 3 : 1; i > 0; i--) {
            step(r);
        }
        if (is_end) {
            return OK;
        }
        uint8_t byte = (uint8_t)c;
        if (c == '\\' && !is_raw && peek(r, 0) >= 0) {
            int escaped = peek(r, 0);
            byte = escaped == 'n' ? '\n' : escaped == 't' ? '\t' : (uint8_t)escaped;
            step(r);
        }
        enum err e = buf_append(ret, slice_of(&byte, 1), HOCON_VALUE_MAX);
        if (e != OK) {
            return e == ERR_TOO_LARGE ? bad(r, "a text that is too long") : e;
        }
    }
}

static bool ends_bare(const struct reader *r, size_t from)
{
    int c = peek(r, 0);
    bool is_slashes =
        c == '/' && peek(r, 1) == '/' && (r->at == from || is_blank(r->all.p[r->at - 1]));
    return c < 0 || c == '\n' || c == ',' || c == '}' || c == ']' || c == '#' || c == '"' ||
           c == '{' || c == '[' || is_slashes;
}

/* A text without quotes, up to the end of its line. */
static struct slice read_bare(struct reader *r)
{
    size_t from = r->at;
    while (!ends_bare(r, from)) {
        step(r);
    }
    return lines_trim(slice_head(slice_from(r->all, from), r->at - from));
}

/* ---- fields ---- */

static void text_wipe(struct buf *b)
{
    buf_wipe(b);
}

/* a.b."c d" onto the path. */
static enum err read_key(struct reader *r, struct path *path)
{
    for (;;) {
        AUTO(text_wipe) struct buf quoted = {0};
        struct slice name;
        if (peek(r, 0) == '"') {
            TRY(read_quoted(r, &quoted));
            name = buf_slice(&quoted);
        } else {
            size_t from = r->at;
            for (int c = peek(r, 0); c > ' ' && c < 0x7f && strchr(".=:{}[],+#\"", c) == NULL;
                 c = peek(r, 0)) {
                step(r);
            }
            name = slice_head(slice_from(r->all, from), r->at - from);
        }
        if (!push(path, name)) {
            return bad(r, "here should be a name, and not a long one");
        }
        if (peek(r, 0) != '.') {
            return OK;
        }
        step(r);
    }
}

static enum err read_scalar(struct reader *r, const struct path *path)
{
    AUTO(text_wipe) struct buf text = {0};
    struct facts_place at = r->place;
    bool is_reference = false;
    /* Pieces that stand side by side are one text. */
    for (int c = peek(r, 0);
         c >= 0 && c != '\n' && c != ',' && c != '}' && c != ']' && !is_comment(r);
         c = peek(r, 0)) {
        if (c == '"') {
            TRY(read_quoted(r, &text));
        } else if (c == '{' || c == '[') {
            return bad(r, "a text and an object or list side by side");
        } else {
            struct slice bare = read_bare(r);
            is_reference = is_reference || (bare.n > 0 && bare.p[bare.n - 1] == '$');
            enum err e = buf_append(&text, bare, HOCON_VALUE_MAX);
            if (e != OK) {
                return e == ERR_TOO_LARGE ? bad(r, "a text that is too long") : e;
            }
            if (is_reference && peek(r, 0) == '{') {
                while (peek(r, 0) >= 0 && peek(r, 0) != '}' && peek(r, 0) != '\n') {
                    step(r);
                }
                step(r);
            }
        }
        skip_inline(r);
    }
    return is_reference ? facts_unread(r->f, at, slice_of(path->text, path->n),
                                       "what stands for another value is not followed")
                        : add(r, at, path, buf_slice(&text), false);
}

static enum err read_list(struct reader *r, struct path *path, unsigned depth)
{
    size_t n = path->n;
    forget_below(r->doc, path);
    TRY(add(r, r->place, path, (struct slice){0}, true));
    step(r);
    for (unsigned i = 0;; i++) {
        char name[16];
        skip(r, true);
        if (peek(r, 0) == ']') {
            step(r);
            return OK;
        }
        if (peek(r, 0) < 0 || peek(r, 0) == '}') {
            return bad(r, "a list has no end");
        }
        (void)snprintf(name, sizeof name, "%u", i);
        if (!push(path, slice_text(name))) {
            return bad(r, "a path that is too long");
        }
        TRY(read_value(r, path, depth + 1));
        pop(path, n);
    }
}

static enum err read_value(struct reader *r, struct path *path, unsigned depth)
{
    if (depth > HOCON_DEPTH_MAX) {
        return bad(r, "objects within objects, too deep");
    }
    if (peek(r, 0) == '{') {
        TRY(add(r, r->place, path, (struct slice){0}, true));
        step(r);
        return read_fields(r, path, depth + 1, '}');
    }
    return peek(r, 0) == '[' ? read_list(r, path, depth) : read_scalar(r, path);
}

static const char *why_unread(enum err e)
{
    return e == ERR_NOT_FOUND ? "the file it names is not there"
           : e == ERR_DENIED  ? "the file it names may not be read by you"
           : e == ERR_LIMIT   ? "names more files than are read"
                              : "the file it names cannot be read";
}

/* All of a file, below a path. ERR_MALFORMED was said already. */
static enum err read_file(struct reader *parent, const char *name, struct path *path)
{
    AUTO(text_wipe) struct buf text = {0};
    struct source_look look = {0};
    struct reader r = *parent;
    TRY(facts_add_file(r.f, slice_text(name), &r.place.file));
    TRY(r.source->read(r.source->ctx, name, &text, &look));
    facts_seen(&r.f->files[r.place.file], look.mode, look.changed_wall_ms);
    r.name = name;
    r.all = buf_slice(&text);
    r.at = 0;
    r.place.line = 1;
    enum err e = read_fields(&r, path, 0, -1);
    parent->n_includes = r.n_includes;
    return e == ERR_MALFORMED ? OK : e;
}

static enum err read_include(struct reader *r, struct path *path)
{
    AUTO(text_wipe) struct buf named = {0};
    char name[SOURCE_PATH_BYTES];
    struct facts_place at = r->place;
    size_t n = path->n;
    skip_inline(r);
    if (peek(r, 0) != '"') {
        return bad(r, "include takes the name of a file in quotes");
    }
    TRY(read_quoted(r, &named));
    enum err e = source_place(r->name, buf_slice(&named), name);
    if (e == OK &&
        (r->n_includes == HOCON_INCLUDES_MAX || r->include_depth == HOCON_INCLUDE_DEPTH_MAX)) {
        e = ERR_LIMIT;
    }
    if (e == OK) {
        r->n_includes++;
        r->include_depth++;
        e = read_file(r, name, path);
        r->include_depth--;
        pop(path, n);
    }
    return e == OK || e == ERR_NOMEM ? e
                                     : facts_unread(r->f, at, slice_text("include"), why_unread(e));
}

static bool is_include(const struct reader *r)
{
    struct slice rest = slice_from(r->all, r->at), word = slice_text("include");
    return slice_has_prefix(rest, word) && rest.n > word.n &&
           (is_blank(rest.p[word.n]) || rest.p[word.n] == '"');
}

/* KEY = VALUE, KEY : VALUE, KEY { … } up to the byte `end`, or of the file (-1). */
static enum err read_fields(struct reader *r, struct path *path, unsigned depth, int end)
{
    size_t n = path->n;
    if (end < 0) {
        skip(r, true);
        if (peek(r, 0) == '{') { /* the whole file in braces */
            step(r);
            end = '}';
        }
    }
    for (;;) {
        skip(r, true);
        if (peek(r, 0) == end) {
            if (end >= 0) {
                step(r);
            }
            return OK;
        }
        if (peek(r, 0) < 0) {
            return bad(r, "an object has no end");
        }
        if (is_include(r)) {
            for (size_t i = 0; i < strlen("include"); i++) {
                step(r);
            }
            TRY(read_include(r, path));
            continue;
        }
        TRY(read_key(r, path));
        skip_inline(r);
        if (peek(r, 0) == '+') {
            step(r);
        }
        if (peek(r, 0) == '=' || peek(r, 0) == ':') {
            step(r);
            skip(r, false);
        } else if (peek(r, 0) != '{') {
            return bad(r, "here should be = and a value");
        }
        TRY(read_value(r, path, depth));
        pop(path, n);
    }
}

enum err hocon_read(const struct source *source, const char *path, struct facts *f,
                    struct hocon **ret)
{
    AUTO(hocon_autofree) struct hocon *h = mem_zalloc(sizeof *h);
    struct path root = {{0}, 0};
    if (h == NULL) {
        return ERR_NOMEM;
    }
    struct reader r = {.source = source, .f = f, .doc = h, .name = path};
    TRY(read_file(&r, path, &root));
    *ret = TAKE(h);
    return OK;
}

/* ---- asking ---- */

const struct hocon_entry *hocon_find(const struct hocon *h, const char *format, ...)
{
    char path[2 * HOCON_PATH_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    for (size_t i = h->n; i > 0; i--) {
        if (strcmp(h->items[i - 1].path, path) == 0) {
            return &h->items[i - 1];
        }
    }
    return NULL;
}

/* The name directly below, or an empty slice. */
static struct slice child_of(const char *path, const char *below, size_t n)
{
    struct slice rest = {0};
    bool more;
    if (is_below(path, below, n) && path[n] == '.') {
        rest = slice_text(path + n + 1);
    }
    return slice_cut(&rest, '.', &more);
}

bool hocon_child(const struct hocon *h, const char *below, size_t *at, char name[FACTS_TEXT])
{
    size_t n = strlen(below);
    for (; *at < h->n; (*at)++) {
        struct slice child = child_of(h->items[*at].path, below, n);
        bool is_new = child.n > 0 && child.n < FACTS_TEXT / 2;
        for (size_t i = 0; is_new && i < *at; i++) {
            is_new = !slice_equal(child_of(h->items[i].path, below, n), child);
        }
        if (is_new) {
            (*at)++;
            return slice_to_text(child, name, FACTS_TEXT);
        }
    }
    return false;
}

static enum err with_unit(struct slice text, const char *const *units, const int64_t *factors,
                          size_t n_units, int64_t *ret)
{
    int64_t n;
    if (lines_same(text, "infinity") || lines_same(text, "disabled")) {
        *ret = 0;
        return OK;
    }
    for (size_t i = 0; i < n_units; i++) {
        size_t length = strlen(units[i]);
        if (text.n > length && lines_same(slice_from(text, text.n - length), units[i])) {
            TRY(lines_number(lines_trim(slice_head(text, text.n - length)), &n));
            if (n < 0 || n > INT64_MAX / factors[i]) {
                return ERR_MALFORMED;
            }
            *ret = n * factors[i];
            return OK;
        }
    }
    return ERR_MALFORMED;
}

enum err hocon_bytes(struct slice text, int64_t *ret)
{
    static const char *const units[] = {"kb", "mb", "gb"};
    static const int64_t factors[] = {1024, 1048576, 1073741824};
    return lines_number(text, ret) == OK && *ret >= 0 ? OK
                                                      : with_unit(text, units, factors, 3, ret);
}

enum err hocon_seconds(struct slice text, int64_t *ret)
{
    static const char *const units[] = {"ms", "s", "m", "h", "d", "w"};
    static const int64_t factors[] = {1, 1000, 60000, 3600000, 86400000, 604800000};
    int64_t ms;
    if (lines_number(text, &ms) == OK && ms >= 0) {
        *ret = ms; /* of a number alone both products mean seconds */
        return OK;
    }
    TRY(with_unit(text, units, factors, COUNT_OF(units), &ms));
    *ret = (ms + 999) / 1000;
    return OK;
}

enum err hocon_count(struct slice text, int64_t *ret)
{
    return lines_number(text, ret) == OK && *ret >= 0 ? OK : with_unit(text, NULL, NULL, 0, ret);
}

enum err hocon_switch(struct slice text, int64_t *ret)
{
    bool flag;
    TRY(lines_flag(text, &flag));
    *ret = flag;
    return OK;
}

enum err hocon_value(const struct hocon *h, const char *path, hocon_meaning *meaning,
                     int64_t preset, struct facts *f, struct facts_value *ret)
{
    const struct hocon_entry *e = hocon_find(h, "%s", path);
    int64_t n;
    *ret = facts_preset(preset, 0);
    if (e == NULL) {
        return OK;
    }
    if (e->is_object || meaning(e->text, &n) != OK) {
        *ret = (struct facts_value){0};
        return facts_unread(f, e->at, slice_text(path), "its value does not read");
    }
    *ret = facts_said(n, e->at);
    return OK;
}
