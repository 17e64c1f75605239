/* A renewed certificate on its way into a bundle, and what a crash at each step leaves. */
#include "app/cli/agent_swap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/tree_test.h"

struct place {
    char dir[40];
};

static void put(const struct place *p, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static const char *get(const struct place *p, const char *name, char dst[64])
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, dst, 63) : -1;
    dst[n >= 0 ? n : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? dst : NULL;
}

static void expect(const struct place *p, const char *cert, const char *key, const char *ca)
{
    char text[64];
    assert_string_equal(get(p, "cert.pem", text), cert);
    assert_string_equal(get(p, "key.pem", text), key);
    assert_string_equal(get(p, "ca.pem", text), ca);
}

static bool is_there(const struct place *p, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    return access(path, F_OK) == 0;
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memcpy(p->dir, "/tmp/sallyport-agent-XXXXXX", sizeof "/tmp/sallyport-agent-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    put(p, "cert.pem", "old cert");
    put(p, "key.pem", "old key");
    put(p, "ca.pem", "old ca");
    put(p, "password.txt", "stays");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    (void)tree_remove(p->dir);
    test_free(p);
    return 0;
}

static void keep(const struct place *p, const char *cert, const char *key, const char *ca)
{
    struct why why = {{0}};
    assert_int_equal(
        agent_swap_keep(p->dir, slice_text(key), slice_text(cert), slice_text(ca), &why), OK);
}

static void kept_then_taken(void **state)
{
    const struct place *p = *state;
    struct why why = {{0}};
    struct stat st;
    char path[128], text[64];
    AUTO(buf_done) struct buf key = {0};
    AUTO(buf_done) struct buf cert = {0};
    AUTO(buf_done) struct buf ca = {0};
    assert_int_equal(agent_swap_kept(p->dir, &key, &cert, &ca), ERR_NOT_FOUND);
    keep(p, "c1", "k1", "a1");
    keep(p, "c2", "k2", "a2"); /* the one before was never proven */
    expect(p, "old cert", "old key", "old ca");
    assert_int_equal(agent_swap_kept(p->dir, &key, &cert, &ca), OK);
    assert_true(slice_is(buf_slice(&key), "k2"));
    assert_true(slice_is(buf_slice(&cert), "c2"));
    assert_true(slice_is(buf_slice(&ca), "a2"));
    assert_int_equal(agent_swap_take(p->dir, &why), OK);
    expect(p, "c2", "k2", "a2");
    assert_string_equal(get(p, "password.txt", text), "stays");
    assert_false(is_there(p, ".renewed"));
    assert_false(is_there(p, ".proven"));
    (void)snprintf(path, sizeof path, "%s/key.pem", p->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(agent_swap_take(p->dir, &why), ERR_NOT_FOUND);
    assert_int_equal(agent_swap_finish(p->dir, &why), OK);
}

/* Killed behind each file. */
static void an_interrupted_taking_is_finished(void **state)
{
    static const char *const names[] = {"ca.pem", "cert.pem", "key.pem"};
    const struct place *p = *state;
    struct why why = {{0}};
    for (size_t moved = 0; moved <= COUNT_OF(names); moved++) {
        char from[128], to[128];
        keep(p, "c", "k", "a");
        (void)snprintf(from, sizeof from, "%s/.renewed", p->dir);
        (void)snprintf(to, sizeof to, "%s/.proven", p->dir);
        assert_int_equal(rename(from, to), 0);
        for (size_t i = 0; i < moved; i++) {
            (void)snprintf(from, sizeof from, "%s/.proven/%s", p->dir, names[i]);
            (void)snprintf(to, sizeof to, "%s/%s", p->dir, names[i]);
            assert_int_equal(rename(from, to), 0);
        }
        assert_int_equal(agent_swap_finish(p->dir, &why), OK);
        expect(p, "c", "k", "a");
        assert_false(is_there(p, ".proven"));
        put(p, "cert.pem", "old cert");
    }
}

static void a_half_kept_one_is_none(void **state)
{
    const struct place *p = *state;
    struct why why = {{0}};
    AUTO(buf_done) struct buf key = {0};
    AUTO(buf_done) struct buf cert = {0};
    AUTO(buf_done) struct buf ca = {0};
    char path[128];
    keep(p, "c", "k", "a");
    (void)snprintf(path, sizeof path, "%s/.renewed/cert.pem", p->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(agent_swap_kept(p->dir, &key, &cert, &ca), ERR_NOT_FOUND);
    assert_int_equal(agent_swap_drop(p->dir, &why), OK);
    assert_false(is_there(p, ".renewed"));
    assert_int_equal(agent_swap_drop(p->dir, &why), OK);
    expect(p, "old cert", "old key", "old ca");
    assert_int_equal(agent_swap_finish("/nowhere/at/all", &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_then_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupted_taking_is_finished, setup, teardown),
        cmocka_unit_test_setup_teardown(a_half_kept_one_is_none, setup, teardown),
    };
    return cmocka_run_group_tests_name("agent_swap", tests, NULL, NULL);
}
