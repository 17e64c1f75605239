#include "sim_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"

enum { SECTORS = 16 };

struct fixture {
    uint64_t random;
    struct disk *disk;
};

static void begin(struct fixture *f, uint64_t seed)
{
    f->random = seed;
    f->disk = sim_disk_new(random_seeded(&f->random));
    assert_non_null(f->disk);
}

static void end(struct fixture *f)
{
    f->disk = f->disk->ops->free(f->disk);
}

static struct disk_file *open_file(struct fixture *f, const char *name, enum disk_mode mode)
{
    struct disk_file *file = NULL;
    assert_int_equal(f->disk->ops->open(f->disk, name, mode, &file), OK);
    return file;
}

static void write_sectors(struct fixture *f, struct disk_file *file, uint8_t value)
{
    uint8_t bytes[SECTORS * SIM_SECTOR_BYTES];
    memset(bytes, value, sizeof(bytes));
    assert_int_equal(f->disk->ops->write_at(file, 0, slice_of(bytes, sizeof(bytes))), OK);
}

static void restart(struct fixture *f, bool has_power)
{
    sim_disk_stop(f->disk);
    if (!has_power) {
        sim_disk_cut(f->disk);
    }
    sim_disk_start(f->disk);
}

/* How many sectors of the file hold this value in every byte, and nothing torn inside one. */
static unsigned count_sectors(struct fixture *f, const char *name, uint8_t value)
{
    uint8_t bytes[SECTORS * SIM_SECTOR_BYTES];
    size_t n = 0;
    struct disk_file *file = open_file(f, name, DISK_READ);
    assert_int_equal(f->disk->ops->read_at(file, 0, bytes, sizeof(bytes), &n), OK);
    f->disk->ops->close(file);
    unsigned found = 0;
    for (size_t k = 0; k + SIM_SECTOR_BYTES <= n; k += SIM_SECTOR_BYTES) {
        for (size_t i = 1; i < SIM_SECTOR_BYTES; i++) {
            assert_int_equal(bytes[k + i], bytes[k]);
        }
        found += bytes[k] == value ? 1 : 0;
    }
    return found;
}

static void synced_bytes_survive(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        begin(&f, seed);
        struct disk_file *file = open_file(&f, "store/a", DISK_WRITE);
        write_sectors(&f, file, 1);
        assert_int_equal(f.disk->ops->sync(file), OK);
        f.disk->ops->close(file);
        restart(&f, false);
        assert_int_equal(count_sectors(&f, "store/a", 1), SECTORS);
        end(&f);
    }
}

static void unsynced_sectors_are_old_or_new(void **state)
{
    (void)state;
    unsigned all = 0, none = 0, some = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        begin(&f, seed);
        struct disk_file *file = open_file(&f, "a", DISK_WRITE);
        write_sectors(&f, file, 1);
        assert_int_equal(f.disk->ops->sync(file), OK);
        write_sectors(&f, file, 2);
        f.disk->ops->close(file);
        assert_int_equal(count_sectors(&f, "a", 2), SECTORS);
        restart(&f, false);
        unsigned fresh = count_sectors(&f, "a", 2);
        assert_int_equal(count_sectors(&f, "a", 1), SECTORS - fresh);
        all += fresh == SECTORS;
        none += fresh == 0;
        some += fresh > 0 && fresh < SECTORS;
        end(&f);
    }
    assert_true(all > 10 && none > 10 && some > 10);
}

static void killed_process_loses_nothing(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct disk_file *file = open_file(&f, "a", DISK_WRITE);
    write_sectors(&f, file, 7);
    sim_disk_stop(f.disk);
    assert_int_equal(f.disk->ops->sync(file), ERR_IO);
    assert_int_equal(f.disk->ops->write_at(file, 0, slice_text("x")), ERR_IO);
    f.disk->ops->close(file);
    sim_disk_start(f.disk);
    assert_int_equal(count_sectors(&f, "a", 7), SECTORS);
    end(&f);
}

static void failed_sync_is_not_made_good_by_the_next(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct fixture f;
        begin(&f, seed);
        struct disk_file *file = open_file(&f, "a", DISK_WRITE);
        assert_int_equal(f.disk->ops->reserve(file, SECTORS * SIM_SECTOR_BYTES), OK);
        write_sectors(&f, file, 3);
        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){.sync_io = 1000});
        assert_int_equal(f.disk->ops->sync(file), ERR_IO);
        sim_disk_set_faults(f.disk, &(struct sim_disk_faults){0});
        assert_int_equal(f.disk->ops->sync(file), OK);
        f.disk->ops->close(file);
        assert_int_equal(count_sectors(&f, "a", 3), SECTORS);
        restart(&f, false);
        lost += count_sectors(&f, "a", 3) < SECTORS ? 1 : 0;
        end(&f);
    }
    assert_true(lost > 25);
}

static void full_disk_refuses_and_reserved_room_stays(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    sim_disk_set_faults(f.disk, &(struct sim_disk_faults){.capacity = 20000});
    struct disk_file *file = open_file(&f, "a", DISK_WRITE);
    struct disk_file *other = open_file(&f, "b", DISK_APPEND);
    assert_int_equal(f.disk->ops->reserve(file, 20001), ERR_SPACE);
    assert_int_equal(f.disk->ops->reserve(file, 20000), OK);
    assert_int_equal(f.disk->ops->append(other, slice_text("x")), ERR_SPACE);
    write_sectors(&f, file, 1);
    uint64_t total = 0, left = 1;
    assert_int_equal(f.disk->ops->space(f.disk, "", &total, &left), OK);
    assert_int_equal(total, 20000);
    assert_int_equal(left, 0);
    f.disk->ops->close(file);
    f.disk->ops->close(other);
    assert_int_equal(f.disk->ops->remove(f.disk, "a"), OK);
    assert_int_equal(f.disk->ops->space(f.disk, "", &total, &left), OK);
    assert_int_equal(left, 20000);
    end(&f);
}

static void removed_file_lives_while_it_is_open(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    assert_int_equal(disk_save(f.disk, "k", slice_text("old")), OK);
    struct disk_file *old = open_file(&f, "k", DISK_WRITE);
    assert_int_equal(disk_save(f.disk, "k", slice_text("new")), OK);
    assert_int_equal(f.disk->ops->write_at(old, 0, slice_text("xxx")), OK);
    f.disk->ops->close(old);
    restart(&f, false);
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_load(f.disk, "k", 100, &b), OK);
    assert_true(slice_is(buf_slice(&b), "new"));
    end(&f);
}

static void count_name(void *ctx, const char *name)
{
    unsigned *n = ctx;
    *n += slice_is(slice_text(name), "1.log") ? 1 : 100;
}

static void lists_one_folder_and_flips_one_bit(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    assert_int_equal(disk_save(f.disk, "store/1.log", slice_text("abc")), OK);
    assert_int_equal(disk_save(f.disk, "other", slice_text("abc")), OK);
    assert_int_equal(disk_save(f.disk, "storehouse", slice_text("abc")), OK);
    unsigned n = 0;
    assert_int_equal(f.disk->ops->list(f.disk, "store", count_name, &n), OK);
    assert_int_equal(n, 1);
    assert_false(sim_disk_flip(f.disk, "absent"));
    assert_true(sim_disk_flip(f.disk, "store/"));
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_load(f.disk, "store/1.log", 100, &b), OK);
    unsigned bits = 0;
    for (size_t i = 0; i < b.n; i++) {
        bits += (unsigned)__builtin_popcount((unsigned)(b.p[i] ^ "abc"[i]));
    }
    assert_int_equal(bits, 1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_bytes_survive),
        cmocka_unit_test(unsynced_sectors_are_old_or_new),
        cmocka_unit_test(killed_process_loses_nothing),
        cmocka_unit_test(failed_sync_is_not_made_good_by_the_next),
        cmocka_unit_test(full_disk_refuses_and_reserved_room_stays),
        cmocka_unit_test(removed_file_lives_while_it_is_open),
        cmocka_unit_test(lists_one_folder_and_flips_one_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
