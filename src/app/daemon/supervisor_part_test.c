/* Who does not answer, and who only stood still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/daemon/supervisor_part.h"

enum { SILENT_MAX = 3, DAY_MS = 86400000 };

struct pair {
    struct part p;
    int other;
};

static int setup(void **state)
{
    static struct pair pair;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    pair = (struct pair){.p = {.what = "test", .link_fd = fds[0], .silent_max = SILENT_MAX},
                         .other = fds[1]};
    *state = &pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    close(pair->p.link_fd);
    close(pair->other);
    return 0;
}

static unsigned asked(const struct pair *pair)
{
    struct message m;
    unsigned n = 0;
    while (message_receive(pair->other, &m) == OK) {
        n += m.type == MESSAGE_ALIVE ? 1 : 0;
    }
    return n;
}

static void who_answers_lives(void **state)
{
    struct pair *pair = *state;
    uint64_t now = 1000;
    part_watch(&pair->p, now);
    for (unsigned i = 0; i < 10 * SILENT_MAX; i++) {
        assert_int_equal(pair->p.alive_at_ms, now + PART_ALIVE_MS);
        now = pair->p.alive_at_ms;
        assert_true(part_is_alive(&pair->p, now));
        assert_int_equal(asked(pair), 1);
        pair->p.n_silent = 0; /* it answered */
    }
}

static void who_is_silent_hangs_once(void **state)
{
    struct pair *pair = *state;
    part_watch(&pair->p, 0);
    for (unsigned i = 0; i < SILENT_MAX; i++) {
        assert_true(part_is_alive(&pair->p, pair->p.alive_at_ms));
    }
    assert_int_equal(asked(pair), 1); /* what it does not read is not asked again */
    assert_false(part_is_alive(&pair->p, pair->p.alive_at_ms));
    assert_true(pair->p.alive_at_ms == UINT64_MAX);
}

/* The whole machine slept, or all of a container: one turn, however long. */
static void who_stood_still_with_us_does_not_hang(void **state)
{
    struct pair *pair = *state;
    part_watch(&pair->p, 0);
    assert_true(part_is_alive(&pair->p, pair->p.alive_at_ms));
    assert_true(part_is_alive(&pair->p, DAY_MS));
    pair->p.n_silent = 0;
    for (unsigned i = 0; i < SILENT_MAX; i++) {
        assert_true(part_is_alive(&pair->p, pair->p.alive_at_ms));
    }
    assert_false(part_is_alive(&pair->p, pair->p.alive_at_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_answers_lives, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_silent_hangs_once, setup, teardown),
        cmocka_unit_test_setup_teardown(who_stood_still_with_us_does_not_hang, setup, teardown)};
    return cmocka_run_group_tests_name("supervisor_part", tests, NULL, NULL);
}
