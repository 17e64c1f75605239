#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "service/pki/key_source.h"
#include "service/pki/master_key.h"

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned source;
        const char *name;
        bool good;
    } cases[] = {
        {"/etc/sallyport.key", KEY_SOURCE_FILE, "/etc/sallyport.key", true},
        {"etc/sallyport.key", KEY_SOURCE_FILE, "etc/sallyport.key", false},
        {"", KEY_SOURCE_FILE, "", false},
        {"credential:sallyport.key", KEY_SOURCE_CREDENTIAL, "sallyport.key", true},
        {"credential:", KEY_SOURCE_CREDENTIAL, "", false},
        {"credential:../x", KEY_SOURCE_CREDENTIAL, "../x", false},
        {"credential:a/b", KEY_SOURCE_CREDENTIAL, "a/b", false},
        {"credential:.hidden", KEY_SOURCE_CREDENTIAL, ".hidden", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *name;
        const struct key_source *s = key_source_of(cases[i].text, &name);
        assert_int_equal(key_source_index(s), cases[i].source);
        assert_ptr_equal(key_source_at(cases[i].source), s);
        assert_string_equal(name, cases[i].name);
        assert_int_equal(s->check(slice_text(name)), cases[i].good);
    }
}

static void a_credential(void **state)
{
    char dir[] = "/tmp/sallyport-cred-XXXXXX", path[64];
    struct random_source random = random_system();
    struct secret *made = NULL, *read = NULL;
    const char *name;
    int fd = -1;
    struct why why = {{0}};
    (void)state;
    const struct key_source *s = key_source_of("credential:k", &name);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(s->open(name, &fd, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "LoadCredentialEncrypted=k"));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    assert_int_equal(s->open(name, &fd, &why), ERR_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/k", dir);
    assert_int_equal(master_key_create(path, &random, &made, &why), OK);
    assert_int_equal(chmod(path, 0440), 0); /* as systemd leaves it for a service's own user */
    assert_int_equal(s->open(name, &fd, &why), OK);
    assert_int_equal(master_key_read(fd, "k", false, &read, &why), ERR_DENIED);
    assert_int_equal(master_key_read(fd, "k", s->group_may_read, &read, &why), OK);
    assert_true(slice_equal(secret_bytes(made), secret_bytes(read)));
    (void)close(fd);
    read = secret_free(read);
    made = secret_free(made);
    (void)unlink(path);
    (void)rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(a_credential)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
