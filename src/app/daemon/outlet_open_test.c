#include "app/daemon/outlet_open.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    struct courier_sink sink;
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    (void)snprintf(p->folder, sizeof p->folder, "/tmp/outlet_open.XXXXXX");
    p->sink = (struct courier_sink){.way = COURIER_FILE, .file_bytes = 10, .files_kept = 2};
    if (mkdtemp(p->folder) == NULL) {
        return 1;
    }
    (void)snprintf(p->sink.path, sizeof p->sink.path, "%s/a.jsonl", p->folder);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    DIR *d = opendir(p->folder);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
    rmdir(p->folder);
    free(p);
    return 0;
}

static void append(const struct place *p, const char *text)
{
    int fd = outlet_open(&p->sink);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void assert_holds(const struct place *p, const char *more, const char *want)
{
    char name[256], got[64] = "";
    (void)snprintf(name, sizeof name, "%s%s", p->sink.path, more);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (want == NULL) {
        assert_int_equal(fd, -1);
        return;
    }
    assert_true(fd >= 0 && read(fd, got, sizeof got - 1) >= 0);
    assert_string_equal(got, want);
    close(fd);
}

static void test_rotation(void **state)
{
    const struct place *p = *state;
    struct stat s;
    mode_t before = umask(0);
    append(p, "11111111\n"); /* one less than the bound */
    assert_int_equal(stat(p->sink.path, &s), 0);
    assert_int_equal(s.st_mode & 0777, OUTLET_FILE_MODE);
    umask(before);
    append(p, "2"); /* it is reached */
    assert_holds(p, ".1", NULL);
    append(p, "3333333333\n");
    assert_holds(p, "", "3333333333\n");
    assert_holds(p, ".1", "11111111\n2");
    append(p, "4444444444\n");
    append(p, "5\n");
    assert_holds(p, "", "5\n");
    assert_holds(p, ".1", "4444444444\n");
    assert_holds(p, ".2", "3333333333\n");
    assert_holds(p, ".3", NULL);
}

static void test_what_is_no_plain_file_is_refused(void **state)
{
    const struct place *p = *state;
    char other[128];
    (void)snprintf(other, sizeof other, "%s/other", p->folder);
    close(open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(symlink(other, p->sink.path), 0);
    assert_int_equal(outlet_open(&p->sink), -1);
    assert_int_equal(unlink(p->sink.path), 0);
    assert_int_equal(link(other, p->sink.path), 0);
    assert_int_equal(outlet_open(&p->sink), -1);
    assert_int_equal(unlink(p->sink.path), 0);
    assert_int_equal(mkfifo(p->sink.path, 0600), 0);
    assert_int_equal(outlet_open(&p->sink), -1);
    assert_int_equal(unlink(p->sink.path), 0);
    struct courier_sink s = p->sink;
    (void)snprintf(s.path, sizeof s.path, "%s/gone/a.jsonl", p->folder);
    assert_int_equal(outlet_open(&s), -1);
}

static void test_journald(void **state)
{
    const struct place *p = *state;
    struct courier_sink s = {.way = COURIER_JOURNALD};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(s.path, sizeof s.path, "%s/socket", p->folder);
    assert_int_equal(outlet_open(&s), -1);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s/socket", p->folder);
    int to = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(to, (const struct sockaddr *)(const void *)&a, sizeof a), 0);
    int fd = outlet_open(&s);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "A=1\n", 4, 0), 4);
    close(fd);
    close(to);
    assert_int_equal(outlet_open(&s), -1);
    memset(s.path, 'a', sizeof a.sun_path);
    s.path[0] = '/';
    s.path[sizeof a.sun_path] = '\0';
    assert_int_equal(outlet_open(&s), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_plain_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_journald, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
