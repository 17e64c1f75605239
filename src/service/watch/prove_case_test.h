/* prove_case_test - a small trail on a disk in memory, to be tampered with, and what is found in
 * it. */
#ifndef SERVICE_WATCH_PROVE_CASE_TEST_H
#define SERVICE_WATCH_PROVE_CASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/watch/prove.h"
#include "service/watch/trail_disk_test.h"
#include "service/watch/trail_key.h"
#include "service/watch/trail_private.h"

enum { RECORDS_MAX = 256, FINDINGS_MAX = 64 };

/* One entry as it lies on the disk. */
struct lying {
    uint32_t file;
    uint64_t offset, bytes, seq;
};

struct place {
    struct memory_disk disk;
    struct memory_disk copy; /* of the files as they were */
    uint8_t root[TRAIL_ROOT_BYTES];
    uint64_t seed, now_ms;
    struct trail_setup setup;
    struct lying records[RECORDS_MAX];
    size_t n;
    struct prove_finding found[FINDINGS_MAX];
    size_t n_found;
    struct prove_report report;
};

static inline uint64_t place_ms(void *ctx)
{
    return ((struct place *)ctx)->now_ms;
}

static inline int64_t place_wall_ms(void *ctx)
{
    return 1700000000000 + (int64_t)((struct place *)ctx)->now_ms;
}

static inline int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memory_disk_init(&p->disk);
    memory_disk_init(&p->copy);
    p->seed = 7;
    p->now_ms = 1000;
    p->root[0] = 1;
    p->setup = (struct trail_setup){
        .disk = &p->disk.disk,
        .clock = {.ctx = p, .mono_ms = place_ms, .mono_us = place_ms, .wall_ms = place_wall_ms},
        .root = slice_of(p->root, sizeof p->root),
        .random = random_seeded(&p->seed),
        .file_bytes = 1800};
    *state = p;
    return 0;
}

static inline int teardown(void **state)
{
    struct place *p = *state;
    memory_disk_done(&p->disk);
    memory_disk_done(&p->copy);
    test_free(p);
    return 0;
}

/* ---- a trail ---- */

static inline struct trail *open_trail(struct place *p)
{
    struct trail *t = NULL;
    p->disk.room = MEMORY_FILE_MAX;
    assert_int_equal(trail_open(&p->setup, &t), OK);
    return t;
}

static inline void add(struct place *p, struct trail *t, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char line[64];
        p->now_ms += 10;
        int size = snprintf(line, sizeof line, "{\"n\":%llu}\n", (unsigned long long)p->now_ms);
        assert_int_equal(trail_append(t, slice_of(line, (size_t)size)), OK);
    }
}

static inline void write_opening(struct place *p, unsigned n)
{
    struct trail *t = open_trail(p);
    add(p, t, n);
    trail_free(t);
}

static inline void note_record(void *ctx, const struct trail_piece *piece)
{
    struct place *p = ctx;
    struct chain_entry e;
    if (piece->kind == TRAIL_PIECE_ENTRY) {
        assert_int_equal(chain_entry_decode(piece->plain, &e), OK);
        assert_true(p->n < RECORDS_MAX);
        p->records[p->n++] = (struct lying){piece->file, piece->offset, piece->bytes, e.seq};
    }
}

static inline struct buf *file_bytes(struct memory_disk *d, uint32_t file)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(file, name);
    struct disk_file *f = memory_find(d, name);
    return f != NULL ? &f->bytes : NULL;
}

static inline void copy_disk(struct memory_disk *from, struct memory_disk *to)
{
    memory_disk_done(to);
    memory_disk_init(to);
    for (size_t i = 0; i < MEMORY_FILES_MAX; i++) {
        struct disk_file *f = &to->files[i];
        memcpy(f->path, from->files[i].path, sizeof f->path);
        f->of = to;
        f->is_there = from->files[i].is_there;
        assert_int_equal(buf_append(&f->bytes, buf_slice(&from->files[i].bytes), SIZE_MAX), OK);
    }
}

/* What lies there is the trail to be tampered with from here on. */
static inline void keep(struct place *p)
{
    struct trail_report report;
    struct trail_sink sink = {.ctx = p, .piece = note_record};
    p->n = 0;
    assert_int_equal(trail_read(p->setup.disk, p->setup.root, 0, &sink, &report), OK);
    copy_disk(&p->disk, &p->copy);
}

static inline void put_back(struct place *p)
{
    copy_disk(&p->copy, &p->disk);
}

/* Three files, openings within and across them. */
static inline void make(struct place *p)
{
    write_opening(p, 3);
    write_opening(p, 8);
    write_opening(p, 1);
    write_opening(p, 4);
    keep(p);
    assert_non_null(file_bytes(&p->disk, 3));
    for (size_t i = 0; i < p->n; i++) {
        assert_int_equal(p->records[i].seq, i + 1);
    }
}

/* ---- asking ---- */

static inline void note_finding(void *ctx, const struct prove_finding *f)
{
    struct place *p = ctx;
    if (p->n_found < FINDINGS_MAX) {
        p->found[p->n_found++] = *f;
    }
}

static inline void prove_with(struct place *p, const struct anchor *anchors, size_t n,
                              const uint8_t *key)
{
    struct prove_setup s = {.disk = p->setup.disk,
                            .root = p->setup.root,
                            .anchors = anchors,
                            .n_anchors = n,
                            .key = key,
                            .ctx = p,
                            .found = note_finding};
    p->n_found = 0;
    assert_int_equal(prove_trail(&s, &p->report), OK);
    assert_true(p->report.bad + p->report.notes >= p->n_found);
}

static inline void prove(struct place *p)
{
    prove_with(p, NULL, 0, NULL);
}

static inline const struct prove_finding *finding(const struct place *p, enum prove_kind kind)
{
    for (size_t i = 0; i < p->n_found; i++) {
        if (p->found[i].kind == kind) {
            return &p->found[i];
        }
    }
    return NULL;
}

static inline void show(const struct place *p)
{
    for (size_t i = 0; i < p->n_found; i++) {
        const struct prove_finding *f = &p->found[i];
        print_message("  %s %x@%llu+%llu [%llu-%llu] %s\n", prove_kind_name(f->kind),
                      (unsigned)f->file, (unsigned long long)f->offset,
                      (unsigned long long)f->bytes, (unsigned long long)f->first,
                      (unsigned long long)f->last, f->text);
    }
}

/* A finding of this kind that is just about these records. */
static inline void expect(const struct place *p, enum prove_kind kind, uint64_t first,
                          uint64_t last)
{
    for (size_t i = 0; i < p->n_found; i++) {
        const struct prove_finding *f = &p->found[i];
        if (f->kind == kind && f->first == first && f->last == last) {
            return;
        }
    }
    show(p);
    fail_msg("no finding: %s of records %llu to %llu", prove_kind_name(kind),
             (unsigned long long)first, (unsigned long long)last);
}

static inline void expect_good(const struct place *p)
{
    if (p->report.bad > 0) {
        show(p);
    }
    assert_int_equal(p->report.bad, 0);
}

static inline void cut(struct buf *b, uint64_t at, uint64_t n)
{
    memmove(b->p + at, b->p + at + n, b->n - (size_t)(at + n));
    b->n -= (size_t)n;
}

#endif
