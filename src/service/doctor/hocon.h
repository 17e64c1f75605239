/*
 * hocon - the part of HOCON that emqx.conf and nanomq.conf are written in, as a flat list: the path
 * of each value with dots ("listeners.tcp.default.bind"), its text, its place.
 *
 * Elements of a list have their number as a name ("authentication.0.mechanism"). Objects are there
 * as entries without text. Later ones override earlier ones of the same path; a list replaces the
 * whole list of before. include "FILE" is followed. Substitutions (${x}) are not: such a value is
 * in facts.unread, and has no entry.
 */
#ifndef SERVICE_DOCTOR_HOCON_H
#define SERVICE_DOCTOR_HOCON_H

#include "service/doctor/facts.h"
#include "service/doctor/source.h"

enum {
    HOCON_PATH_MAX = 255,
    HOCON_VALUE_MAX = 4096,
    HOCON_ENTRIES_MAX = 8192,
    HOCON_DEPTH_MAX = 16,
    HOCON_INCLUDES_MAX = 32,
    HOCON_INCLUDE_DEPTH_MAX = 4
};

struct hocon_entry {
    struct facts_place at;
    char path[HOCON_PATH_MAX + 1];
    struct slice text; /* lives as long as the list */
    bool is_object;    /* or a list */
};

struct hocon;

/* hocon_read - the file at path, which becomes one of f->files. A file that does not read is said
 * in f->unread with file and line; what came before stays. Errors of source.read for the file
 * itself; ERR_LIMIT: too many files; ERR_NOMEM. */
MUST_USE enum err hocon_read(const struct source *source, const char *path, struct facts *f,
                             struct hocon **ret);
struct hocon *hocon_free(struct hocon *h); /* wiped: there are passwords in it */
AUTOFREE(hocon, hocon_free)

/* hocon_find - what is in force under a path, or NULL; the path is made like printf. */
const struct hocon_entry *hocon_find(const struct hocon *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* hocon_child - the at-th name directly below a path into name; false: there are no more, or it is
 * longer than a name here is. *at begins at 0. Each name comes once. */
bool hocon_child(const struct hocon *h, const char *below, size_t *at, char name[FACTS_TEXT]);

/* What a text means. ERR_MALFORMED. Bytes: 1024, 1KB, 1MB; seconds: 15s, 2h, 7d, 300ms. Both take
 * "infinity" for 0. */
MUST_USE enum err hocon_bytes(struct slice text, int64_t *ret);
MUST_USE enum err hocon_seconds(struct slice text, int64_t *ret);

/* hocon_number - the value of a path as a fact by one of these; when it is absent, the product's
 * default. What does not read is in f->unread. ERR_NOMEM. */
typedef enum err hocon_meaning(struct slice text, int64_t *ret);
MUST_USE enum err hocon_count(struct slice text, int64_t *ret);  /* a number, or infinity */
MUST_USE enum err hocon_switch(struct slice text, int64_t *ret); /* true is 1, false 0 */
MUST_USE enum err hocon_value(const struct hocon *h, const char *path, hocon_meaning *meaning,
                              int64_t preset, struct facts *f, struct facts_value *ret);

#endif
