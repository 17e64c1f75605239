#include "service/watch/trail_follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/watch/trail_disk_test.h"

struct story {
    struct memory_disk m;
    struct trail *t, *killed;
    struct trail_follow *f;
    uint64_t last; /* number that came last */
    unsigned lines;
};

static const uint8_t root[TRAIL_ROOT_BYTES] = {1, 2, 3};

static void open_trail(struct story *s)
{
    struct trail_setup setup = {.disk = &s->m.disk,
                                .clock = clock_system(),
                                .root = slice_of(root, sizeof root),
                                .random = random_system(),
                                .file_bytes = 4096};
    assert_int_equal(trail_open(&setup, &s->t), OK);
}

static int begin(void **state)
{
    struct story *s = mem_zalloc(sizeof *s);
    memory_disk_init(&s->m);
    open_trail(s);
    assert_int_equal(trail_follow_new(&s->m.disk, slice_of(root, sizeof root), &s->f), OK);
    *state = s;
    return 0;
}

static int end(void **state)
{
    struct story *s = *state;
    trail_follow_free(s->f);
    trail_free(s->t);
    trail_free(s->killed);
    memory_disk_done(&s->m);
    mem_free(s);
    return 0;
}

static void write_lines(struct story *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(trail_append(s->t, slice_text("{\"a\":\"some words of a line\"}\n")), OK);
    }
}

/* All there is, each with the number behind the one before. */
static void follow(struct story *s)
{
    struct trail_next next;
    enum err err;
    while ((err = trail_follow_next(s->f, &next)) == OK) {
        assert_int_equal(next.entry.seq, s->last + 1);
        s->last = next.entry.seq;
        s->lines += next.entry.kind == CHAIN_EVENT ? 1 : 0;
    }
    assert_int_equal(err, ERR_AGAIN);
}

static void test_behind_the_writer_over_files_and_starts(void **state)
{
    struct story *s = *state;
    follow(s);
    assert_int_equal(s->lines, 0);
    for (unsigned i = 1; i <= 5; i++) {
        write_lines(s, 13);
        follow(s);
        assert_int_equal(s->lines, 13 * i);
        trail_free(s->t);
        open_trail(s);
    }
    follow(s);
    assert_true(trail_follow_spot(s->f).file > 2);
}

static void test_from_a_saved_spot(void **state)
{
    struct story *s = *state;
    uint8_t bytes[TRAIL_SPOT_BYTES];
    struct trail_spot spot;
    for (unsigned i = 0; i < 30; i++) {
        write_lines(s, 3);
        follow(s);
        spot = trail_follow_spot(s->f);
        trail_spot_encode(&spot, bytes);
        assert_int_equal(trail_spot_decode(slice_of(bytes, sizeof bytes), &spot), OK);
        trail_follow_free(s->f);
        assert_int_equal(trail_follow_new(&s->m.disk, slice_of(root, sizeof root), &s->f), OK);
        trail_follow_to(s->f, &spot);
    }
    assert_int_equal(s->lines, 90);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_int_equal(trail_spot_decode(slice_of(bytes, sizeof bytes), &spot), ERR_MALFORMED);
        bytes[i] ^= 1;
        assert_true(trail_spot_decode(slice_of(bytes, i), &spot) != OK);
    }
}

/* kill -9 leaves the beginning of a record; who goes on writes behind it. */
static void test_half_a_record(void **state)
{
    struct story *s = *state;
    struct disk_file *f;
    write_lines(s, 5);
    follow(s);
    f = memory_find(&s->m, "audit/00000001.sealed");
    size_t whole = f->bytes.n;
    write_lines(s, 1);
    size_t all = f->bytes.n;
    for (size_t n = whole; n < all; n++) {
        f->bytes.n = n;
        follow(s);
        assert_int_equal(s->lines, 5);
    }
    s->killed = s->t;
    open_trail(s);
    write_lines(s, 1);
    follow(s);
    assert_int_equal(s->lines, 6);
}

static void test_what_was_forgotten_is_seen(void **state)
{
    struct story *s = *state;
    struct trail_next next;
    struct trail_spot spot = {0};
    bool is_edge;
    write_lines(s, 1);
    follow(s);
    spot = trail_follow_spot(s->f);
    write_lines(s, 400);
    assert_null(memory_find(&s->m, "audit/00000001.sealed"));
    assert_int_equal(trail_follow_is_last_chance(&s->m.disk, &spot, &is_edge), OK);
    assert_true(is_edge);
    assert_int_equal(trail_follow_next(s->f, &next), OK);
    assert_true(next.entry.seq > s->last + 1);
    s->last = next.entry.seq;
    follow(s);
    spot = trail_follow_spot(s->f);
    assert_int_equal(trail_follow_is_last_chance(&s->m.disk, &spot, &is_edge), OK);
    assert_false(is_edge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_behind_the_writer_over_files_and_starts, begin, end),
        cmocka_unit_test_setup_teardown(test_from_a_saved_spot, begin, end),
        cmocka_unit_test_setup_teardown(test_half_a_record, begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_forgotten_is_seen, begin, end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
