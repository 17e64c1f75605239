#include "service/directory/yaml_reader.h"

#include <assert.h>
#include <stdarg.h>
#include <yaml.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { CHUNK_BYTES = 16384 };

/* Nodes and texts of a document live and die together. */
struct chunk {
    struct chunk *next;
    size_t used, cap;
    _Alignas(16) uint8_t bytes[];
};

struct yaml_doc {
    const char *file;
    struct chunk *chunks;
    struct yaml_node *root;
    size_t n_nodes;
};

static void *arena_take(struct yaml_doc *d, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    struct chunk *c = d->chunks;
    if (c == NULL || n > c->cap - c->used) {
        size_t cap = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        c = mem_zalloc(sizeof *c + cap);
        if (c == NULL) {
            return NULL;
        }
        c->cap = cap;
        c->next = d->chunks;
        d->chunks = c;
    }
    void *p = &c->bytes[c->used];
    c->used += n;
    return p;
}

struct yaml_doc *yaml_doc_free(struct yaml_doc *d)
{
    if (d == NULL) {
        return NULL;
    }
    while (d->chunks != NULL) {
        struct chunk *next = d->chunks->next;
        mem_free(d->chunks);
        d->chunks = next;
    }
    return mem_free(d);
}

const struct yaml_node *yaml_root(const struct yaml_doc *d)
{
    return d->root;
}

const char *yaml_file(const struct yaml_doc *d)
{
    return d->file;
}

const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_MAP) {
        return NULL;
    }
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (slice_is(n->key, key)) {
            return n;
        }
    }
    return NULL;
}

/* Text out of the file may hold anything printable by YAML's rules; a terminal should not obey it.
 */
static void complain_at(const char *file, unsigned line, unsigned column,
                        struct yaml_complaint *ret, const char *format, va_list args)
    __attribute__((format(printf, 5, 0)));
static void complain_at(const char *file, unsigned line, unsigned column,
                        struct yaml_complaint *ret, const char *format, va_list args)
{
    char raw[400];
    vsnprintf(raw, sizeof raw, format, args);
    char *out = ret->text;
    int n = snprintf(out, sizeof ret->text, "%s:%u:%u: ", file, line, column);
    size_t at = n < 0 ? 0 : (size_t)n;
    for (size_t i = 0; raw[i] != '\0' && at + 5 < sizeof ret->text; i++) {
        unsigned char c = (unsigned char)raw[i];
        if (c < 0x20 || c == 0x7f) {
            at += (size_t)snprintf(out + at, sizeof ret->text - at, "\\x%02x", c);
        } else {
            out[at++] = (char)c;
            out[at] = '\0';
        }
    }
}

static enum err complain_here(const char *file, unsigned line, unsigned column,
                              struct yaml_complaint *ret, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static enum err complain_here(const char *file, unsigned line, unsigned column,
                              struct yaml_complaint *ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain_at(file, line, column, ret, format, args);
    va_end(args);
    return ERR_CONFIG;
}

enum err yaml_complain(const struct yaml_doc *d, const struct yaml_node *at,
                       struct yaml_complaint *ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain_at(d->file, at->line, at->column, ret, format, args);
    va_end(args);
    return ERR_CONFIG;
}

enum err yaml_complain_key(const struct yaml_doc *d, const struct yaml_node *at,
                           struct yaml_complaint *ret, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain_at(d->file, at->key_line, at->key_column, ret, format, args);
    va_end(args);
    return ERR_CONFIG;
}

enum err yaml_no_memory(const char *file, struct yaml_complaint *ret)
{
    snprintf(ret->text, sizeof ret->text, "%s: out of memory while reading it", file);
    return ERR_NOMEM;
}

enum err yaml_expect(const struct yaml_doc *d, const struct yaml_node *node, enum yaml_kind kind,
                     const char *what, struct yaml_complaint *ret)
{
    static const char *const form[] = {
        [YAML_SCALAR] = "a single value",
        [YAML_LIST] = "a list ([ a, b ] or lines that start with -)",
        [YAML_MAP] = "a mapping (key: value)",
    };
    if (node->kind == kind) {
        return OK;
    }
    return yaml_complain(d, node, ret, "%s must be %s", what, form[kind]);
}

enum err yaml_only(const struct yaml_doc *d, const struct yaml_node *map, const char *const *keys,
                   const char *where, struct yaml_complaint *ret)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        bool known = false;
        for (size_t i = 0; keys[i] != NULL; i++) {
            known = known || slice_is(n->key, keys[i]);
        }
        if (known) {
            continue;
        }
        char list[280] = "";
        size_t at = 0;
        for (size_t i = 0; keys[i] != NULL && at < sizeof list; i++) {
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "", keys[i]);
        }
        struct slice key = slice_head(n->key, 40);
        return yaml_complain_key(d, n, ret, "unknown key \"%.*s\" in %s; allowed are: %s",
                                 SLICE_ARG(key), where, list);
    }
    return OK;
}

/* The open lists and mappings while events come in. */
struct level {
    struct yaml_node *node, *last;
    struct slice key; /* of a mapping: read, its value is still to come */
    bool has_key;
    unsigned key_line, key_column;
};

struct builder {
    struct yaml_doc *doc;
    struct yaml_complaint *complaint;
    struct level stack[YAML_DEPTH_MAX];
    size_t depth;
};

static enum err copy_text(struct builder *b, const void *p, size_t n, struct slice *ret)
{
    uint8_t *text = arena_take(b->doc, n > 0 ? n : 1);
    if (text == NULL) {
        return yaml_no_memory(b->doc->file, b->complaint);
    }
    if (n > 0) {
        memcpy(text, p, n);
    }
    *ret = slice_of(text, n);
    return OK;
}

/* A scalar where a mapping expects a key. */
static enum err take_key(struct builder *b, struct level *top, const yaml_event_t *e, unsigned line,
                         unsigned column)
{
    struct slice key = slice_of(e->data.scalar.value, e->data.scalar.length);
    struct slice shown = slice_head(key, 40);
    if (slice_is(key, "<<")) {
        return complain_here(b->doc->file, line, column, b->complaint,
                             "merge keys (<<) are not allowed; write the keys out");
    }
    for (const struct yaml_node *n = top->node->first; n != NULL; n = n->next) {
        if (slice_equal(n->key, key)) {
            return complain_here(
                b->doc->file, line, column, b->complaint,
                "key \"%.*s\" is there twice, first in line %u; a key may be given once",
                SLICE_ARG(shown), n->key_line);
        }
    }
    if (top->node->n >= YAML_KEYS_MAX) {
        return complain_here(b->doc->file, line, column, b->complaint,
                             "more than %d keys in one mapping", YAML_KEYS_MAX);
    }
    TRY(copy_text(b, key.p, key.n, &top->key));
    top->key_line = line;
    top->key_column = column;
    top->has_key = true;
    return OK;
}

static enum err add_node(struct builder *b, enum yaml_kind kind, unsigned line, unsigned column,
                         struct yaml_node **ret)
{
    if (b->doc->n_nodes >= YAML_NODES_MAX) {
        return complain_here(b->doc->file, line, column, b->complaint, "more than %d values",
                             YAML_NODES_MAX);
    }
    struct yaml_node *n = arena_take(b->doc, sizeof *n);
    if (n == NULL) {
        return yaml_no_memory(b->doc->file, b->complaint);
    }
    b->doc->n_nodes++;
    *n = (struct yaml_node){.kind = kind, .line = line, .column = column};
    if (b->depth == 0) {
        b->doc->root = n;
    } else {
        struct level *top = &b->stack[b->depth - 1];
        n->key = top->key;
        n->key_line = top->key_line;
        n->key_column = top->key_column;
        top->has_key = false;
        top->key = (struct slice){0};
        if (top->last != NULL) {
            top->last->next = n;
        } else {
            top->node->first = n;
        }
        top->last = n;
        top->node->n++;
    }
    *ret = n;
    return OK;
}

static enum err open_level(struct builder *b, enum yaml_kind kind, unsigned line, unsigned column)
{
    if (b->depth > 0 && b->stack[b->depth - 1].node->kind == YAML_MAP &&
        !b->stack[b->depth - 1].has_key) {
        return complain_here(b->doc->file, line, column, b->complaint,
                             "a key must be a single value");
    }
    if (b->depth == YAML_DEPTH_MAX) {
        return complain_here(b->doc->file, line, column, b->complaint, "nested more than %d deep",
                             YAML_DEPTH_MAX);
    }
    struct yaml_node *n;
    TRY(add_node(b, kind, line, column, &n));
    b->stack[b->depth++] = (struct level){.node = n};
    return OK;
}

static enum err take_scalar(struct builder *b, const yaml_event_t *e, unsigned line,
                            unsigned column)
{
    struct level *top = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;
    if (top != NULL && top->node->kind == YAML_MAP && !top->has_key) {
        return take_key(b, top, e, line, column);
    }
    struct yaml_node *n = NULL;
    TRY(add_node(b, YAML_SCALAR, line, column, &n));
    assert(n != NULL);
    return copy_text(b, e->data.scalar.value, e->data.scalar.length, &n->text);
}

static enum err refuse_extras(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag,
                              unsigned line, unsigned column)
{
    if (anchor != NULL) {
        return complain_here(b->doc->file, line, column, b->complaint,
                             "anchors (&name) are not allowed; write the value out");
    }
    if (tag != NULL) {
        return complain_here(b->doc->file, line, column, b->complaint,
                             "tags (!name) are not allowed; all values are read as text");
    }
    return OK;
}

/* One event into the tree. *ret_end: the stream is over. */
static enum err take_event(struct builder *b, const yaml_event_t *e, bool *ret_end)
{
    unsigned line = (unsigned)e->start_mark.line + 1;
    unsigned column = (unsigned)e->start_mark.column + 1;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        TRY(refuse_extras(b, e->data.scalar.anchor, e->data.scalar.tag, line, column));
        return take_scalar(b, e, line, column);
    case YAML_SEQUENCE_START_EVENT:
        TRY(refuse_extras(b, e->data.sequence_start.anchor, e->data.sequence_start.tag, line,
                          column));
        return open_level(b, YAML_LIST, line, column);
    case YAML_MAPPING_START_EVENT:
        TRY(refuse_extras(b, e->data.mapping_start.anchor, e->data.mapping_start.tag, line,
                          column));
        return open_level(b, YAML_MAP, line, column);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        assert(b->depth > 0);
        b->depth--;
        return OK;
    case YAML_ALIAS_EVENT:
        return complain_here(b->doc->file, line, column, b->complaint,
                             "aliases (*name) are not allowed; write the value out");
    case YAML_DOCUMENT_START_EVENT:
        if (b->doc->root != NULL) {
            return complain_here(b->doc->file, line, column, b->complaint,
                                 "a second document; one file holds one");
        }
        return OK;
    case YAML_STREAM_END_EVENT:
        *ret_end = true;
        return OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return OK;
    default: /* the library's values, not ours */
        return complain_here(b->doc->file, line, column, b->complaint, "not understood");
    }
}

static enum err parser_complaint(const yaml_parser_t *p, const char *file,
                                 struct yaml_complaint *ret)
{
    if (p->error == YAML_MEMORY_ERROR) {
        return yaml_no_memory(file, ret);
    }
    /* A reader's error has an offset only, no mark; the mark of what was read last is near. */
    bool has_mark = p->error == YAML_SCANNER_ERROR || p->error == YAML_PARSER_ERROR;
    const yaml_mark_t *m = has_mark ? &p->problem_mark : &p->mark;
    return complain_here(file, (unsigned)m->line + 1, (unsigned)m->column + 1, ret,
                         "not valid YAML: %s%s%s", p->problem != NULL ? p->problem : "unreadable",
                         p->context != NULL ? " " : "", p->context != NULL ? p->context : "");
}

static void parser_done(yaml_parser_t *p)
{
    yaml_parser_delete(p);
}

static enum err check_bytes(struct slice bytes, const char *file, struct yaml_complaint *ret)
{
    if (bytes.n > YAML_BYTES_MAX) {
        return complain_here(file, 1, 1, ret, "larger than %d bytes", YAML_BYTES_MAX);
    }
    size_t bad = 0;
    if (utf8_check(bytes, UTF8_MQTT, &bad) == OK) {
        return OK;
    }
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < bad; i++) {
        bool starts = (bytes.p[i] & 0xc0) != 0x80; /* of a code point */
        column = bytes.p[i] == '\n' ? 1 : column + (starts ? 1 : 0);
        line += bytes.p[i] == '\n' ? 1 : 0;
    }
    return complain_here(file, line, column, ret, "byte 0x%02x is not UTF-8 text", bytes.p[bad]);
}

enum err yaml_read(struct slice bytes, const char *file, struct yaml_complaint *ret_complaint,
                   struct yaml_doc **ret)
{
    TRY(check_bytes(bytes, file, ret_complaint));
    AUTO(yaml_doc_autofree) struct yaml_doc *doc = mem_zalloc(sizeof *doc);
    if (doc == NULL) {
        return yaml_no_memory(file, ret_complaint);
    }
    doc->file = file;
    AUTO(parser_done) yaml_parser_t parser = {0};
    if (!yaml_parser_initialize(&parser)) {
        return yaml_no_memory(file, ret_complaint);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, bytes.n > 0 ? bytes.p : (const uint8_t *)"", bytes.n);
    struct builder b = {.doc = doc, .complaint = ret_complaint};
    for (bool end = false; !end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            return parser_complaint(&parser, file, ret_complaint);
        }
        enum err e = take_event(&b, &event, &end);
        yaml_event_delete(&event);
        TRY(e);
    }
    if (doc->root == NULL) {
        return complain_here(file, 1, 1, ret_complaint, "the file is empty");
    }
    *ret = TAKE(doc);
    return OK;
}
