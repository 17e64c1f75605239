#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "service/pki/master_key.h"

static char dir[] = "/tmp/sallyport-key-XXXXXX";
static char path[64];
static char link_path[64];

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/key", dir);
    (void)snprintf(link_path, sizeof link_path, "%s/link", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(link_path);
    (void)rmdir(dir);
    return 0;
}

static void create_and_open(void **state)
{
    (void)state;
    struct random_source random = random_system();
    AUTO(secret_autofree) struct secret *made = NULL;
    AUTO(secret_autofree) struct secret *read = NULL;
    AUTO(secret_autofree) struct secret *none = NULL;
    struct why why = {""};
    assert_int_equal(master_key_open(path, &none, &why), ERR_NOT_FOUND);
    assert_int_equal(master_key_create(path, &random, &made, &why), OK);
    assert_int_equal(secret_bytes(made).n, MASTER_KEY_BYTES);
    assert_int_equal(master_key_create(path, &random, &none, &why), ERR_EXISTS);
    assert_int_equal(master_key_open(path, &read, &why), OK);
    assert_true(secret_equal(secret_bytes(made), secret_bytes(read)));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void refused(void **state)
{
    (void)state;
    AUTO(secret_autofree) struct secret *key = NULL;
    static const mode_t modes[] = {0640, 0604, 0660, 0601, 0620, 0777};
    struct why why = {""};
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(master_key_open(path, &key, &why), ERR_DENIED);
        assert_non_null(strstr(why.text, "chmod 600")); /* names the fix */
    }
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(symlink(path, link_path), 0);
    assert_int_equal(master_key_open(link_path, &key, &why), ERR_DENIED);
    assert_int_equal(master_key_open(dir, &key, &why), ERR_DENIED);
    assert_int_equal(truncate(path, MASTER_KEY_BYTES - 1), 0);
    assert_int_equal(master_key_open(path, &key, &why), ERR_CONFIG);
    assert_int_equal(truncate(path, MASTER_KEY_BYTES + 1), 0);
    assert_int_equal(master_key_open(path, &key, &why), ERR_CONFIG);
    assert_int_equal(truncate(path, MASTER_KEY_BYTES), 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(master_key_read(fd, path, false, &key, &why), OK);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(create_and_open),
                                       cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
