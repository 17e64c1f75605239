/* Keys of tickets on a disk that fails, and after a power cut. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/pki/ticket_file.h"
#include "store/disk_test.h"

enum { CAPACITY = 1 << 20, LIFE_S = 3600 };

static const uint8_t root_bytes[] = "the root key of this test, of 32";
static const uint8_t other_bytes[] = "another root key than that, of 32";

struct place {
    struct test_disk disk;
    struct random_source random;
    int64_t wall_ms;
    struct clock clock;
    struct slice root, other;
    struct tls_tickets *tickets;
};

static int64_t wall_of(void *ctx)
{
    const int64_t *wall_ms = ctx;
    return *wall_ms;
}

static struct tls_tickets *fresh(const struct place *p)
{
    struct tls_tickets_setup s = {.life_s = LIFE_S, .clock = p->clock, .random = p->random};
    struct tls_tickets *t = NULL;
    assert_int_equal(tls_tickets_new(&s, &t), OK);
    return t;
}

static void place_open(struct place *p, uint64_t seed)
{
    *p = (struct place){.random = random_system(), .wall_ms = 1000000, .clock = clock_system()};
    test_disk_init(&p->disk, CAPACITY, seed);
    p->clock.wall_ms = wall_of;
    p->clock.ctx = &p->wall_ms;
    p->root = slice_of(root_bytes, 32);
    p->other = slice_of(other_bytes, 32);
    p->tickets = fresh(p);
}

static void place_close(struct place *p)
{
    p->tickets = tls_tickets_free(p->tickets);
    test_disk_done(&p->disk);
}

static enum err save(struct place *p)
{
    return ticket_file_save(&p->disk.disk, p->root, &p->random, p->tickets);
}

static void rotate(struct place *p)
{
    bool changed = false;
    p->wall_ms += (int64_t)LIFE_S * 1000 / 2;
    assert_int_equal(tls_tickets_rotate(p->tickets, &changed), OK);
    assert_true(changed);
}

static bool has_keys_of(struct tls_tickets *a, struct tls_tickets *b)
{
    AUTO(buf_wipe) struct buf one = {0};
    AUTO(buf_wipe) struct buf two = {0};
    assert_int_equal(tls_tickets_save(a, &one), OK);
    assert_int_equal(tls_tickets_save(b, &two), OK);
    return slice_equal(buf_slice(&one), buf_slice(&two));
}

static void test_round_trip(void **state)
{
    (void)state;
    struct place p;
    place_open(&p, 1);
    AUTO(tls_tickets_autofree) struct tls_tickets *read = fresh(&p);
    assert_int_equal(ticket_file_load(&p.disk.disk, p.root, read), ERR_NOT_FOUND);
    for (int i = 0; i < TLS_TICKET_KEYS + 2; i++) {
        assert_int_equal(save(&p), OK);
        assert_int_equal(ticket_file_load(&p.disk.disk, p.root, read), OK);
        assert_true(has_keys_of(read, p.tickets));
        rotate(&p);
    }
    AUTO(tls_tickets_autofree) struct tls_tickets *other = fresh(&p);
    assert_int_equal(ticket_file_load(&p.disk.disk, p.other, other), ERR_CRYPTO);
    assert_false(has_keys_of(other, read));
    place_close(&p);
}

static void test_changed(void **state)
{
    (void)state;
    struct place p;
    place_open(&p, 2);
    assert_int_equal(save(&p), OK);
    AUTO(buf_done) struct buf file = {0};
    assert_int_equal(disk_load(&p.disk.disk, TICKET_FILE, CAPACITY, &file), OK);
    AUTO(tls_tickets_autofree) struct tls_tickets *read = fresh(&p);
    for (size_t i = 0; i < file.n; i++) {
        file.p[i] ^= 1;
        assert_int_equal(disk_save(&p.disk.disk, TICKET_FILE, buf_slice(&file)), OK);
        assert_int_not_equal(ticket_file_load(&p.disk.disk, p.root, read), OK);
        file.p[i] ^= 1;
        struct slice cut = slice_head(buf_slice(&file), i);
        assert_int_equal(disk_save(&p.disk.disk, TICKET_FILE, cut), OK);
        assert_int_not_equal(ticket_file_load(&p.disk.disk, p.root, read), OK);
    }
    assert_false(has_keys_of(read, p.tickets));
    place_close(&p);
}

/* Each call fails once, or the power goes at it: the file holds the keys of before or of after. */
static void test_failures(void **state)
{
    (void)state;
    for (uint64_t call = 1; call < 64; call++) {
        for (int cuts = 0; cuts < 2; cuts++) {
            struct place p;
            place_open(&p, call);
            AUTO(tls_tickets_autofree) struct tls_tickets *before = fresh(&p);
            AUTO(tls_tickets_autofree) struct tls_tickets *read = fresh(&p);
            assert_int_equal(save(&p), OK);
            assert_int_equal(ticket_file_load(&p.disk.disk, p.root, before), OK);
            rotate(&p);
            if (cuts == 0) {
                p.disk.fail_from = p.disk.fail_to = p.disk.n_calls + call;
                p.disk.fail_with = ERR_SPACE;
            } else {
                p.disk.die_at = p.disk.n_calls + call;
            }
            enum err err = save(&p);
            if (cuts != 0) {
                test_disk_cut(&p.disk);
                p.disk.is_dead = false;
                p.disk.die_at = 0;
            }
            assert_int_equal(ticket_file_load(&p.disk.disk, p.root, read), OK);
            assert_true(has_keys_of(read, p.tickets) || has_keys_of(read, before));
            assert_true(err != OK || has_keys_of(read, p.tickets));
            place_close(&p);
        }
    }
}

static bool disk_holds(const struct test_disk *d, struct slice bytes)
{
    assert_non_null(bytes.p);
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        const struct test_file *f = d->files[i];
        if (f != NULL && f->size >= bytes.n && memmem(f->now, f->size, bytes.p, bytes.n) != NULL) {
            return true;
        }
    }
    return false;
}

static void test_former_is_gone(void **state)
{
    (void)state;
    struct place p;
    struct disk_file *held = NULL;
    uint8_t first[64] = {0};
    struct slice kept = slice_of(first, sizeof(first));
    size_t n = 0;
    place_open(&p, 3);
    struct disk *d = &p.disk.disk;
    assert_int_equal(save(&p), OK);
    /* Held open, so that this disk forgets nothing by itself. */
    assert_int_equal(d->ops->open(d, TICKET_FILE, DISK_READ, &held), OK);
    assert_int_equal(d->ops->read_at(held, 48, first, sizeof(first), &n), OK);
    assert_true(n == sizeof(first) && disk_holds(&p.disk, kept));
    rotate(&p);
    assert_int_equal(save(&p), OK);
    assert_false(disk_holds(&p.disk, kept));
    d->ops->close(held);
    place_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_changed),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_former_is_gone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
