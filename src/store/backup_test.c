#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/random.h"
#include "store/backup_private.h"

static const uint8_t root_bytes[BACKUP_ROOT_BYTES] = {9, 8, 7};

/* Two disks in memory: what is copied, and where the backup goes. */
struct place {
    struct disk *from, *to;
    uint64_t seed;
};

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    assert_int_equal(backup_disk(NULL, &p->from), OK);
    assert_int_equal(backup_disk(NULL, &p->to), OK);
    p->seed = 3;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    p->from->ops->free(p->from);
    p->to->ops->free(p->to);
    test_free(p);
    return 0;
}

static void save(struct disk *d, const char *name, size_t n)
{
    struct buf b = {0};
    uint8_t *room;
    assert_int_equal(buf_room(&b, n, SIZE_MAX, &room), OK);
    for (size_t i = 0; i < n; i++) {
        room[i] = (uint8_t)(i * 7 + i / 256);
    }
    if (n == 300 || n == 2 * BACKUP_PIECE_BYTES || n == 3) { /* some as a segment ends */
        memset(room + n / 3, 0, n - n / 3);
    }
    b.n = n;
    assert_int_equal(disk_save(d, name, buf_slice(&b)), OK);
    buf_done(&b);
}

static const char *const names[] = {"sallyport.yaml", "store/00000001.log", "store/00000002.log",
                                    "audit/00000001.sealed"};

static enum err make(struct place *p, const size_t sizes[COUNT_OF(names)])
{
    AUTO(backup_writer_autofree) struct backup_writer *w = NULL;
    struct backup_order o = {.to = p->to,
                             .name = "b",
                             .root = slice_of(root_bytes, sizeof root_bytes),
                             .clear = slice_text("{\"clear\":1}"),
                             .manifest = slice_text("{\"secret\":1}"),
                             .random = random_seeded(&p->seed)};
    TRY(backup_begin(&o, &w));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        save(p->from, names[i], sizes[i]);
        TRY(backup_add(w, p->from, names[i]));
    }
    return backup_end(w);
}

static enum err open_it(struct place *p, struct backup **ret)
{
    struct why why = {{0}};
    enum err err =
        backup_open(p->to, "b", slice_of(root_bytes, sizeof root_bytes), NULL, NULL, ret, &why);
    assert_true(err == OK || why.text[0] != '\0');
    return err;
}

static void expect_same(struct disk *a, struct disk *b, const char *name)
{
    struct buf x = {0};
    struct buf y = {0};
    assert_int_equal(disk_load(a, name, SIZE_MAX, &x), OK);
    assert_int_equal(disk_load(b, name, SIZE_MAX, &y), OK);
    assert_true(slice_equal(buf_slice(&x), buf_slice(&y)));
    buf_done(&x);
    buf_done(&y);
}

/* ---- there and back ---- */

static void test_round_trip(void **state)
{
    static const size_t cases[][COUNT_OF(names)] = {
        {0, 1, 2, 3},
        {5, 300, 2 * BACKUP_PIECE_BYTES, BACKUP_PIECE_BYTES + 1}, /* see save: with zeros behind */
        {BACKUP_PIECE_BYTES - 1, BACKUP_PIECE_BYTES, BACKUP_PIECE_BYTES + 1,
         3 * BACKUP_PIECE_BYTES + 17},
    };
    struct place *p = *state;
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct backup *b = NULL;
        struct disk *view = NULL;
        struct disk *restored = NULL;
        struct buf clear = {0};
        (void)!p->to->ops->remove(p->to, "b");
        assert_int_equal(make(p, cases[k]), OK);
        assert_int_equal(backup_clear(p->to, "b", &clear, NULL), OK);
        assert_true(slice_is(buf_slice(&clear), "{\"clear\":1}"));
        assert_int_equal(open_it(p, &b), OK);
        assert_true(slice_is(backup_manifest(b), "{\"secret\":1}"));
        assert_int_equal(backup_count(b), COUNT_OF(names));
        assert_int_equal(backup_disk(b, &view), OK);
        assert_int_equal(backup_disk(NULL, &restored), OK);
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            assert_string_equal(backup_name(b, i), names[i]);
            assert_int_equal(backup_size(b, i), cases[k][i]);
            expect_same(p->from, view, names[i]);
            assert_int_equal(backup_copy(b, i, restored), OK);
            expect_same(p->from, restored, names[i]);
        }
        view->ops->free(view);
        restored->ops->free(restored);
        backup_free(b);
        buf_done(&clear);
    }
}

static void test_places_in_any_order(void **state)
{
    static const size_t sizes[] = {10, 3 * BACKUP_PIECE_BYTES + 17, 5, 0};
    struct place *p = *state;
    struct backup *b = NULL;
    uint8_t got[100];
    size_t n;
    assert_int_equal(make(p, sizes), OK);
    assert_int_equal(open_it(p, &b), OK);
    for (size_t at = sizes[1]; at >= 50000; at -= 50000) {
        assert_int_equal(backup_read(b, 1, at, got, sizeof got, &n), OK);
        assert_int_equal(n, at + 100 <= sizes[1] ? 100 : sizes[1] - at);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(got[i], (uint8_t)((at + i) * 7 + (at + i) / 256));
        }
    }
    assert_int_equal(backup_read(b, 1, BACKUP_PIECE_BYTES - 50, got, sizeof got, &n), OK);
    assert_int_equal(n, sizeof got);
    assert_int_equal(got[99],
                     (uint8_t)((BACKUP_PIECE_BYTES + 49) * 7 + (BACKUP_PIECE_BYTES + 49) / 256));
    backup_free(b);
}

static void test_nothing_is_readable(void **state)
{
    static const size_t sizes[] = {10, 20, 30, 40};
    struct place *p = *state;
    struct buf b = {0};
    assert_int_equal(make(p, sizes), OK);
    assert_int_equal(disk_load(p->to, "b", SIZE_MAX, &b), OK);
    assert_non_null(memmem(b.p, b.n, "clear", 5));
    assert_null(memmem(b.p, b.n, "secret", 6));
    assert_null(memmem(b.p, b.n, "store", 5));
    assert_null(memmem(b.p, b.n, root_bytes, sizeof root_bytes));
    buf_done(&b);
}

/* The view of a backup takes writes, and the backup does not. */
static void test_the_view_keeps_writes_to_itself(void **state)
{
    static const size_t sizes[] = {10, 20, 30, 40};
    struct place *p = *state;
    struct backup *b = NULL;
    struct disk *view = NULL;
    struct disk_file *f;
    struct buf before = {0};
    struct buf after = {0};
    assert_int_equal(make(p, sizes), OK);
    assert_int_equal(disk_load(p->to, "b", SIZE_MAX, &before), OK);
    assert_int_equal(open_it(p, &b), OK);
    assert_int_equal(backup_disk(b, &view), OK);
    assert_int_equal(disk_save(view, "store/00000003.log", slice_text("new")), OK);
    expect_same(view, view, "store/00000003.log");
    assert_int_equal(view->ops->open(view, names[1], DISK_WRITE, &f), OK);
    assert_int_equal(view->ops->write_at(f, 0, slice_text("x")), ERR_DENIED);
    view->ops->close(f);
    assert_int_equal(view->ops->remove(view, names[1]), ERR_DENIED);
    view->ops->free(view);
    backup_free(b);
    assert_int_equal(disk_load(p->to, "b", SIZE_MAX, &after), OK);
    assert_true(slice_equal(buf_slice(&before), buf_slice(&after)));
    buf_done(&before);
    buf_done(&after);
}

/* ---- damage ---- */

static void test_every_bit_and_every_end(void **state)
{
    static const size_t sizes[] = {3, 40, 0, 17};
    struct place *p = *state;
    struct buf good = {0};
    struct backup *b = NULL;
    assert_int_equal(make(p, sizes), OK);
    assert_int_equal(disk_load(p->to, "b", SIZE_MAX, &good), OK);
    for (size_t bit = 0; bit < good.n * 8; bit++) {
        good.p[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(disk_save(p->to, "b", buf_slice(&good)), OK);
        assert_int_not_equal(open_it(p, &b), OK);
        good.p[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    for (size_t n = 0; n < good.n; n++) {
        assert_int_equal(disk_save(p->to, "b", slice_head(buf_slice(&good), n)), OK);
        assert_int_not_equal(open_it(p, &b), OK);
    }
    assert_int_equal(buf_append(&good, slice_text("x"), SIZE_MAX), OK);
    assert_int_equal(disk_save(p->to, "b", buf_slice(&good)), OK);
    assert_int_equal(open_it(p, &b), ERR_TRAILING);
    good.n--;
    assert_int_equal(disk_save(p->to, "b", buf_slice(&good)), OK);
    assert_int_equal(open_it(p, &b), OK);
    backup_free(b);
    buf_done(&good);
}

static void test_refusals_say_why(void **state)
{
    static const size_t sizes[] = {3, 40, 0, 17};
    static const uint8_t other[BACKUP_ROOT_BYTES] = {1};
    struct place *p = *state;
    struct backup *b = NULL;
    struct why why = {{0}};
    struct slice root = slice_of(root_bytes, sizeof root_bytes);
    assert_int_equal(backup_open(p->to, "b", root, NULL, NULL, &b, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "b is not there"));
    assert_int_equal(make(p, sizes), OK);
    assert_int_equal(make(p, sizes), ERR_EXISTS);
    assert_int_equal(backup_open(p->to, "b", slice_of(other, sizeof other), NULL, NULL, &b, &why),
                     ERR_CRYPTO);
    assert_non_null(strstr(why.text, "another one"));
    struct slice later = slice_of("SPBACK\0\2later later later later later", 36);
    assert_int_equal(disk_save(p->to, "b", later), OK);
    assert_int_equal(backup_open(p->to, "b", root, NULL, NULL, &b, &why), ERR_UNSUPPORTED);
    assert_non_null(strstr(why.text, "later version"));
    assert_int_equal(disk_save(p->to, "b", slice_text("something else")), OK);
    assert_int_equal(backup_open(p->to, "b", root, NULL, NULL, &b, &why), ERR_MALFORMED);
}

/* A backup that was given up leaves nothing. */
static void test_given_up(void **state)
{
    struct place *p = *state;
    struct backup_writer *w = NULL;
    struct disk_file *f;
    struct backup_order o = {.to = p->to,
                             .name = "b",
                             .root = slice_of(root_bytes, sizeof root_bytes),
                             .random = random_seeded(&p->seed)};
    assert_int_equal(backup_begin(&o, &w), OK);
    assert_int_equal(backup_add(w, p->from, "missing"), ERR_NOT_FOUND);
    w = backup_writer_free(w);
    assert_int_equal(p->to->ops->open(p->to, "b", DISK_READ, &f), ERR_NOT_FOUND);
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        enum err want;
    } cases[] = {
        {"a", OK},
        {"store/00000001.log", OK},
        {"a/b/c", OK},
        {"", ERR_MALFORMED},
        {"/a", ERR_MALFORMED},
        {"a/", ERR_MALFORMED},
        {"a//b", ERR_MALFORMED},
        {"..", ERR_MALFORMED},
        {"../a", ERR_MALFORMED},
        {"a/../b", ERR_MALFORMED},
        {"./a", ERR_MALFORMED},
        {".hidden", ERR_MALFORMED},
        {"a b", ERR_MALFORMED},
        {"a\nb", ERR_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(backup_name_check(slice_text(cases[i].name)), cases[i].want);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_round_trip),
        CASE(test_places_in_any_order),
        CASE(test_nothing_is_readable),
        CASE(test_the_view_keeps_writes_to_itself),
        CASE(test_every_bit_and_every_end),
        CASE(test_refusals_say_why),
        CASE(test_given_up),
        CASE(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
