/*
 * yaml_reader - a small, strict part of YAML as a tree that remembers where everything stood.
 *
 * One document of mappings, sequences and scalars. All scalars are text; what they mean is the
 * schema's business. Refused, with the place: anchors, aliases, tags, merge keys, a second
 * document, a key twice, keys that are not scalars, bytes that are not UTF-8, more than
 * YAML_DEPTH_MAX levels, YAML_NODES_MAX nodes or YAML_BYTES_MAX bytes.
 */
#ifndef SERVICE_DIRECTORY_YAML_READER_H
#define SERVICE_DIRECTORY_YAML_READER_H

#include "base/err.h"
#include "base/scope.h"
#include "base/slice.h"

enum {
    YAML_BYTES_MAX = 1 << 20,
    YAML_NODES_MAX = 100000,
    YAML_KEYS_MAX = 1024,
    YAML_DEPTH_MAX = 12
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column; /* of the value, from 1 */
    struct slice text;     /* of a scalar; borrows from the document */
    struct slice key;      /* of a child of a mapping; empty otherwise */
    unsigned key_line, key_column;
    struct yaml_node *first; /* first child of a list or mapping */
    struct yaml_node *next;  /* next sibling */
    size_t n;                /* children */
};

struct yaml_doc;

/* yaml_complaint - one sentence for the person who wrote the file: "file:line:column: what is
 * wrong, and what is allowed". Control bytes of the file are escaped. */
struct yaml_complaint {
    char text[512];
};

/* yaml_read - parses bytes. file is the name for complaints; borrowed until yaml_doc_free.
 * Gives the tree. ERR_CONFIG with *ret_complaint written, ERR_NOMEM (complaint says so too). O(n)
 * but for the duplicate check, O(keys^2) with YAML_KEYS_MAX keys in one mapping. */
MUST_USE enum err yaml_read(struct slice bytes, const char *file,
                            struct yaml_complaint *ret_complaint, struct yaml_doc **ret);
struct yaml_doc *yaml_doc_free(struct yaml_doc *d);
AUTOFREE(yaml_doc, yaml_doc_free)

/* yaml_no_memory - the complaint for that, and ERR_NOMEM. */
enum err yaml_no_memory(const char *file, struct yaml_complaint *ret);

/* yaml_root - never NULL. */
const struct yaml_node *yaml_root(const struct yaml_doc *d);
const char *yaml_file(const struct yaml_doc *d);

/* yaml_find - the child of a mapping under key, or NULL. */
const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key);

/* yaml_complain - writes "file:line:column: text" for a value, or for its key, and returns
 * ERR_CONFIG, so that a schema can say `return yaml_complain(...)`. */
enum err yaml_complain(const struct yaml_doc *d, const struct yaml_node *at,
                       struct yaml_complaint *ret, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
enum err yaml_complain_key(const struct yaml_doc *d, const struct yaml_node *at,
                           struct yaml_complaint *ret, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* yaml_expect - ERR_CONFIG with a complaint unless node is of this kind. */
MUST_USE enum err yaml_expect(const struct yaml_doc *d, const struct yaml_node *node,
                              enum yaml_kind kind, const char *what, struct yaml_complaint *ret);
/* yaml_only - ERR_CONFIG naming the first key of map that is not in keys (NULL-terminated) and
 * listing those that are. */
MUST_USE enum err yaml_only(const struct yaml_doc *d, const struct yaml_node *map,
                            const char *const *keys, const char *where, struct yaml_complaint *ret);

#endif
