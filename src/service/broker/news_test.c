/* Who is woken for news, and that none waits for ever. */
#include "service/broker/news.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "base/scope.h"

static void test_the_first_wakes(void **state)
{
    (void)state;
    AUTO(ring_done) struct ring r = {0};
    struct news n = {.is_fresh = false};
    uint32_t item = 1;
    assert_int_equal(ring_init(&r, sizeof(item), 8), OK);
    assert_true(news_look_at_ms(&n, 100) == UINT64_MAX);
    assert_int_equal(ring_push(&r, &item), OK);
    assert_true(news_brought(&n, &r));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ring_push(&r, &item), OK);
        assert_false(news_brought(&n, &r));
    }
    assert_int_equal(ring_push(&r, &item), OK);
    assert_true(news_brought(&n, &r)); /* five of eight: before there is no room */
    while (ring_pop(&r, &item)) {
        news_taken(&n);
    }
    assert_true(news_look_at_ms(&n, 200) == 200 + NEWS_PAUSE_MS);
    assert_int_equal(ring_push(&r, &item), OK);
    assert_false(news_brought(&n, &r)); /* it looks anyway */
    assert_true(ring_pop(&r, &item));
    news_taken(&n);
    assert_true(news_look_at_ms(&n, 210) == 210 + NEWS_PAUSE_MS);
    /* Nothing came: one more look, for what came in this moment; then who brings wakes. */
    assert_true(news_look_at_ms(&n, 220) == 220);
    assert_true(news_look_at_ms(&n, 220) == UINT64_MAX);
    assert_int_equal(ring_push(&r, &item), OK);
    assert_true(news_brought(&n, &r));
}

enum { ITEMS = 50000 };

struct post {
    struct ring ring;
    struct news news;
    sem_t called;
};

static void *bring(void *arg)
{
    struct post *p = arg;
    for (uint32_t i = 0; i < ITEMS;) {
        if (ring_push(&p->ring, &i) != OK) {
            continue; /* the taker is awake, or was woken when it became half full */
        }
        i++;
        if (news_brought(&p->news, &p->ring)) {
            assert_int_equal(sem_post(&p->called), 0);
        }
    }
    return NULL;
}

/* The taker's pauses are left out: it sleeps without an end only where it is to be woken. */
static void test_nothing_is_left_behind(void **state)
{
    (void)state;
    struct post p = {.news = {.is_fresh = false}};
    pthread_t thread;
    uint32_t item, expected = 0;
    assert_int_equal(ring_init(&p.ring, sizeof(item), 64), OK);
    assert_int_equal(sem_init(&p.called, 0, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, bring, &p), 0);
    while (expected < ITEMS) {
        while (ring_pop(&p.ring, &item)) {
            assert_int_equal(item, expected++);
            news_taken(&p.news);
        }
        if (news_look_at_ms(&p.news, 0) == UINT64_MAX && expected < ITEMS) {
            while (sem_wait(&p.called) != 0) {
            }
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(sem_destroy(&p.called), 0);
    ring_done(&p.ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_first_wakes),
                                       cmocka_unit_test(test_nothing_is_left_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
