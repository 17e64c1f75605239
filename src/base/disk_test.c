#include "base/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

/* A scratch directory with a disk on its "data", so that there is something outside to reach. */
struct scratch {
    char root[64];
    int root_fd;
    struct disk *disk;
};

static int scratch_new(void **state)
{
    struct scratch *s = mem_zalloc(sizeof *s);
    assert_non_null(s);
    (void)snprintf(s->root, sizeof s->root, "/tmp/disk_test.XXXXXX");
    assert_non_null(mkdtemp(s->root));
    s->root_fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(s->root_fd >= 0);
    assert_int_equal(mkdirat(s->root_fd, "data", 0700), 0);
    assert_int_equal(mkdirat(s->root_fd, "data/sub", 0700), 0);
    assert_int_equal(mkdirat(s->root_fd, "data/sub/deep", 0700), 0);
    int outside = openat(s->root_fd, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(outside >= 0 && write(outside, "keep", 4) == 4);
    (void)close(outside);
    int data = openat(s->root_fd, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(disk_system(data, &s->disk), OK);
    *state = s;
    return 0;
}

static int scratch_free(void **state)
{
    static const char *const leftovers[] = {"data/sub/deep/f", "data/sub/f", "data/link",
                                            "data/linkdir",    "data/pipe",  "data/f",
                                            "data/g",          "data/f.new", "outside"};
    static const char *const directories[] = {"data/sub/deep", "data/sub", "data"};
    struct scratch *s = *state;
    s->disk = s->disk->ops->free(s->disk);
    for (size_t i = 0; i < COUNT_OF(leftovers); i++) {
        (void)unlinkat(s->root_fd, leftovers[i], 0);
    }
    for (size_t i = 0; i < COUNT_OF(directories); i++) {
        (void)unlinkat(s->root_fd, directories[i], AT_REMOVEDIR);
    }
    (void)close(s->root_fd);
    int failed = rmdir(s->root);
    mem_free(s);
    return failed;
}

static enum err open_close(struct disk *d, const char *path, enum disk_mode mode)
{
    struct disk_file *f = NULL;
    TRY(d->ops->open(d, path, mode, &f));
    d->ops->close(f);
    return OK;
}

static void paths_never_leave_the_directory(void **state)
{
    struct scratch *s = *state;
    struct disk *d = s->disk;
    assert_int_equal(symlinkat("../outside", s->root_fd, "data/link"), 0);
    assert_int_equal(symlinkat("..", s->root_fd, "data/linkdir"), 0);
    assert_int_equal(mkfifoat(s->root_fd, "data/pipe", 0600), 0);
    static const char *const refused[] = {
        "",
        "/",
        "/etc/passwd",
        "..",
        "../outside",
        ".",
        "./f",
        "sub/../f",
        "sub/..",
        "sub//f",
        "sub/",
        "/f",
        "link",
        "link/f",
        "linkdir/f",
        "sub/./f",
        "linkdir/outside",
        "pipe",
        "sub",
        "sub/../../outside",
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        for (int mode = DISK_READ; mode <= DISK_APPEND; mode++) {
            enum err e = open_close(d, refused[i], (enum disk_mode)mode);
            if (e != ERR_DENIED) {
                fail_msg("\"%s\", mode %d: %s", refused[i], mode, err_name(e));
            }
        }
    }
    static const char *const never_touched[] = {"../outside", "linkdir/outside", "/tmp/x",
                                                "sub/.."};
    assert_int_equal(disk_save(d, "f", slice_text("mine")), OK);
    for (size_t i = 0; i < COUNT_OF(never_touched); i++) {
        assert_int_equal(d->ops->remove(d, never_touched[i]), ERR_DENIED);
        assert_int_equal(d->ops->rename(d, never_touched[i], "g"), ERR_DENIED);
        assert_int_equal(d->ops->rename(d, "f", never_touched[i]), ERR_DENIED);
        assert_int_equal(disk_save(d, never_touched[i], slice_text("bad")), ERR_DENIED);
    }
    struct stat st;
    assert_int_equal(fstatat(s->root_fd, "outside", &st, 0), 0);
    assert_int_equal(st.st_size, 4);
    assert_int_equal(d->ops->remove(d, "link"), OK); /* the link, not what it names */
    assert_int_equal(fstatat(s->root_fd, "outside", &st, 0), 0);
}

static void names_have_a_limit(void **state)
{
    struct scratch *s = *state;
    static char name[1100];
    memset(name, 'n', 256);
    assert_int_equal(open_close(s->disk, name, DISK_READ), ERR_TOO_LARGE);
    name[255] = '\0';
    assert_int_equal(open_close(s->disk, name, DISK_READ), ERR_NOT_FOUND);
    memset(name, 'n', sizeof name - 1);
    for (size_t i = 100; i < sizeof name - 1; i += 100) {
        name[i] = '/';
    }
    assert_int_equal(open_close(s->disk, name, DISK_READ), ERR_TOO_LARGE);
}

static void files_are_private(void **state)
{
    struct scratch *s = *state;
    mode_t old = umask(0);
    assert_int_equal(open_close(s->disk, "sub/deep/f", DISK_WRITE), OK);
    (void)umask(old);
    struct stat st;
    assert_int_equal(fstatat(s->root_fd, "data/sub/deep/f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void reads_and_writes_at_offsets(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    struct disk_file *f = NULL;
    assert_int_equal(ops->open(s->disk, "f", DISK_READ, &f), ERR_NOT_FOUND);
    assert_null(f);
    assert_int_equal(ops->open(s->disk, "f", DISK_WRITE, &f), OK);
    assert_int_equal(ops->write_at(f, 5, slice_text("world")), OK);
    assert_int_equal(ops->write_at(f, 0, slice_text("hello")), OK);
    assert_int_equal(ops->write_at(f, UINT64_MAX, slice_text("x")), ERR_TOO_LARGE);
    uint64_t size = 0;
    assert_int_equal(ops->size(f, &size), OK);
    assert_int_equal(size, 10);
    assert_int_equal(ops->sync(f), OK);
    char dst[20] = {0};
    size_t n = 99;
    assert_int_equal(ops->read_at(f, 3, dst, 4, &n), OK);
    assert_int_equal(n, 4);
    assert_string_equal(dst, "lowo");
    assert_int_equal(ops->read_at(f, 8, dst, sizeof dst, &n), OK);
    assert_int_equal(n, 2); /* the end of the file is not an error */
    assert_int_equal(ops->read_at(f, 100, dst, sizeof dst, &n), OK);
    assert_int_equal(n, 0);
    ops->close(f);
    assert_int_equal(open_close(s->disk, "f", DISK_WRITE), OK); /* keeps what is there */
    assert_int_equal(ops->open(s->disk, "f", DISK_APPEND, &f), OK);
    assert_int_equal(ops->append(f, slice_text("!")), OK);
    assert_int_equal(ops->append(f, (struct slice){0}), OK);
    assert_int_equal(ops->size(f, &size), OK);
    assert_int_equal(size, 11);
    ops->close(f);
    ops->close(NULL);
}

/* What is written in pieces is all there, at any size around theirs. */
static void large_writes_are_whole(void **state)
{
    enum { PIECE = 64 * 1024, MOST = 2 * PIECE + 1, AT = 7 };
    static uint8_t bytes[MOST], got[MOST + 1];
    static const size_t sizes[] = {0, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, MOST};
    const struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    for (size_t i = 0; i < MOST; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / PIECE);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct disk_file *f = NULL;
        size_t n = 0;
        assert_int_equal(ops->open(s->disk, "f", DISK_WRITE, &f), OK);
        assert_int_equal(ops->write_at(f, AT, slice_of(bytes, sizes[i])), OK);
        assert_int_equal(ops->read_at(f, AT, got, sizeof got, &n), OK);
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(got, bytes, n);
        ops->close(f);
        assert_int_equal(ops->remove(s->disk, "f"), OK);
    }
}

static void loading_has_a_limit(void **state)
{
    struct scratch *s = *state;
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_load(s->disk, "f", 100, &b), ERR_NOT_FOUND);
    assert_int_equal(disk_save(s->disk, "f", slice_text("12345")), OK);
    assert_int_equal(disk_load(s->disk, "f", 4, &b), ERR_TOO_LARGE);
    assert_int_equal(b.n, 0);
    assert_int_equal(disk_load(s->disk, "f", 5, &b), OK);
    assert_int_equal(disk_load(s->disk, "f", 5, &b), OK); /* behind what is there */
    assert_true(slice_is(buf_slice(&b), "1234512345"));
    assert_int_equal(disk_save(s->disk, "f", (struct slice){0}), OK);
    assert_int_equal(disk_load(s->disk, "f", 0, &b), OK);
    assert_int_equal(b.n, 10);
}

static void saving_replaces_everything(void **state)
{
    struct scratch *s = *state;
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_save(s->disk, "f", slice_text("a long first version")), OK);
    /* an interrupted save left this */
    assert_int_equal(disk_save(s->disk, "f.new", slice_text("longer than what comes now")), OK);
    assert_int_equal(disk_save(s->disk, "f", slice_text("short")), OK);
    assert_int_equal(disk_load(s->disk, "f", 100, &b), OK);
    assert_true(slice_is(buf_slice(&b), "short"));
    assert_int_equal(open_close(s->disk, "f.new", DISK_READ), ERR_NOT_FOUND);
    assert_int_equal(disk_save(s->disk, "sub", slice_text("x")), ERR_DENIED); /* a directory */
    assert_int_equal(open_close(s->disk, "sub.new", DISK_READ), ERR_NOT_FOUND);
    assert_int_equal(disk_save(s->disk, "none/f", slice_text("x")), ERR_NOT_FOUND);
}

static void renaming_and_removing(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    assert_int_equal(disk_save(s->disk, "f", slice_text("x")), OK);
    assert_int_equal(ops->rename(s->disk, "f", "sub/deep/f"), OK);
    assert_int_equal(ops->rename(s->disk, "f", "g"), ERR_NOT_FOUND);
    assert_int_equal(open_close(s->disk, "sub/deep/f", DISK_READ), OK);
    assert_int_equal(ops->remove(s->disk, "sub/deep/f"), OK);
    assert_int_equal(ops->remove(s->disk, "sub/deep/f"), ERR_NOT_FOUND);
    assert_int_equal(ops->remove(s->disk, "sub/deep"), ERR_DENIED);
}

static void reserving_takes_room_or_changes_nothing(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    struct disk_file *f = NULL;
    uint64_t size = 0;
    struct stat st;
    assert_int_equal(ops->open(s->disk, "f", DISK_WRITE, &f), OK);
    assert_int_equal(ops->write_at(f, 0, slice_text("head")), OK);
    assert_int_equal(ops->reserve(f, 300000), OK);
    assert_int_equal(ops->size(f, &size), OK);
    assert_int_equal(size, 300000);
    assert_int_equal(fstatat(s->root_fd, "data/f", &st, 0), 0);
    assert_true(st.st_blocks * 512 >= 300000); /* not a hole */
    char dst[8] = {0};
    size_t n = 0;
    assert_int_equal(ops->read_at(f, 0, dst, sizeof dst, &n), OK);
    assert_memory_equal(dst, "head\0\0\0\0", 8);
    assert_int_equal(ops->reserve(f, 1000), OK); /* never shorter */
    assert_int_equal(ops->give_back(f, 2), OK);
    assert_int_equal(ops->size(f, &size), OK);
    assert_int_equal(size, 300000);
    assert_int_equal(ops->read_at(f, 0, dst, sizeof dst, &n), OK);
    assert_memory_equal(dst, "he\0\0\0\0\0\0", 8);
    assert_int_equal(fstatat(s->root_fd, "data/f", &st, 0), 0);
    assert_true(st.st_blocks * 512 <= 8192);
    assert_int_equal(ops->give_back(f, 300000), OK); /* nothing */
    uint64_t behind = 0;
    assert_int_equal(ops->written_to(f, &behind), OK);
    assert_true(behind >= 2 && behind < 200000); /* by whole blocks */
    assert_int_equal(ops->write_at(f, 200000, slice_text("x")), OK);
    assert_int_equal(ops->written_to(f, &behind), OK);
    assert_true(behind > 200000 && behind <= 300000);
    assert_int_equal(ops->give_back(f, 2), OK);
    assert_int_equal(ops->reserve(f, UINT64_MAX), ERR_TOO_LARGE);

    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit low = {.rlim_cur = 400000, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    enum err e = ops->reserve(f, 1 << 20);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(e, ERR_SPACE);
    assert_int_equal(ops->size(f, &size), OK);
    assert_int_equal(size, 300000);
    ops->close(f);

    uint64_t total = 0, free = 0;
    assert_int_equal(ops->space(s->disk, "", &total, &free), OK);
    assert_int_equal(ops->space(s->disk, "none", &total, &free), ERR_NOT_FOUND);
    assert_true(total > 0 && free <= total);
}

struct names {
    unsigned n, f, g;
};

static void names_count(void *ctx, const char *name)
{
    struct names *names = ctx;
    names->n++;
    names->f += slice_is(slice_text(name), "f");
    names->g += slice_is(slice_text(name), "g");
}

static void listing_gives_regular_files_of_one_directory(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    assert_int_equal(disk_save(s->disk, "f", slice_text("x")), OK);
    assert_int_equal(disk_save(s->disk, "g", slice_text("x")), OK);
    assert_int_equal(disk_save(s->disk, "sub/deep/f", slice_text("x")), OK);
    assert_int_equal(symlinkat("../outside", s->root_fd, "data/link"), 0);
    assert_int_equal(symlinkat("..", s->root_fd, "data/linkdir"), 0);
    assert_int_equal(mkfifoat(s->root_fd, "data/pipe", 0600), 0);
    static const struct {
        const char *dir;
        enum err want;
        unsigned n, f, g;
    } cases[] = {
        {"", OK, 2, 1, 1},
        {".", OK, 2, 1, 1},
        {"sub", OK, 0, 0, 0},
        {"sub/deep", OK, 1, 1, 0},
        {"none", ERR_NOT_FOUND, 0, 0, 0},
        {"f", ERR_DENIED, 0, 0, 0},
        {"linkdir", ERR_DENIED, 0, 0, 0},
        {"..", ERR_DENIED, 0, 0, 0},
        {"sub/..", ERR_DENIED, 0, 0, 0},
        {"/tmp", ERR_DENIED, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct names names = {0};
        enum err e = ops->list(s->disk, cases[i].dir, names_count, &names);
        if (e != cases[i].want || names.n != cases[i].n || names.f != cases[i].f ||
            names.g != cases[i].g) {
            fail_msg("\"%s\": %s, %u names", cases[i].dir, err_name(e), names.n);
        }
    }
}

static void making_directories(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    struct stat st;
    assert_int_equal(ops->make_dir(s->disk, "made"), OK);
    assert_int_equal(ops->make_dir(s->disk, "made"), OK);
    assert_int_equal(fstatat(s->root_fd, "data/made", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(unlinkat(s->root_fd, "data/made", AT_REMOVEDIR), 0);
    assert_int_equal(disk_save(s->disk, "f", slice_text("x")), OK);
    assert_int_equal(symlinkat("sub", s->root_fd, "data/link"), 0);
    assert_int_equal(ops->make_dir(s->disk, "f"), ERR_DENIED);
    assert_int_equal(ops->make_dir(s->disk, "link"), ERR_DENIED);
    assert_int_equal(ops->make_dir(s->disk, "none/d"), ERR_NOT_FOUND);
    assert_int_equal(ops->make_dir(s->disk, "../d"), ERR_DENIED);
}

static void an_open_file_outlives_its_name(void **state)
{
    struct scratch *s = *state;
    const struct disk_ops *ops = s->disk->ops;
    struct disk_file *f = NULL;
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_save(s->disk, "f", slice_text("old")), OK);
    assert_int_equal(ops->open(s->disk, "f", DISK_WRITE, &f), OK);
    assert_int_equal(disk_save(s->disk, "f", slice_text("new")), OK);
    assert_int_equal(ops->write_at(f, 0, slice_text("???")), OK);
    assert_int_equal(ops->sync(f), OK);
    ops->close(f);
    assert_int_equal(disk_load(s->disk, "f", 10, &b), OK);
    assert_true(slice_is(buf_slice(&b), "new"));
}

static void no_memory_leaks_nothing(void **state)
{
    struct scratch *s = *state;
    AUTO(buf_done) struct buf b = {0};
    assert_int_equal(disk_save(s->disk, "f", slice_text("old")), OK);
    for (long n = 0; n < 10; n++) {
        (void)mem_fail_after(n);
        enum err e = disk_save(s->disk, "f", slice_text("new"));
        if (mem_fail_after(-1) == 0) {
            assert_int_equal(e, OK);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
        buf_clear(&b);
        assert_int_equal(disk_load(s->disk, "f", 10, &b), OK);
        assert_true(slice_is(buf_slice(&b), "old"));
    }
    AUTO(buf_done) struct buf fresh = {0};
    for (long n = 0; n < 2; n++) {
        (void)mem_fail_after(n);
        assert_int_equal(disk_load(s->disk, "f", 10, &fresh), ERR_NOMEM);
        assert_true(mem_fail_after(-1));
    }
    struct disk *d = NULL;
    int dir = dup(s->root_fd);
    (void)mem_fail_after(0);
    assert_int_equal(disk_system(dir, &d), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(fcntl(dir, F_GETFD), -1); /* taken, so closed */
    assert_null(s->disk->ops->free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_never_leave_the_directory, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(names_have_a_limit, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(files_are_private, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(reads_and_writes_at_offsets, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(large_writes_are_whole, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(loading_has_a_limit, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(saving_replaces_everything, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(renaming_and_removing, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(reserving_takes_room_or_changes_nothing, scratch_new,
                                        scratch_free),
        cmocka_unit_test_setup_teardown(listing_gives_regular_files_of_one_directory, scratch_new,
                                        scratch_free),
        cmocka_unit_test_setup_teardown(making_directories, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(an_open_file_outlives_its_name, scratch_new, scratch_free),
        cmocka_unit_test_setup_teardown(no_memory_leaks_nothing, scratch_new, scratch_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
