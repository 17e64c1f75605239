#include "store/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "security/crypto/sealed.h"
#include "store/memdisk_private.h"

static const uint8_t MASTER_A[32] = {1, 2, 3};
static const uint8_t MASTER_B[32] = {4, 5, 6};
static const uint8_t SALT[32] = {9};

struct bench {
    struct memdisk *disk;
    struct keyring_setup setup;
};

static struct bench bench_new(void)
{
    struct bench b = {.disk = memdisk_new()};
    b.setup = (struct keyring_setup){.disk = &b.disk->disk,
                                     .master = slice_of(MASTER_A, sizeof MASTER_A),
                                     .random = random_system()};
    return b;
}

static void bench_done(struct bench *b)
{
    b->disk->disk.ops->free(&b->disk->disk);
}

struct key {
    uint8_t bytes[KEYRING_KEY_BYTES];
};

static struct key key_of(const struct keyring *k, uint64_t principal)
{
    struct key key = {{0}};
    assert_int_equal(keyring_record_key(k, principal, SALT, key.bytes), OK);
    return key;
}

static bool key_is(const struct keyring *k, uint64_t principal, const struct key *want)
{
    struct key now = key_of(k, principal);
    return secret_equal(slice_of(now.bytes, sizeof now.bytes),
                        slice_of(want->bytes, sizeof want->bytes));
}

static struct keyring *reopened(struct bench *b, struct keyring *k)
{
    keyring_free(k);
    k = NULL;
    assert_int_equal(keyring_open(&b->setup, &k), OK);
    return k;
}

static void keys_come_back(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    struct keyring *none = NULL;
    assert_int_equal(keyring_open(&b.setup, &none), ERR_NOT_FOUND);
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_create(&b.setup, &none), ERR_EXISTS);
    struct key root;
    slice_copy(root.bytes, keyring_root(k));
    assert_int_equal(keyring_add(k, (uint64_t[]){7, 3, 7, 0}, 4), OK);
    assert_int_equal(keyring_count(k), 2);
    struct key log = key_of(k, 0), three = key_of(k, 3), seven = key_of(k, 7);
    assert_int_equal(keyring_add(k, (uint64_t[]){5, 3}, 2), OK);
    struct key five = key_of(k, 5);
    assert_true(key_is(k, 3, &three)); /* keeps its key */
    assert_false(key_is(k, 5, &three) || key_is(k, 7, &three) || key_is(k, 0, &three));
    struct key other_salt;
    assert_int_equal(keyring_record_key(k, 3, MASTER_B, other_salt.bytes), OK);
    assert_false(key_is(k, 3, &other_salt));
    k = reopened(&b, k);
    assert_int_equal(keyring_count(k), 3);
    assert_true(key_is(k, 0, &log) && key_is(k, 3, &three) && key_is(k, 5, &five) &&
                key_is(k, 7, &seven));
    assert_true(slice_equal(keyring_root(k), slice_of(root.bytes, sizeof root.bytes)));
    assert_true(keyring_has(k, 5) && !keyring_has(k, 4) && !keyring_has(k, 0));
    assert_int_equal(keyring_record_key(k, 4, SALT, other_salt.bytes), ERR_NOT_FOUND);
    struct keyring_setup wrong = b.setup;
    wrong.master = slice_of(MASTER_B, sizeof MASTER_B);
    assert_int_equal(keyring_open(&wrong, &none), ERR_CRYPTO);
    wrong.master.n = 31;
    assert_int_equal(keyring_open(&wrong, &none), ERR_CONFIG);
    assert_null(none);
}

static void many_keys_in_any_order(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    uint64_t ids[300];
    for (uint64_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = 1 + i * 7919 % 1009;
    }
    assert_int_equal(keyring_add(k, ids, COUNT_OF(ids)), OK); /* a new base */
    for (size_t i = 0; i < 1200; i++) {                       /* over the number of additions */
        assert_int_equal(keyring_add(k, &(uint64_t){10000 + i * 31 % 1201}, 1), OK);
    }
    assert_int_equal(keyring_count(k), COUNT_OF(ids) + 1200);
    struct key first = key_of(k, ids[0]), last = key_of(k, ids[299]), late = key_of(k, 10031);
    k = reopened(&b, k);
    assert_int_equal(keyring_count(k), COUNT_OF(ids) + 1200);
    assert_true(key_is(k, ids[0], &first) && key_is(k, ids[299], &last));
    assert_true(key_is(k, 10031, &late));
}

/* All bytes of all files, also of those that have no name any more. */
static bool disk_holds(struct memdisk *m, struct slice needle, bool gone_too)
{
    for (size_t i = 0; i < MEMDISK_FILES; i++) {
        const struct disk_file *f = &m->files[i];
        bool is_looked_at = f->is_used && (gone_too || !f->is_gone) && needle.n > 0;
        if (is_looked_at && f->bytes.n > 0 &&
            memmem(f->bytes.p, f->bytes.n, needle.p, needle.n) != NULL) {
            return true;
        }
    }
    return false;
}

static void erased_means_overwritten(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    AUTO(buf_done) struct buf old = {0};
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){1, 2, 3, 4}, 4), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){5}, 1), OK);
    struct key one = key_of(k, 1), five = key_of(k, 5);
    assert_int_equal(disk_load(&b.disk->disk, KEYRING_FILE, 10000, &old), OK);
    /* an interrupted save left a copy of the keys */
    assert_int_equal(disk_save(&b.disk->disk, KEYRING_FILE ".x", buf_slice(&old)), OK);
    assert_int_equal(
        b.disk->disk.ops->rename(&b.disk->disk, KEYRING_FILE ".x", KEYRING_FILE ".new"), OK);
    unsigned erasures = keyring_erasures(k);
    assert_int_equal(keyring_erase(k, (uint64_t[]){9, 2, 4}, 3), OK);
    assert_true(keyring_erasures(k) != erasures);
    for (size_t at = 0; at + 16 <= old.n; at += 16) {
        bool is_magic = at == 0 || at == 16; /* magic, length and the magic of the sealed base */
        if (!is_magic && disk_holds(b.disk, slice_of(old.p + at, 16), true)) {
            fail_msg("16 bytes at %zu of the old file are still there", at);
        }
    }
    assert_false(keyring_has(k, 2) || keyring_has(k, 4));
    k = reopened(&b, k);
    assert_int_equal(keyring_count(k), 3);
    assert_true(key_is(k, 1, &one) && key_is(k, 5, &five));
    assert_int_equal(keyring_add(k, (uint64_t[]){2}, 1), OK); /* a new one, never the old one */
    /* the addition of an older file does not verify behind the newer base */
    struct slice addition = slice_from(buf_slice(&old), old.n - 4 - 56 - 8 - 40);
    struct disk_file *f = memdisk_find(b.disk, KEYRING_FILE);
    assert_int_equal(buf_append(&f->bytes, addition, 10000), OK);
    k = reopened(&b, k);
    assert_int_equal(keyring_count(k), 4);
}

static void the_master_rotates(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    AUTO(buf_done) struct buf copy = {0};
    struct keyring *none = NULL;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){1, 2}, 2), OK);
    struct key one = key_of(k, 1), log = key_of(k, 0);
    assert_int_equal(keyring_rotate(k, slice_of(MASTER_B, 31)), ERR_CONFIG);
    assert_int_equal(keyring_rotate(k, slice_of(MASTER_B, 32)), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){3}, 1), OK);
    assert_int_equal(keyring_open(&b.setup, &none), ERR_CRYPTO);
    assert_int_equal(keyring_copy(k, slice_of(MASTER_A, 32), &copy), OK);
    b.setup.master = slice_of(MASTER_B, 32);
    k = reopened(&b, k);
    assert_true(key_is(k, 1, &one) && key_is(k, 0, &log) && keyring_has(k, 3));
    /* the copy opens under the master it was made for */
    assert_int_equal(disk_save(&b.disk->disk, KEYRING_FILE, buf_slice(&copy)), OK);
    b.setup.master = slice_of(MASTER_A, 32);
    k = reopened(&b, k);
    assert_true(key_is(k, 1, &one) && keyring_count(k) == 3);
}

/* The disk stops at every change of each operation: afterwards the file is the old or the new one,
 * and the keyring that saw the error goes on rightly once the disk does. */
static void power_cuts(void **state)
{
    (void)state;
    enum { ADD, ADD_MANY, ERASE, ROTATE, N_OPERATIONS };
    for (int operation = 0; operation < N_OPERATIONS; operation++) {
        bool is_done = false;
        for (long n = 0; !is_done; n++) {
            AUTO(bench_done) struct bench b = bench_new();
            AUTO(keyring_autofree) struct keyring *k = NULL;
            AUTO(keyring_autofree) struct keyring *after = NULL;
            uint64_t many[100];
            for (size_t i = 0; i < COUNT_OF(many); i++) {
                many[i] = 100 + i;
            }
            assert_int_equal(keyring_create(&b.setup, &k), OK);
            assert_int_equal(keyring_add(k, (uint64_t[]){1, 2}, 2), OK);
            assert_int_equal(keyring_add(k, (uint64_t[]){3}, 1), OK);
            struct key one = key_of(k, 1);
            b.disk->fail_after = n;
            enum err e = operation == ADD        ? keyring_add(k, (uint64_t[]){4}, 1)
                         : operation == ADD_MANY ? keyring_add(k, many, COUNT_OF(many))
                         : operation == ERASE    ? keyring_erase(k, (uint64_t[]){2}, 1)
                                                 : keyring_rotate(k, slice_of(MASTER_B, 32));
            is_done = b.disk->fail_after != 0;
            assert_int_equal(e, is_done || e == OK ? OK : ERR_IO);
            b.disk->fail_after = -1;
            struct keyring_setup setup = b.setup;
            enum err opened = keyring_open(&setup, &after);
            if (operation == ROTATE && opened == ERR_CRYPTO) {
                setup.master = slice_of(MASTER_B, 32);
                opened = keyring_open(&setup, &after);
            }
            assert_int_equal(opened, OK);
            assert_true(key_is(after, 1, &one) && keyring_has(after, 3));
            assert_true(e != OK || keyring_count(after) == keyring_count(k));
            /* go on with the one that saw the error */
            assert_int_equal(keyring_add(k, (uint64_t[]){77}, 1), OK);
            struct key added = key_of(k, 77);
            after = keyring_free(after);
            setup.master = slice_of(operation == ROTATE && e == OK ? MASTER_B : MASTER_A, 32);
            assert_int_equal(keyring_open(&setup, &after), OK);
            assert_true(key_is(after, 77, &added) && keyring_count(after) == keyring_count(k));
        }
    }
}

static void a_torn_addition_is_passed_over(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){1}, 1), OK);
    struct disk_file *f = memdisk_find(b.disk, KEYRING_FILE);
    size_t whole = f->bytes.n;
    assert_int_equal(keyring_add(k, (uint64_t[]){2}, 1), OK);
    size_t end = f->bytes.n;
    for (size_t n = whole; n < end; n++) {
        f->bytes.n = n;
        k = reopened(&b, k);
        assert_int_equal(keyring_count(k), 1);
    }
    assert_int_equal(keyring_add(k, (uint64_t[]){3}, 1), OK);
    k = reopened(&b, k);
    assert_int_equal(keyring_count(k), 2);
    assert_true(keyring_has(k, 3) && !keyring_has(k, 2));
}

static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    struct disk_file *f = memdisk_find(b.disk, KEYRING_FILE);
    assert_int_equal(keyring_add(k, (uint64_t[]){1}, 1), OK);
    size_t last = f->bytes.n;
    assert_int_equal(keyring_add(k, (uint64_t[]){2}, 1), OK);
    for (size_t bit = 0; bit < f->bytes.n * 8; bit++) {
        f->bytes.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        struct keyring *bad = NULL;
        enum err e = keyring_open(&b.setup, &bad);
        if (bit / 8 >= last) { /* could be a torn addition: not to be told apart */
            assert_int_equal(e, OK);
            assert_int_equal(keyring_count(bad), 1);
            keyring_free(bad);
        } else if (bit / 8 == 7) {
            assert_int_equal(e, ERR_UNSUPPORTED);
        } else if (e != ERR_CRYPTO) {
            fail_msg("bit %zu: %s", bit, err_name(e));
        }
        f->bytes.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

struct reader {
    const struct keyring *keyring;
    struct key want;
    atomic_bool is_over;
    unsigned n_wrong;
};

static void *reader_run(void *ctx)
{
    struct reader *r = ctx;
    while (!atomic_load(&r->is_over)) {
        struct key one = {{0}}, two = {{0}};
        enum err e = keyring_record_key(r->keyring, 1, SALT, one.bytes);
        r->n_wrong += e != OK || memcmp(&one, &r->want, sizeof one) != 0;
        e = keyring_record_key(r->keyring, 2, SALT, two.bytes);
        r->n_wrong += e != OK && e != ERR_NOT_FOUND;
        (void)keyring_has(r->keyring, 2);
        (void)keyring_erasures(r->keyring);
    }
    return NULL;
}

static void others_read_while_one_changes(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    struct reader reader = {0};
    pthread_t thread;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){1}, 1), OK);
    reader.keyring = k;
    reader.want = key_of(k, 1);
    assert_int_equal(pthread_create(&thread, NULL, reader_run, &reader), 0);
    for (int i = 0; i < 25; i++) {
        assert_int_equal(keyring_add(k, (uint64_t[]){2}, 1), OK);
        assert_int_equal(keyring_erase(k, (uint64_t[]){2}, 1), OK);
        assert_int_equal(keyring_rotate(k, slice_of(MASTER_B, 32)), OK);
    }
    atomic_store(&reader.is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.n_wrong, 0);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    AUTO(bench_done) struct bench b = bench_new();
    AUTO(keyring_autofree) struct keyring *k = NULL;
    assert_int_equal(keyring_create(&b.setup, &k), OK);
    assert_int_equal(keyring_add(k, (uint64_t[]){1, 2}, 2), OK);
    struct key one = key_of(k, 1);
    for (int operation = 0; operation < 4; operation++) {
        bool failed = true;
        for (long n = 0; failed; n++) {
            struct keyring *opened = NULL;
            AUTO(buf_done) struct buf copy = {0};
            (void)mem_fail_after(n);
            enum err e = operation == 0   ? keyring_add(k, (uint64_t[]){3}, 1)
                         : operation == 1 ? keyring_erase(k, (uint64_t[]){2}, 1)
                         : operation == 2 ? keyring_copy(k, slice_of(MASTER_A, 32), &copy)
                                          : keyring_open(&b.setup, &opened);
            failed = mem_fail_after(-1);
            assert_int_equal(e, failed ? ERR_NOMEM : OK);
            keyring_free(opened);
            assert_true(key_is(k, 1, &one));
            assert_int_equal(keyring_count(k), operation == 0   ? 2 + (e == OK)
                                               : operation == 1 ? 3 - (e == OK)
                                                                : 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_back),
        cmocka_unit_test(many_keys_in_any_order),
        cmocka_unit_test(erased_means_overwritten),
        cmocka_unit_test(the_master_rotates),
        cmocka_unit_test(power_cuts),
        cmocka_unit_test(a_torn_addition_is_passed_over),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(others_read_while_one_changes),
        cmocka_unit_test(no_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
