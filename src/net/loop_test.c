#include "net/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/ring.h"

struct pair {
    struct loop_source source[2];
    struct loop *loop;
    int peer[2];
    int n_called;
};

static struct pair *the_pair; /* one test at a time */

/* Two pipes whose ends `ready` is called for; the first n_ready of them have something to read. */
static void pair_begin(struct pair *p, void (*ready)(struct loop_source *s, uint32_t events),
                       int n_ready)
{
    *p = (struct pair){0};
    the_pair = p;
    assert_int_equal(loop_new(&p->loop), OK);
    for (int i = 0; i < 2; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        p->peer[i] = fds[1];
        p->source[i] = (struct loop_source){.fd = fds[0], .ready = ready};
        assert_int_equal(loop_add(p->loop, &p->source[i], EPOLLIN), OK);
        assert_int_equal(write(fds[1], "x", i < n_ready ? 1 : 0), i < n_ready ? 1 : 0);
    }
}

/* source[i].fd of -1: closed already. */
static void pair_end(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        close(p->peer[i]);
        if (p->source[i].fd >= 0) {
            close(p->source[i].fd);
        }
    }
    p->loop = loop_free(p->loop);
}

/* Only the first one was called, and after it nobody. */
static void assert_one_was_called(struct pair *p)
{
    size_t n = 0;
    assert_int_equal(loop_turn(p->loop, 1000, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(p->n_called, 1);
    assert_int_equal(loop_turn(p->loop, 0, &n), OK);
    assert_int_equal(n, 0);
}

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
    struct pair p;
    pair_begin(&p, remove_both, 2);
    assert_int_equal(loop_add(p.loop, &p.source[0], EPOLLIN), ERR_EXISTS);
    loop_wake(p.loop);
    assert_one_was_called(&p);
    pair_end(&p);
}

static void forget_and_close_both(struct loop_source *s, uint32_t events)
{
    (void)s;
    (void)events;
    the_pair->n_called++;
    for (int i = 0; i < 2; i++) {
        loop_forget(the_pair->loop, &the_pair->source[i]);
        close(the_pair->source[i].fd);
        the_pair->source[i].fd = -1;
    }
}

static void forgotten_ends_with_its_descriptor(void **state)
{
    (void)state;
    struct pair p;
    pair_begin(&p, forget_and_close_both, 2);
    assert_one_was_called(&p);
    pair_end(&p);
}

static void count_call(struct loop_source *s, uint32_t events)
{
    (void)s;
    (void)events;
    the_pair->n_called++;
}

static void served_one_by_one(void **state)
{
    (void)state;
    struct pair p;
    pair_begin(&p, count_call, 2);
    for (int round = 0; round < 2; round++) {
        p.n_called = 0;
        assert_int_equal(loop_wait(p.loop, 1000), OK);
        assert_true(loop_serve_one(p.loop));
        assert_int_equal(p.n_called, 1);
        if (round == 1) { /* whoever does something in between may end the other */
            loop_remove(p.loop, &p.source[0]);
            loop_remove(p.loop, &p.source[1]);
        }
        assert_int_equal(loop_serve_one(p.loop), round == 0);
        assert_false(round == 0 && loop_serve_one(p.loop));
        assert_int_equal(p.n_called, round == 0 ? 2 : 1);
    }
    pair_end(&p);
}

/* So many of two pipes have something to read. */
static bool is_lone_with(int n_ready)
{
    struct pair p;
    pair_begin(&p, count_call, n_ready);
    assert_int_equal(loop_wait(p.loop, 0), OK);
    bool is_lone = loop_is_lone(p.loop);
    assert_int_equal(loop_serve(p.loop), n_ready);
    assert_false(loop_is_lone(p.loop)); /* not any more */
    pair_end(&p);
    return is_lone;
}

static void lone_is_one_source(void **state)
{
    (void)state;
    assert_false(is_lone_with(0));
    assert_true(is_lone_with(1));
    assert_false(is_lone_with(2));
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

/* Two loops as two workers: what is pushed before a wake is found behind the wait that it ends.
 * Both wait for ever, so a wake that is lost is a test that hangs. */
enum { THROWS = 20000, BURST = 7 };

struct player {
    struct loop *loop;
    struct player *other;
    struct ring in;
    unsigned n_caught;
};

static void throw_one(struct player *p, unsigned number)
{
    assert_int_equal(ring_push(&p->other->in, &number), OK);
    loop_wake(p->other->loop);
}

/* In bursts, so that some wakes come while the other is awake; every item is thrown back. */
static void *play(void *arg)
{
    struct player *p = arg;
    while (p->n_caught < THROWS) {
        unsigned number;
        assert_int_equal(loop_wait(p->loop, -1), OK);
        (void)loop_serve(p->loop);
        while (ring_pop(&p->in, &number)) {
            assert_int_equal(number, p->n_caught);
            p->n_caught++;
            if (number + BURST < THROWS) {
                throw_one(p, number + BURST);
            }
        }
    }
    return NULL;
}

static void no_wake_is_lost(void **state)
{
    (void)state;
    struct player players[2] = {{.other = &players[1]}, {.other = &players[0]}};
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(loop_new(&players[i].loop), OK);
        assert_int_equal(ring_init(&players[i].in, sizeof(unsigned), 2 * BURST), OK);
    }
    for (unsigned i = 0; i < BURST; i++) {
        throw_one(&players[0], i);
        throw_one(&players[1], i);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(players[i].n_caught, THROWS);
    }
    for (size_t i = 0; i < 2; i++) {
        ring_done(&players[i].in);
        players[i].loop = loop_free(players[i].loop);
    }
}

static struct loop *woken_loop;
static int n_wakes_served;

static void wake_own(struct loop_source *s, uint32_t events)
{
    (void)s;
    (void)events;
    n_wakes_served++;
    loop_wake(woken_loop);
}

/* A wake while sources are served may be about what the turn looks at next, so it is not one for
 * the turn behind it; one that comes after that is. */
static void awake_it_is_called_once(void **state)
{
    (void)state;
    size_t n = 0;
    int fds[2];
    struct loop_source s = {.ready = wake_own};
    assert_int_equal(loop_new(&woken_loop), OK);
    assert_int_equal(pipe(fds), 0);
    s.fd = fds[0];
    assert_int_equal(loop_add(woken_loop, &s, EPOLLIN), OK);
    for (int i = 0; i < 3; i++) {
        loop_wake(woken_loop);
    }
    assert_int_equal(loop_turn(woken_loop, -1, &n), OK); /* would wait for ever */
    assert_int_equal(n, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(loop_turn(woken_loop, -1, &n), OK); /* the pipe, which calls */
    assert_int_equal(n, 1);
    assert_int_equal(n_wakes_served, 1);
    assert_int_equal(read(fds[0], &n, 1), 1);
    loop_wake(woken_loop);
    assert_int_equal(loop_turn(woken_loop, -1, &n), OK);
    assert_int_equal(n, 0);
    loop_remove(woken_loop, &s);
    close(fds[0]);
    close(fds[1]);
    woken_loop = loop_free(woken_loop);
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
                                       cmocka_unit_test(forgotten_ends_with_its_descriptor),
                                       cmocka_unit_test(served_one_by_one),
                                       cmocka_unit_test(lone_is_one_source),
                                       cmocka_unit_test(wakes_from_another_thread),
                                       cmocka_unit_test(no_wake_is_lost),
                                       cmocka_unit_test(awake_it_is_called_once),
                                       cmocka_unit_test(timeouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
