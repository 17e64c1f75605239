/* For tests: files in memory, and which rules find something. */
#ifndef SERVICE_DOCTOR_DOCTOR_CASE_TEST_H
#define SERVICE_DOCTOR_DOCTOR_CASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/doctor/rules.h"
#include "service/doctor/source.h"

enum { CASE_IDS_BYTES = 1024 };
static const int64_t CASE_NOW_MS = INT64_C(1800000000000);

struct case_file {
    const char *path, *text;
    uint32_t mode;
    int64_t age_days;
};

/* Ends with a row without path. */
struct case_disk {
    const struct case_file *files;
};

static inline const struct case_file *case_find(void *ctx, const char *path)
{
    const struct case_disk *d = ctx;
    for (const struct case_file *f = d->files; f->path != NULL; f++) {
        if (strcmp(f->path, path) == 0) {
            return f;
        }
    }
    return NULL;
}

static inline enum err case_look(void *ctx, const char *path, struct source_look *ret)
{
    const struct case_file *f = case_find(ctx, path);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    ret->mode = f->mode;
    ret->changed_wall_ms = CASE_NOW_MS - f->age_days * INT64_C(86400000);
    return OK;
}

static inline enum err case_read(void *ctx, const char *path, struct buf *ret,
                                 struct source_look *look)
{
    TRY(case_look(ctx, path, look));
    return buf_append(ret, slice_text(case_find(ctx, path)->text), SOURCE_BYTES_MAX);
}

/* What lies below path, in the order of the table. */
static inline enum err case_list(void *ctx, const char *path, struct source_entry *entries,
                                 size_t *ret_n)
{
    const struct case_disk *d = ctx;
    size_t n = 0, length = strlen(path);
    for (const struct case_file *f = d->files; f->path != NULL && n < SOURCE_LIST_MAX; f++) {
        if (strncmp(f->path, path, length) == 0 && f->path[length] == '/') {
            (void)snprintf(entries[n++].name, sizeof entries[0].name, "%s", f->path + length + 1);
        }
    }
    *ret_n = n;
    return n > 0 ? OK : ERR_NOT_FOUND;
}

static inline struct source case_source(struct case_disk *d)
{
    return (struct source){d, case_read, case_look, case_list};
}

/* The rules that found something, each once, worst first, with a blank between. */
static inline void case_ids(const struct facts *f, char dst[CASE_IDS_BYTES])
{
    struct findings l;
    size_t n = 0;
    const struct rule *last = NULL;
    assert_int_equal(rules_judge(f, &l), OK);
    dst[0] = '\0';
    for (size_t i = 0; i < l.n; i++) {
        assert_true(l.items[i].evidence[0] != '\0' && l.items[i].object[0] != '\0');
        assert_non_null(l.items[i].rule->fix[f->product]);
        if (l.items[i].rule != last) {
            n += (size_t)snprintf(dst + n, CASE_IDS_BYTES - n, "%s%s", n > 0 ? " " : "",
                                  l.items[i].rule->id);
        }
        last = l.items[i].rule;
    }
    findings_done(&l);
}

/* One weakness in otherwise empty facts of a product: exactly this rule finds it. */
struct rule_case {
    enum facts_product product;
    const char *id; /* "": nothing is wrong with it */
    void (*make)(struct facts *f);
};

static inline void rule_cases(const struct rule_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        char ids[CASE_IDS_BYTES];
        assert_int_equal(facts_new(cases[i].product, CASE_NOW_MS, &f), OK);
        cases[i].make(f);
        case_ids(f, ids);
        assert_string_equal(ids, cases[i].id);
    }
}

/* A listener with all that a rule could ask, of a door. */
static inline struct facts_listener *case_listener(struct facts *f, enum facts_door door)
{
    struct facts_listener *l;
    assert_int_equal(facts_add_listener(f, &l), OK);
    facts_text(l->name, slice_text("door"));
    facts_text(l->bind, slice_text("0.0.0.0:8883"));
    l->door = door;
    l->is_tls = true;
    l->tls_min = facts_preset(12, 0);
    l->anonymous = facts_preset(0, 0);
    l->acl = facts_preset(1, 0);
    l->client_certificate = facts_preset(1, 0);
    l->revocation = facts_preset(1, 0);
    l->proxy = facts_preset(0, 0);
    l->origin = facts_preset(1, 0);
    l->connections = facts_preset(1000, 0);
    l->empty_client_id = facts_preset(0, 0);
    l->multicast = facts_preset(0, 0);
    l->mqtt_3_1 = facts_preset(0, 0);
    l->pages = facts_preset(0, 0);
    return l;
}

static inline struct facts_grant *case_grant(struct facts *f, const char *filter)
{
    struct facts_grant *g;
    assert_int_equal(facts_add_grant(f, &g), OK);
    facts_text(g->who, slice_text("somebody"));
    facts_text(g->filter, slice_text(filter));
    return g;
}

static inline struct facts_account *case_account(struct facts *f, const char *name,
                                                 enum facts_secret kind)
{
    struct facts_account *a;
    assert_int_equal(facts_add_account(f, &a), OK);
    facts_text(a->name, slice_text(name));
    a->kind = kind;
    return a;
}

static inline void case_number(struct facts *f, enum facts_number which, int64_t n)
{
    f->numbers[which] = facts_preset(n, 0);
}

static inline struct facts_file *case_secret_file(struct facts *f, uint32_t mode)
{
    uint32_t file;
    assert_int_equal(facts_add_file(f, slice_text("secrets"), &file), OK);
    facts_seen(&f->files[file], mode, CASE_NOW_MS);
    f->files[file].is_secret = true;
    return &f->files[file];
}

#endif
