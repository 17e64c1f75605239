#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "security/crypto/sealed.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory_file_private.h"
#include "service/directory/directory_place_test.h"

enum { N = 300 /* more than one piece, the last one not full */ };
#define PHC_FREE "\"admin\":{\"phc\":\"\",\"expires\":0}"

/* What the version before wrote, N devices with a PSK each. Sealed under the master. */
static void write_old(struct test_place *p)
{
    AUTO(buf_done) struct buf text = {0};
    AUTO(buf_done) struct buf file = {0};
    const struct random_source random = random_system();
    char part[512];
    (void)snprintf(
        part, sizeof part,
        "{\"version\":1,\"epoch\":900,\"policy_epoch\":2,\"next\":{\"principal\":%d,"
        "\"credential\":%d,\"exception\":3}," PHC_FREE ",\"exceptions\":[{\"id\":1,"
        "\"listener\":\"mqtt\",\"allow\":1,\"role\":\"\",\"reason\":\"why\",\"created\":1,"
        "\"ends\":2}],\"principals\":[",
        2 * N, N + 1);
    assert_int_equal(buf_append(&text, slice_text(part), 1 << 20), OK);
    for (int i = 1; i <= N; i++) {
        (void)snprintf(part, sizeof part,
                       "%s{\"id\":%d,\"epoch\":%d,\"created\":5,\"name\":\"dev-%d\",\"role\":\"r\","
                       "\"status\":\"active\",\"reason\":\"\",\"attrs\":{},\"credentials\":[{"
                       "\"id\":%d,\"kind\":\"psk\",\"created\":5,\"used\":6,\"fingerprint\":"
                       "\"%064x\",\"psk\":\"616263646566676869%014x\"}]}",
                       i > 1 ? "," : "", 2 * i - 1, 800 + i % 100, i, i, i, i);
        assert_int_equal(buf_append(&text, slice_text(part), 1 << 20), OK);
    }
    assert_int_equal(buf_append(&text, slice_text("]}"), 1 << 20), OK);
    assert_int_equal(sealed_make(slice_of(test_master, sizeof test_master), "directory", &random,
                                 buf_slice(&text), 1 << 20, &file),
                     OK);
    assert_int_equal(disk_save(p->disk, DIRECTORY_FILE, buf_slice(&file)), OK);
}

static bool has_old(struct test_place *p)
{
    AUTO(buf_done) struct buf file = {0};
    return disk_load(p->disk, DIRECTORY_FILE, 1 << 20, &file) == OK;
}

static enum err import(struct test_place *p)
{
    return directory_import(&p->setup, p->disk, slice_of(test_master, sizeof test_master));
}

static void version_done(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

static void check_all(struct test_place *p)
{
    AUTO(version_done) const struct directory_version *v = directory_current(p->d);
    size_t n_exceptions = 0;
    assert_int_equal(directory_version_count(v), N);
    assert_int_equal(directory_version_epoch(v), 900);
    assert_int_equal(directory_version_policy_epoch(v), 2);
    assert_int_equal(directory_exceptions(v, &n_exceptions)->id, 1);
    assert_int_equal(n_exceptions, 1);
    for (int i = 1; i <= N; i++) {
        char name[16];
        uint8_t psk[PSK_KEY_MAX];
        size_t n = 0;
        (void)snprintf(name, sizeof name, "dev-%d", i);
        struct directory_live live = directory_live(v, slice_text(name), CREDENTIAL_PSK, 10);
        assert_int_equal(live.n, 1);
        assert_int_equal(live.entry->principal->id, 2 * i - 1);
        assert_int_equal(credential_psk(live.credentials[0], psk, &n), OK);
        assert_memory_equal(psk, "abcdefghi", 9);
        assert_true(keyring_has(p->setup.keyring, live.entry->principal->id));
    }
    const struct directory_damage none = {0};
    assert_memory_equal(directory_damage(p->d), &none, sizeof none);
}

static void imported(void **state)
{
    (void)state;
    struct test_place p;
    uint64_t id = 0;
    test_place_make(&p);
    assert_int_equal(test_place_start(&p), OK);
    assert_int_equal(import(&p), ERR_NOT_FOUND);
    write_old(&p);
    assert_int_equal(import(&p), OK);
    assert_false(has_old(&p));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(directory_open(&p.setup, &p.d), OK);
        check_all(&p);
        test_place_stop(&p);
        assert_int_equal(test_place_start(&p), OK);
    }
    /* a copy that somebody puts back does not turn the directory back */
    assert_int_equal(directory_open(&p.setup, &p.d), OK);
    assert_int_equal(directory_revoke(p.d, slice_text("dev-7"), slice_text("stolen")), OK);
    struct directory_order o = {.name = slice_text("new"), .role = slice_text("r")};
    assert_int_equal(directory_add(p.d, &o, TEST_NOW, &id, NULL), OK);
    assert_int_equal(id, 2 * N);
    write_old(&p);
    test_place_stop(&p);
    assert_int_equal(test_place_start(&p), OK);
    assert_int_equal(import(&p), OK);
    assert_false(has_old(&p));
    assert_int_equal(directory_open(&p.setup, &p.d), OK);
    AUTO(version_done) const struct directory_version *v = directory_current(p.d);
    assert_int_equal(directory_find(v, slice_text("dev-7"))->principal->status, PRINCIPAL_REVOKED);
    test_place_close(&p);
}

static void wrong_master(void **state)
{
    (void)state;
    struct test_place p;
    static const uint8_t other[32] = "another master key";
    test_place_make(&p);
    assert_int_equal(test_place_start(&p), OK);
    write_old(&p);
    assert_int_equal(directory_import(&p.setup, p.disk, slice_of(other, sizeof other)), ERR_CRYPTO);
    assert_true(has_old(&p));
    assert_int_equal(directory_open(&p.setup, &p.d), ERR_NOT_FOUND);
    test_place_close(&p);
}

/* ---- the disk stops at any of its operations ---- */

static struct disk_ops good_ops, failing_ops;
static long n_left; /* operations that still succeed; below 0: all */

static bool ends_here(void)
{
    n_left -= n_left > 0;
    return n_left == 0;
}

static enum err open_some(struct disk *d, const char *path, enum disk_mode mode,
                          struct disk_file **ret)
{
    return mode != DISK_READ && ends_here() ? ERR_IO : good_ops.open(d, path, mode, ret);
}

static enum err write_some(struct disk_file *f, uint64_t at, struct slice s)
{
    if (ends_here()) {
        (void)!good_ops.write_at(f, at, slice_head(s, s.n / 2)); /* torn */
        return ERR_IO;
    }
    return good_ops.write_at(f, at, s);
}

static enum err append_some(struct disk_file *f, struct slice s)
{
    return ends_here() ? ERR_IO : good_ops.append(f, s);
}

static enum err sync_some(struct disk_file *f)
{
    return ends_here() ? ERR_IO : good_ops.sync(f);
}

static enum err rename_some(struct disk *d, const char *from, const char *to)
{
    return ends_here() ? ERR_IO : good_ops.rename(d, from, to);
}

static enum err remove_some(struct disk *d, const char *path)
{
    return ends_here() ? ERR_IO : good_ops.remove(d, path);
}

static enum err reserve_some(struct disk_file *f, uint64_t size)
{
    return ends_here() ? ERR_IO : good_ops.reserve(f, size);
}

/* From the n-th change on nothing succeeds any more; n below 0: the disk is well. */
static void set_end(struct test_place *p, long n)
{
    if (p->disk->ops != &failing_ops) {
        good_ops = *p->disk->ops;
        failing_ops = good_ops;
        failing_ops.open = open_some;
        failing_ops.write_at = write_some;
        failing_ops.append = append_some;
        failing_ops.sync = sync_some;
        failing_ops.rename = rename_some;
        failing_ops.remove = remove_some;
        failing_ops.reserve = reserve_some;
        p->disk->ops = &failing_ops;
    }
    n_left = n;
}

static void killed_midway(void **state)
{
    (void)state;
    enum err err = ERR_IO;
    for (long n = 1; err != OK; n++) {
        struct test_place p;
        test_place_make(&p);
        write_old(&p);
        assert_int_equal(test_place_start(&p), OK);
        set_end(&p, n);
        err = import(&p);
        set_end(&p, -1);
        test_place_stop(&p);
        assert_int_equal(test_place_start(&p), OK);
        /* old or new, never half: while the file is there, it is taken again */
        enum err again = import(&p);
        assert_true(again == OK || again == ERR_NOT_FOUND);
        assert_false(has_old(&p));
        assert_int_equal(directory_open(&p.setup, &p.d), OK);
        check_all(&p);
        test_place_close(&p);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(imported), cmocka_unit_test(wrong_master),
                                       cmocka_unit_test(killed_midway)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
