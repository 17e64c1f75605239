#include "service/courier/outlet.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void put(struct buf *b, const char *text)
{
    assert_int_equal(buf_append(b, slice_text(text), SIZE_MAX), OK);
}

static void put_frame(struct buf *b, const char *text)
{
    const uint8_t front[] = {0, 0, 0, (uint8_t)strlen(text)};
    assert_int_equal(buf_append(b, slice_of(front, sizeof front), SIZE_MAX), OK);
    put(b, text);
}

static int temporary(void)
{
    char name[] = "/tmp/outlet_test.XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    unlink(name);
    return fd;
}

static void assert_content(int fd, const char *want)
{
    char got[256] = "";
    assert_int_equal(pread(fd, got, sizeof got - 1, 0), (ssize_t)strlen(want));
    assert_string_equal(got, want);
}

static void test_lines_are_appended(void **state)
{
    struct outlet o;
    struct buf lines = {0};
    int fd = temporary();
    (void)state;
    outlet_begin(fd, &o);
    put(&lines, "{1}\n{2}\n");
    assert_int_equal(outlet_append(&o, &lines), OK);
    assert_int_equal(lines.n, 0);
    assert_int_equal(outlet_bytes(&o), 8);
    assert_int_equal(outlet_sync(&o), OK);
    assert_content(fd, "{1}\n{2}\n");
    buf_done(&lines);
    close(fd);
}

static void test_a_torn_line_gets_its_end(void **state)
{
    struct outlet o;
    struct buf lines = {0};
    int fd = temporary();
    (void)state;
    assert_int_equal(write(fd, "{1}\n{\"to", 8), 8);
    outlet_begin(fd, &o);
    put(&lines, "{2}\n");
    assert_int_equal(outlet_append(&o, &lines), OK);
    assert_content(fd, "{1}\n{\"to\n{2}\n");
    buf_done(&lines);
    close(fd);
}

/* A file system that takes half of it. */
static void test_what_does_not_fit_leaves_nothing(void **state)
{
    struct outlet o;
    struct buf lines = {0};
    struct rlimit before, small;
    int fd = temporary();
    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(write(fd, "{1}\n", 4), 4);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    outlet_begin(fd, &o);
    put(&lines, "{2222222222}\n");
    enum err err = outlet_append(&o, &lines);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_SPACE);
    assert_true(outlet_error(&o)[0] != '\0');
    assert_content(fd, "{1}\n");
    assert_int_equal(lines.n, 13);
    buf_done(&lines);
    close(fd);
}

static void test_datagrams_wait_for_room(void **state)
{
    struct outlet o;
    struct buf frames = {0};
    int pair[2];
    char got[64];
    unsigned n_sent = 0, n_got = 0;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), 0);
    outlet_begin(pair[0], &o);
    put_frame(&frames, "A=1\n");
    put_frame(&frames, "B=2\n");
    assert_int_equal(outlet_send(&o, &frames), OK);
    assert_int_equal(frames.n, 0);
    assert_int_equal(recv(pair[1], got, sizeof got, 0), 4);
    assert_memory_equal(got, "A=1\n", 4);
    assert_int_equal(recv(pair[1], got, sizeof got, 0), 4);
    while (outlet_send(&o, &frames) == OK && n_sent < 100000) {
        put_frame(&frames, "C=3\n");
        n_sent++;
    }
    assert_true(n_sent > 1 && n_sent < 100000 && frames.n == 8);
    while (recv(pair[1], got, sizeof got, 0) == 4) {
        n_got++;
    }
    assert_int_equal(n_got, n_sent - 1);
    assert_int_equal(outlet_send(&o, &frames), OK);
    close(pair[1]);
    put_frame(&frames, "D=4\n");
    assert_int_equal(outlet_send(&o, &frames), ERR_IO);
    assert_int_equal(frames.n, 8);
    buf_done(&frames);
    close(pair[0]);
}

static void test_a_torn_frame_is_refused(void **state)
{
    struct outlet o;
    struct buf frames = {0};
    (void)state;
    outlet_begin(-1, &o);
    assert_int_equal(buf_append(&frames, slice_of("\0\0\0\5abc", 7), SIZE_MAX), OK);
    assert_int_equal(outlet_send(&o, &frames), ERR_MALFORMED);
    buf_done(&frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_appended),
        cmocka_unit_test(test_a_torn_line_gets_its_end),
        cmocka_unit_test(test_what_does_not_fit_leaves_nothing),
        cmocka_unit_test(test_datagrams_wait_for_room),
        cmocka_unit_test(test_a_torn_frame_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
