#include "net/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

struct pair {
    struct loop_source source[2];
    struct loop *loop;
    int peer[2];
    int n_called;
};

static struct pair *the_pair; /* one test at a time */

static void remove_both(struct loop_source *s, uint32_t events)
{
    (void)s;
    (void)events;
    the_pair->n_called++;
    loop_remove(the_pair->loop, &the_pair->source[0]);
    loop_remove(the_pair->loop, &the_pair->source[1]);
}

static void removed_in_the_same_turn_is_not_called(void **state)
{
    (void)state;
    struct pair p = {0};
    size_t n = 0;
    the_pair = &p;
    assert_int_equal(loop_new(&p.loop), OK);
    for (int i = 0; i < 2; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        p.peer[i] = fds[1];
        p.source[i] = (struct loop_source){.fd = fds[0], .ready = remove_both};
        assert_int_equal(loop_add(p.loop, &p.source[i], EPOLLIN), OK);
        assert_int_equal(loop_add(p.loop, &p.source[i], EPOLLIN), ERR_EXISTS);
    }
    loop_wake(p.loop);
    assert_int_equal(loop_turn(p.loop, 1000, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(p.n_called, 1);
    assert_int_equal(loop_turn(p.loop, 0, &n), OK);
    assert_int_equal(n, 0);
    for (int i = 0; i < 2; i++) {
        close(p.source[i].fd);
        close(p.peer[i]);
    }
    p.loop = loop_free(p.loop);
}

static void *wake_it(void *loop)
{
    for (int i = 0; i < 100; i++) {
        loop_wake(loop);
    }
    return NULL;
}

static void wakes_from_another_thread(void **state)
{
    (void)state;
    struct loop *l = NULL;
    pthread_t t;
    size_t n = 7;
    assert_int_equal(loop_new(&l), OK);
    assert_int_equal(pthread_create(&t, NULL, wake_it, l), 0);
    assert_int_equal(loop_turn(l, -1, &n), OK); /* would wait for ever */
    pthread_join(t, NULL);
    assert_int_equal(loop_turn(l, 0, &n), OK);
    assert_int_equal(n, 0);
    l = loop_free(l);
    assert_null(loop_free(NULL));
}

static void timeouts(void **state)
{
    (void)state;
    assert_int_equal(loop_timeout(5, UINT64_MAX), -1);
    assert_int_equal(loop_timeout(5, 5), 0);
    assert_int_equal(loop_timeout(5, 4), 0);
    assert_int_equal(loop_timeout(5, 6), 1);
    assert_int_equal(loop_timeout(5, UINT64_MAX - 1), 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(removed_in_the_same_turn_is_not_called),
                                       cmocka_unit_test(wakes_from_another_thread),
                                       cmocka_unit_test(timeouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
