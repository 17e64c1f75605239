#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/scope.h"
#include "service/watch/trail_disk_test.h"
#include "service/watch/trail_private.h"

struct place {
    struct memory_disk disk;
    uint8_t root[TRAIL_ROOT_BYTES];
    uint64_t seed;
    struct trail_setup setup;
};

/* What is written depends on the time in it, and of 256 different bytes one is what a test cut
 * off: the clock stands still, so that each run writes the same. */
static uint64_t still_ms(void *ctx)
{
    (void)ctx;
    return 1;
}

static int64_t still_wall_ms(void *ctx)
{
    (void)ctx;
    return 1700000000000;
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memory_disk_init(&p->disk);
    p->seed = 7;
    p->root[0] = 1;
    p->setup = (struct trail_setup){.disk = &p->disk.disk,
                                    .root = slice_of(p->root, sizeof p->root),
                                    .clock = {still_ms, still_ms, still_wall_ms, NULL},
                                    .random = random_seeded(&p->seed)};
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    memory_disk_done(&p->disk);
    test_free(p);
    return 0;
}

static struct trail *open_trail(struct place *p)
{
    struct trail *t = NULL;
    assert_int_equal(trail_open(&p->setup, &t), OK);
    return t;
}

static enum err add(struct trail *t, unsigned number)
{
    char line[64];
    int n = snprintf(line, sizeof line, "{\"topic\":\"secret/%u\"}\n", number);
    return trail_append(t, slice_of(line, (size_t)n));
}

/* Lines first..end-1 in one opening. */
static void write_opening(struct place *p, unsigned first, unsigned end)
{
    struct trail *t = open_trail(p);
    for (unsigned i = first; i < end; i++) {
        assert_int_equal(add(t, i), OK);
    }
    trail_free(t);
}

struct seen {
    unsigned n;
    unsigned numbers[4096];
    unsigned damages;
    struct trail_damage last;
};

static void on_line(void *ctx, struct slice line)
{
    struct seen *s = ctx;
    struct slice prefix = slice_text("{\"topic\":\"secret/");
    unsigned number = 0;
    assert_true(slice_has_prefix(line, prefix));
    for (struct slice d = slice_from(line, prefix.n); d.p[0] != '"'; d = slice_from(d, 1)) {
        number = number * 10 + (unsigned)(d.p[0] - '0');
    }
    assert_true(s->n < COUNT_OF(s->numbers));
    s->numbers[s->n++] = number;
}

static void on_damage(void *ctx, const struct trail_damage *d)
{
    struct seen *s = ctx;
    s->damages++;
    s->last = *d;
}

static struct trail_report read_all(struct place *p, unsigned n_files, struct seen *ret)
{
    struct trail_report report;
    struct trail_sink sink = {.ctx = ret, .line = on_line, .damage = on_damage};
    memset(ret, 0, sizeof *ret);
    assert_int_equal(trail_read(p->setup.disk, p->setup.root, n_files, &sink, &report), OK);
    assert_int_equal(report.lines, ret->n);
    assert_int_equal(report.damages, ret->damages);
    return report;
}

static void expect_run(const struct seen *s, unsigned first, unsigned end)
{
    assert_int_equal(s->n, end - first);
    for (unsigned i = 0; i < s->n; i++) {
        assert_int_equal(s->numbers[i], first + i);
    }
}

static struct buf *file_bytes(struct place *p, uint32_t file)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(file, name);
    struct disk_file *f = memory_find(&p->disk, name);
    return f != NULL ? &f->bytes : NULL;
}

/* ---- writing and reading ---- */

static void test_round_trip(void **state)
{
    struct place *p = *state;
    struct seen seen;
    struct trail_report report = read_all(p, 0, &seen);
    assert_int_equal(report.files, 0);
    for (unsigned i = 0; i < 5; i++) {
        write_opening(p, i * 10, i * 10 + 10);
    }
    report = read_all(p, 0, &seen);
    expect_run(&seen, 0, 50);
    assert_int_equal(report.files, 1); /* restarts begin no files */
    assert_int_equal(report.damages + report.torn_bytes, 0);
    assert_null(memmem(file_bytes(p, 1)->p, file_bytes(p, 1)->n, "secret", 6));
}

static void test_nothing_before_the_first_line(void **state)
{
    struct place *p = *state;
    for (unsigned i = 0; i < 3; i++) {
        trail_free(open_trail(p));
    }
    assert_int_equal(file_bytes(p, 1)->n, 0);
}

static void test_limits(void **state)
{
    struct place *p = *state;
    static uint8_t line[TRAIL_LINE_MAX + 1];
    struct trail *t = open_trail(p);
    assert_int_equal(trail_append(t, slice_of(line, TRAIL_LINE_MAX)), OK);
    assert_int_equal(trail_append(t, slice_of(line, sizeof line)), ERR_TOO_LARGE);
    assert_int_equal(trail_append(t, slice_of(line, 0)), ERR_TOO_LARGE);
    trail_free(t);
    struct trail_report report;
    struct trail_sink none = {0};
    assert_int_equal(trail_read(p->setup.disk, p->setup.root, 0, &none, &report), OK);
    assert_int_equal(report.lines, 1);
    p->setup.root = slice_of(p->root, 31);
    assert_int_equal(trail_open(&p->setup, &t), ERR_CRYPTO);
}

static void test_another_root(void **state)
{
    struct place *p = *state;
    struct seen seen;
    write_opening(p, 0, 3);
    p->root[0] ^= 1;
    struct trail_report report = read_all(p, 0, &seen);
    assert_int_equal(report.lines, 0);
    assert_int_equal(report.damages, 1);
}

/* An old copy of the folder goes on under a salt of its own. */
static void test_no_salt_comes_twice(void **state)
{
    struct place *p = *state;
    write_opening(p, 0, 3);
    size_t first = file_bytes(p, 1)->n;
    write_opening(p, 3, 6);
    struct slice all = buf_slice(file_bytes(p, 1));
    struct slice a = slice_head(all, TRAIL_HEAD_BYTES);
    struct slice b = slice_head(slice_from(all, first), TRAIL_HEAD_BYTES);
    assert_true(slice_equal(slice_head(a, TRAIL_MAGIC_BYTES), slice_head(b, TRAIL_MAGIC_BYTES)));
    assert_false(slice_equal(slice_head(slice_from(a, 16), TRAIL_SALT_BYTES),
                             slice_head(slice_from(b, 16), TRAIL_SALT_BYTES)));
}

/* ---- files ---- */

static void test_rotation(void **state)
{
    struct place *p = *state;
    struct seen seen;
    p->setup.file_bytes = 3000;
    write_opening(p, 0, 200);
    struct trail_report report = read_all(p, 0, &seen);
    assert_int_equal(report.files, TRAIL_FILES_MAX + 1);
    assert_int_equal(report.damages + report.torn_bytes, 0);
    assert_in_range(report.bytes, TRAIL_FILES_MAX * 2800, (TRAIL_FILES_MAX + 1) * 3340);
    expect_run(&seen, 200 - seen.n, 200);
    assert_null(file_bytes(p, 1));
    assert_true(seen.n > TRAIL_FILES_MAX * 10);

    /* A hundred restarts with one line each take no more room than their bytes do. */
    p->setup.file_bytes = 128 * 1024;
    for (unsigned i = 200; i < 300; i++) {
        write_opening(p, i, i + 1);
    }
    unsigned before = seen.n;
    report = read_all(p, 0, &seen);
    assert_int_equal(report.files, TRAIL_FILES_MAX + 1);
    expect_run(&seen, 200 - before, 300);
    (void)read_all(p, 2, &seen);
    assert_int_equal(seen.numbers[seen.n - 1], 299);
    assert_true(seen.n < before);
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        bool is_ours;
        uint32_t number;
    } cases[] = {
        {"00000001.sealed", true, 1},
        {"ffffffff.sealed", true, UINT32_MAX},
        {"0000001.sealed", false, 0},
        {"000000001.sealed", false, 0},
        {"0000000G.sealed", false, 0},
        {"0000000A.sealed", false, 0},
        {"00000001.sealed~", false, 0},
        {"00000001", false, 0},
        {"", false, 0},
        {"00000001.sealed.new", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t number = 0;
        print_message("%s\n", cases[i].name);
        assert_int_equal(trail_number(cases[i].name, &number), cases[i].is_ours);
        assert_int_equal(number, cases[i].number);
    }
}

/* What begins with another format is left as it is. */
static void test_a_file_that_is_not_ours(void **state)
{
    struct place *p = *state;
    struct seen seen;
    struct disk_file *f;
    assert_int_equal(
        p->setup.disk->ops->open(p->setup.disk, TRAIL_DIR "/00000005.sealed", DISK_APPEND, &f), OK);
    assert_int_equal(p->setup.disk->ops->append(f, slice_text("SPAUDIT\3 of a later version")), OK);
    write_opening(p, 0, 3);
    assert_int_equal(file_bytes(p, 5)->n, strlen("SPAUDIT\3 of a later version"));
    (void)read_all(p, 0, &seen);
    expect_run(&seen, 0, 3);
    assert_non_null(file_bytes(p, 6));
}

/* ---- damage ---- */

/* Every bit of two openings: what is not hit is read, what is hit is said, nothing is made up. */
static void test_every_bit(void **state)
{
    struct place *p = *state;
    struct seen seen;
    write_opening(p, 0, 4);
    write_opening(p, 4, 8);
    struct buf *b = file_bytes(p, 1);
    for (size_t bit = 0; bit < b->n * 8; bit++) {
        b->p[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        struct trail_report report = read_all(p, 0, &seen);
        b->p[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_true(seen.n == 7 || seen.n == 8);
        for (unsigned i = 1; i < seen.n; i++) {
            assert_true(seen.numbers[i] > seen.numbers[i - 1]);
        }
        assert_int_equal(report.damages + (report.torn_bytes > 0), 1);
        if (seen.n == 7) {
            assert_int_equal(seen.damages, 1);
            assert_int_equal(seen.last.lines, 1);
            assert_true(seen.last.offset <= bit / 8 &&
                        bit / 8 < seen.last.offset + seen.last.bytes);
        }
    }
}

static void test_every_truncation(void **state)
{
    struct place *p = *state;
    struct seen seen;
    write_opening(p, 0, 4);
    struct buf *b = file_bytes(p, 1);
    size_t whole = b->n;
    AUTO(buf_done) struct buf copy = {0};
    assert_int_equal(buf_append(&copy, buf_slice(b), whole), OK);
    for (size_t n = 0; n < whole; n++) {
        b->n = n;
        p->disk.room = MEMORY_FILE_MAX;
        struct trail_report report = read_all(p, 0, &seen);
        expect_run(&seen, 0, seen.n);
        assert_true(report.damages == 0 || n < TRAIL_HEAD_BYTES);
        /* What comes after it is found, whatever the end looks like. */
        struct trail_setup again = p->setup;
        struct trail *t = NULL;
        unsigned before = seen.n;
        assert_int_equal(trail_open(&again, &t), OK);
        assert_int_equal(add(t, 77), OK);
        trail_free(t);
        report = read_all(p, 0, &seen);
        assert_int_equal(seen.n, before + 1);
        assert_int_equal(seen.numbers[before], 77);
        assert_true(report.damages == 0 || n < TRAIL_HEAD_BYTES);
        if (file_bytes(p, 2) != NULL) {
            assert_int_equal(
                p->setup.disk->ops->remove(p->setup.disk, TRAIL_DIR "/00000002.sealed"), OK);
        }
        buf_clear(b);
        assert_int_equal(buf_append(b, buf_slice(&copy), whole), OK);
    }
}

/* Records do not move: not within a file, not to another one. */
static void test_moved(void **state)
{
    struct place *p = *state;
    struct seen seen;
    write_opening(p, 0, 4);
    struct buf *b = file_bytes(p, 1);
    size_t first = (size_t)TRAIL_HEADS * TRAIL_HEAD_BYTES + TRAIL_LINE_OVERHEAD +
                   CHAIN_CHECKPOINT_BYTES; /* behind the opening's checkpoint */
    size_t record = TRAIL_LINE_OVERHEAD + strlen("{\"topic\":\"secret/0\"}\n");
    uint8_t hold[256];
    assert_true(record <= sizeof hold);
    memcpy(hold, b->p + first, record);
    memcpy(b->p + first, b->p + first + record, record);
    memcpy(b->p + first + record, hold, record);
    (void)read_all(p, 0, &seen);
    expect_run(&seen, 2, 4);
    assert_int_equal(seen.last.lines, 2);
    struct disk_file *f;
    assert_int_equal(
        p->setup.disk->ops->open(p->setup.disk, TRAIL_DIR "/00000002.sealed", DISK_APPEND, &f), OK);
    assert_int_equal(p->setup.disk->ops->append(f, buf_slice(b)), OK);
    (void)read_all(p, 0, &seen);
    expect_run(&seen, 2, 4);
    assert_int_equal(seen.last.file, 2);
}

/* ---- a disk without room ---- */

static void test_full(void **state)
{
    static const bool tears[] = {false, true};
    for (size_t k = 0; k < COUNT_OF(tears); k++) {
        struct place *p = *state;
        struct seen seen;
        memory_disk_done(&p->disk);
        memory_disk_init(&p->disk);
        p->disk.tears = tears[k];
        p->disk.room = 1000;
        struct trail *t = open_trail(p);
        unsigned n = 0;
        while (add(t, n) == OK) {
            n++;
        }
        assert_true(n > 1);
        assert_int_equal(add(t, 1000), ERR_SPACE);
        p->disk.room = 10000;
        for (unsigned i = n; i < n + 5; i++) {
            assert_int_equal(add(t, i), OK);
        }
        trail_free(t);
        struct trail_report report = read_all(p, 0, &seen);
        expect_run(&seen, 0, n + 5);
        assert_int_equal(report.damages, 0);
        assert_int_equal(report.torn_bytes > 0, tears[k]);
    }
}

static void test_no_memory(void **state)
{
    struct place *p = *state;
    for (long n = 0; n < 80; n++) {
        struct trail *t = NULL;
        mem_fail_after(n);
        enum err err = trail_open(&p->setup, &t);
        if (err == OK) {
            err = add(t, (unsigned)n);
        }
        trail_free(t);
        bool failed = mem_fail_after(-1) != 0;
        assert_true(err == OK || (failed && err == ERR_NOMEM));
    }
    struct trail_sink none = {0};
    struct trail_report report;
    for (long n = 0; n < 80; n++) {
        mem_fail_after(n);
        enum err err = trail_read(p->setup.disk, p->setup.root, 0, &none, &report);
        bool failed = mem_fail_after(-1) != 0;
        assert_true(err == OK || (failed && err == ERR_NOMEM));
    }
    assert_int_equal(trail_read(p->setup.disk, p->setup.root, 0, &none, &report), OK);
    assert_int_equal(report.damages, 0);
    assert_true(report.lines > 5);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_round_trip),
        CASE(test_nothing_before_the_first_line),
        CASE(test_limits),
        CASE(test_another_root),
        CASE(test_no_salt_comes_twice),
        CASE(test_rotation),
        CASE(test_names),
        CASE(test_a_file_that_is_not_ours),
        CASE(test_every_bit),
        CASE(test_every_truncation),
        CASE(test_moved),
        CASE(test_full),
        CASE(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
