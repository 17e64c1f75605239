#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "core/filters.h"
#include "core/oracle_private.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};

static struct filters *fresh(void)
{
    struct filters *f = NULL;
    assert_int_equal(filters_new(&KEY, &f), OK);
    return f;
}

static struct sub *add(struct filters *f, const char *filter, struct subscriber *s)
{
    struct sub *sub = NULL;
    struct interest_change c;
    assert_int_equal(filters_add(f, slice_text(filter), s, &sub, &c), OK);
    assert_true(slice_is(sub_filter(sub), filter));
    return sub;
}

static void remove_all(struct filters *f, struct subscriber *s)
{
    list_for_each_safe (node, next, &s->subs) {
        struct interest_change c;
        filters_remove(f, LIST_ENTRY(node, struct sub, in_subscriber), &c);
    }
    assert_int_equal(s->n_subs, 0);
}

static struct match match(struct filters *f, const char *topic)
{
    struct match m;
    assert_int_equal(filters_match(f, slice_text(topic), NULL, &m), OK);
    return m;
}

static void test_overlap(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber one, two;
    subscriber_init(&one, SUBSCRIBER_SESSION, true);
    subscriber_init(&two, SUBSCRIBER_OBSERVER, false);
    struct sub *a = add(f, "a/#", &one), *b = add(f, "a/+", &one), *c = add(f, "a/b", &one);
    struct sub *d = add(f, "a/b", &two);
    a->qos = 0;
    a->id = 7;
    b->qos = 2;
    b->id = 8;
    c->qos = 1;
    c->retain_as_published = true;
    d->qos = 1;
    d->id = 9;
    struct match m = match(f, "a/b");
    assert_int_equal(m.n_hits, 2);
    assert_true(m.local_durable);
    for (size_t i = 0; i < m.n_hits; i++) {
        const struct match_hit *hit = &m.hits[i];
        if (hit->subscriber == &one) {
            assert_int_equal(hit->qos, 2); /* SPEC: MQTT5-3.3.4-2 */
            assert_true(hit->retain_as_published);
            assert_int_equal(hit->n_ids, 2); /* SPEC: MQTT5-3.3.4-4 */
            assert_int_equal(m.ids[hit->ids_at] + m.ids[hit->ids_at + 1], 15);
        } else {
            assert_ptr_equal(hit->subscriber, &two);
            assert_false(hit->retain_as_published);
            assert_int_equal(hit->n_ids, 1);
            assert_int_equal(m.ids[hit->ids_at], 9);
        }
    }
    m = match(f, "a");
    assert_int_equal(m.n_hits, 1);
    assert_int_equal(m.hits[0].qos, 0);
    assert_ptr_equal(m.hits[0].first, a);
    assert_int_equal(match(f, "b").n_hits, 0);
    assert_ptr_equal(filters_find(f, slice_text("a/+"), &one), b);
    assert_null(filters_find(f, slice_text("a/+"), &two));
    assert_null(filters_find(f, slice_text("x"), &two));
    assert_int_equal(filters_count(f), 3);
    assert_int_equal(filters_sub_count(f), 4);
    remove_all(f, &one);
    remove_all(f, &two);
    assert_int_equal(filters_count(f), 0);
    filters_free(f);
}

static void test_no_local(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber one, two;
    subscriber_init(&one, SUBSCRIBER_SESSION, true);
    subscriber_init(&two, SUBSCRIBER_SESSION, false);
    struct sub *sub = add(f, "a", &one);
    sub->no_local = true;
    sub->id = 5;
    add(f, "a", &two)->id = 6;
    struct match m;
    assert_int_equal(filters_match(f, slice_text("a"), &one, &m), OK);
    assert_int_equal(m.n_hits, 1); /* SPEC: MQTT5-3.8.3-3 */
    assert_ptr_equal(m.hits[0].subscriber, &two);
    assert_int_equal(m.ids[m.hits[0].ids_at], 6);
    assert_false(m.local_durable);
    assert_int_equal(filters_match(f, slice_text("a"), &two, &m), OK);
    assert_int_equal(m.n_hits, 2);
    remove_all(f, &one);
    remove_all(f, &two);
    filters_free(f);
}

static void test_pending(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber one;
    subscriber_init(&one, SUBSCRIBER_SESSION, true);
    struct sub *exact = add(f, "a", &one), *wild = add(f, "+", &one);
    exact->is_pending = wild->is_pending = true;
    exact->id = 4;
    wild->id = 5;
    struct match m = match(f, "a");
    assert_int_equal(m.n_hits, 0);
    assert_false(m.local_durable);
    wild->is_pending = false;
    m = match(f, "a");
    assert_int_equal(m.n_hits, 1);
    assert_int_equal(m.hits[0].n_ids, 1);
    assert_int_equal(m.ids[m.hits[0].ids_at], 5);
    remove_all(f, &one);
    filters_free(f);
}

struct told {
    size_t n;
    struct interest_change last;
    bool durable;
};

static void on_changed(void *ctx, struct slice filter, const struct interest_change *c)
{
    struct told *told = ctx;
    assert_true(slice_is(filter, "a") || slice_is(filter, "b/+"));
    told->n++;
    told->last = *c;
}

static void on_local(void *ctx, struct slice filter, bool durable)
{
    struct told *told = ctx;
    assert_true(slice_is(filter, "a") || slice_is(filter, "b/+"));
    told->n++;
    told->durable = durable;
}

#define CHANGE(wa, wd, ia, id)                                                                     \
    (struct interest_change)                                                                       \
    {                                                                                              \
        (wa), (wd), (ia), (id)                                                                     \
    }

static void expect_change(const struct interest_change *got, struct interest_change want)
{
    assert_int_equal(got->was_any, want.was_any);
    assert_int_equal(got->was_durable, want.was_durable);
    assert_int_equal(got->is_any, want.is_any);
    assert_int_equal(got->is_durable, want.is_durable);
}

static void test_interest(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber light, firm;
    subscriber_init(&light, SUBSCRIBER_SESSION, false);
    subscriber_init(&firm, SUBSCRIBER_SESSION, true);
    struct interest_change c;
    struct sub *a_light = NULL, *a_firm = NULL, *again = NULL;
    struct slice a = slice_text("a");
    assert_int_equal(filters_add(f, a, &light, &a_light, &c), OK);
    expect_change(&c, CHANGE(false, false, true, false));
    assert_int_equal(filters_add(f, a, &firm, &a_firm, &c), OK);
    expect_change(&c, CHANGE(true, false, true, true));
    assert_int_equal(filters_add(f, a, &firm, &again, &c), ERR_EXISTS);
    assert_ptr_equal(again, a_firm);
    add(f, "b/+", &firm);

    struct told told = {0};
    filters_each_local(f, on_local, &told);
    assert_int_equal(told.n, 2);
    told = (struct told){0};
    filters_set_durable(f, &firm, false, on_changed, &told);
    assert_int_equal(told.n, 2);
    expect_change(&told.last, CHANGE(true, true, true, false));
    filters_set_durable(f, &firm, false, on_changed, &told);
    assert_int_equal(told.n, 2);
    filters_set_durable(f, &light, true, on_changed, &told);
    filters_set_durable(f, &firm, true, on_changed, &told);
    assert_int_equal(told.n, 4); /* "a" was durable already */

    filters_remove(f, a_firm, &c);
    assert_false(interest_changed(&c));
    filters_remove(f, a_light, &c);
    expect_change(&c, CHANGE(true, true, false, false));
    remove_all(f, &firm);
    filters_free(f);
}

static void test_remote(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber s;
    subscriber_init(&s, SUBSCRIBER_SESSION, false);
    assert_int_equal(filters_set_remote(f, slice_text("a/+"), 0, true, false), OK);
    assert_int_equal(filters_set_remote(f, slice_text("a/b"), 63, true, true), OK);
    struct match m = match(f, "a/b");
    assert_int_equal(m.n_hits, 0);
    assert_true(m.remote_any == (1 | UINT64_C(1) << 63));
    assert_true(m.remote_durable == UINT64_C(1) << 63);
    assert_true(match(f, "a/c").remote_any == 1);
    /* A filter lives while either side holds it. */
    add(f, "a/b", &s);
    assert_int_equal(filters_set_remote(f, slice_text("a/b"), 63, false, false), OK);
    assert_int_equal(match(f, "a/b").n_hits, 1);
    assert_int_equal(filters_set_remote(f, slice_text("a/b"), 1, true, false), OK);
    remove_all(f, &s);
    assert_true(match(f, "a/b").remote_any == 3);
    assert_int_equal(filters_set_remote(f, slice_text("a/b"), 1, false, false), OK);
    assert_int_equal(filters_set_remote(f, slice_text("nobody"), 1, false, false), OK);
    assert_int_equal(filters_count(f), 1);
    struct told told = {0};
    filters_each_local(f, on_local, &told);
    assert_int_equal(told.n, 0);
    filters_free(f);
}

/* ---- against the obvious model ---- */

enum { N_SUBSCRIBERS = 6, N_STEPS = 6000, TEXT_BYTES = 64 };

struct world {
    struct filters *f;
    struct subscriber s[N_SUBSCRIBERS];
    uint64_t seed;
    struct random_source random;
};

/* What the tree should say, from the subscribers' own lists. */
static void check_match(struct world *w, struct slice topic, const struct subscriber *from)
{
    struct match m;
    assert_int_equal(filters_match(w->f, topic, from, &m), OK);
    size_t n_hits = 0;
    bool local_durable = false;
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        struct subscriber *s = &w->s[i];
        size_t n = 0, n_ids = 0;
        uint64_t ids_sum = 0;
        uint8_t qos = 0;
        bool retain_as_published = false;
        list_for_each (node, &s->subs) {
            const struct sub *sub = LIST_ENTRY(node, struct sub, in_subscriber);
            if (oracle_matches(sub_filter(sub), topic) && !(sub->no_local && s == from)) {
                n++;
                qos = sub->qos > qos ? sub->qos : qos;
                retain_as_published = retain_as_published || sub->retain_as_published;
                n_ids += sub->id != 0;
                ids_sum += sub->id;
            }
        }
        n_hits += n > 0;
        local_durable = local_durable || (n > 0 && s->is_durable);
        const struct match_hit *hit = NULL;
        for (size_t h = 0; h < m.n_hits; h++) {
            if (m.hits[h].subscriber == s) {
                assert_null(hit);
                hit = &m.hits[h];
            }
        }
        assert_int_equal(hit != NULL, n > 0);
        if (hit != NULL) {
            assert_int_equal(hit->qos, qos);
            assert_int_equal(hit->retain_as_published, retain_as_published);
            assert_int_equal(hit->n_ids, n_ids);
            for (size_t k = 0; k < n_ids; k++) {
                ids_sum -= m.ids[hit->ids_at + k];
            }
            assert_int_equal(ids_sum, 0);
        }
    }
    assert_int_equal(m.n_hits, n_hits);
    assert_int_equal(m.local_durable, local_durable);
}

static void step(struct world *w)
{
    char text[TEXT_BYTES];
    uint64_t r = random_u64(&w->random);
    struct slice filter = oracle_text(random_u64(&w->random), true, text);
    struct subscriber *s = &w->s[random_below(&w->random, N_SUBSCRIBERS)];
    struct sub *sub = filters_find(w->f, filter, s);
    struct interest_change c;
    if (sub == NULL) {
        assert_int_equal(filters_add(w->f, filter, s, &sub, &c), OK);
        sub->qos = (uint8_t)(r % 3);
        sub->no_local = (r & 8) != 0;
        sub->retain_as_published = (r & 16) != 0;
        sub->id = (r & 32) != 0 ? (uint32_t)(1 + (r >> 40)) : 0;
    } else {
        filters_remove(w->f, sub, &c);
        assert_null(filters_find(w->f, filter, s));
    }
    struct slice topic = oracle_text(random_u64(&w->random), false, text);
    for (int again = 0; again < 3; again++) { /* the third answer is one that was kept */
        check_match(w, topic, (r & 64) != 0 ? s : NULL);
    }
}

static void test_model(void **state)
{
    (void)state;
    struct world w = {.seed = 42, .f = fresh()};
    w.random = random_seeded(&w.seed);
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        subscriber_init(&w.s[i], SUBSCRIBER_SESSION, i % 2 == 0);
    }
    for (size_t i = 0; i < N_STEPS; i++) {
        step(&w);
    }
    for (size_t i = 0; i < N_SUBSCRIBERS; i++) {
        remove_all(w.f, &w.s[i]);
    }
    assert_int_equal(filters_count(w.f), 0);
    assert_int_equal(filters_sub_count(w.f), 0);
    filters_free(w.f);
}

/* Every allocation fails once: nothing changes, and the next attempt succeeds. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char *const FILTERS[] = {"a/b", "a/+/c/#", "#", "x"};
    struct subscriber s;
    for (long n = 0;; n++) {
        mem_fail_after(n);
        struct filters *f = NULL;
        bool failed = filters_new(&KEY, &f) != OK;
        subscriber_init(&s, SUBSCRIBER_SESSION, true);
        for (size_t i = 0; f != NULL && i < COUNT_OF(FILTERS); i++) {
            struct slice filter = slice_text(FILTERS[i]);
            struct sub *sub = NULL;
            struct interest_change c;
            if (filters_add(f, filter, &s, &sub, &c) != OK) {
                failed = true;
                assert_int_equal(filters_count(f), i);
                assert_int_equal(s.n_subs, i);
                assert_int_equal(filters_add(f, filter, &s, &sub, &c), OK);
            }
        }
        struct match m;
        if (f != NULL && filters_match(f, slice_text("a/b/c/d"), NULL, &m) != OK) {
            failed = true;
            assert_int_equal(filters_match(f, slice_text("a/b/c/d"), NULL, &m), OK);
        }
        if (f != NULL && filters_set_remote(f, slice_text("q/+"), 3, true, false) != OK) {
            failed = true;
            assert_int_equal(filters_count(f), COUNT_OF(FILTERS));
        }
        bool injected = mem_fail_after(-1) != 0;
        if (f != NULL) {
            assert_int_equal(m.n_hits, 1);
            remove_all(f, &s);
        }
        filters_free(f);
        if (!injected) {
            assert_false(failed);
            assert_true(n > 10);
            return;
        }
    }
}

/* So often that the answer is one that was kept. */
static struct match match_again(struct filters *f, const char *topic)
{
    (void)match(f, topic);
    (void)match(f, topic);
    return match(f, topic);
}

/* Whatever comes, goes or changes, the next match of a topic that is known says so. */
static void test_known_topic(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber one, two;
    struct interest_change c;
    subscriber_init(&one, SUBSCRIBER_SESSION, true);
    subscriber_init(&two, SUBSCRIBER_SESSION, false);
    assert_int_equal(match_again(f, "a/b").n_hits, 0);
    struct sub *exact = add(f, "a/b", &one); /* filters come */
    assert_int_equal(match(f, "a/b").n_hits, 1);
    assert_int_equal(match_again(f, "a/b").n_hits, 1);
    struct sub *wild = add(f, "a/#", &two);
    assert_int_equal(match(f, "a/b").n_hits, 2);
    assert_int_equal(match_again(f, "a/b").n_hits, 2);
    wild->is_pending = true; /* what is asked of each sub is not kept */
    assert_int_equal(match(f, "a/b").n_hits, 1);
    wild->is_pending = false;
    struct sub *same = add(f, "a/#", &one); /* a sub comes to a filter, and goes */
    same->qos = 2;
    struct match m = match_again(f, "a/b");
    assert_int_equal(m.n_hits, 2);
    assert_int_equal(m.hits[0].qos + m.hits[1].qos, 2);
    filters_remove(f, same, &c);
    m = match(f, "a/b");
    assert_int_equal(m.n_hits, 2);
    assert_int_equal(m.hits[0].qos + m.hits[1].qos, 0);
    assert_true(match_again(f, "a/b").local_durable);
    filters_remove(f, exact, &c); /* a filter goes */
    m = match(f, "a/b");
    assert_int_equal(m.n_hits, 1);
    assert_ptr_equal(m.hits[0].subscriber, &two);
    assert_false(match_again(f, "a/b").local_durable);
    assert_int_equal(filters_set_remote(f, slice_text("+/b"), 3, true, true),
                     OK); /* other workers */
    assert_int_equal(match(f, "a/b").remote_durable, 8);
    assert_int_equal(match_again(f, "a/b").remote_any, 8);
    assert_int_equal(filters_set_remote(f, slice_text("+/b"), 5, true, false), OK);
    assert_int_equal(match(f, "a/b").remote_any, 8 + 32);
    assert_int_equal(match_again(f, "a/b").remote_durable, 8);
    assert_int_equal(filters_set_remote(f, slice_text("+/b"), 3, false, false), OK);
    assert_int_equal(filters_set_remote(f, slice_text("+/b"), 5, false, false), OK);
    assert_int_equal(match(f, "a/b").remote_any, 0);
    remove_all(f, &two); /* as when its connection ends, or memory needs it */
    assert_int_equal(match(f, "a/b").n_hits, 0);
    assert_int_equal(match_again(f, "a/b").n_hits, 0);
    filters_free(f);
}

static void test_warm_match_allocates_nothing(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber s[40];
    char text[TEXT_BYTES];
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        subscriber_init(&s[i], SUBSCRIBER_SESSION, false);
        snprintf(text, sizeof text, "a/+/%zu/#", i);
        add(f, text, &s[i])->id = 1;
        add(f, "a/b/#", &s[i])->id = 2;
    }
    match(f, "a/b/7/d/e");
    mem_fail_after(0);
    struct match m = match(f, "a/b/7/d/e");
    m = match(f, "a/b/8/d/e");
    assert_int_equal(mem_fail_after(-1), 0);
    assert_int_equal(m.n_hits, COUNT_OF(s));
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        remove_all(f, &s[i]);
    }
    filters_free(f);
}

/* CVE-2019-11779 of a peer: tens of thousands of separators ended the stack. */
static void test_slashes(void **state)
{
    (void)state;
    enum { MANY = 65535 };
    struct filters *f = fresh();
    struct subscriber s;
    subscriber_init(&s, SUBSCRIBER_SESSION, false);
    char *text = mem_alloc(MANY);
    assert_non_null(text);
    memset(text, '/', MANY);
    struct sub *sub = NULL;
    struct interest_change c;
    struct match m;
    assert_int_equal(filters_add(f, slice_of(text, MANY), &s, &sub, &c), OK);
    assert_int_equal(filters_match(f, slice_of(text, MANY), NULL, &m), OK);
    assert_int_equal(m.n_hits, 1);
    for (size_t i = 0; i < MANY; i += 2) {
        text[i] = '+';
    }
    assert_int_equal(filters_add(f, slice_of(text, MANY), &s, &sub, &c), OK);
    memset(text, '/', MANY);
    assert_int_equal(filters_match(f, slice_of(text, MANY / 2), NULL, &m), OK);
    assert_int_equal(m.n_hits, 1);
    mem_free(text);
    remove_all(f, &s);
    assert_int_equal(filters_count(f), 0);
    filters_free(f);
}

/* Who seems to get it, for each way to a filter; nothing that is asked ahead changes an answer. */
static void test_ahead(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber s[4], *to[FILTERS_AHEAD];
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        subscriber_init(&s[i], SUBSCRIBER_SESSION, false);
    }
    struct slice none = slice_text("a/exact");
    filters_ahead(f, &none, 1, to); /* of an empty tree */
    assert_null(to[0]);
    add(f, "a/exact", &s[0]);
    add(f, "a/b/+", &s[1]);
    add(f, "a/c/#", &s[2]);
    add(f, "a/d/e/f/g/h/i/j/k/l/m/n/o/p/q/+", &s[3]);
    assert_int_equal(filters_set_remote(f, slice_text("a/remote"), 1, true, false), OK);
    static const struct {
        const char *topic;
        int to; /* -1: nobody, or too far away to be seen */
    } rows[FILTERS_AHEAD] = {{"a/exact", 0},
                             {"a/b/x", 1},
                             {"a/c/x/y", 2},
                             {"a/remote", -1},
                             {"a/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", -1},
                             {"", -1},
                             {"/", -1},
                             {"$SYS/x", -1}};
    struct slice topics[FILTERS_AHEAD];
    for (size_t i = 0; i < FILTERS_AHEAD; i++) {
        topics[i] = slice_text(rows[i].topic);
    }
    for (size_t n = 0; n <= FILTERS_AHEAD; n++) {
        filters_ahead(f, topics, n, to);
        for (size_t i = 0; i < n; i++) {
            assert_ptr_equal(to[i], rows[i].to < 0 ? NULL : &s[rows[i].to]);
        }
    }
    assert_ptr_equal(match(f, "a/b/x").hits[0].subscriber, &s[1]);
    assert_int_equal(match(f, "a/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r").n_hits, 1);
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        remove_all(f, &s[i]);
    }
    filters_free(f);
}

/* At the limit, and one under it. */
static void test_many(void **state)
{
    (void)state;
    struct filters *f = fresh();
    struct subscriber s;
    char text[32];
    subscriber_init(&s, SUBSCRIBER_SESSION, false);
    for (unsigned i = 0; i < FILTERS_MANY; i++) {
        assert_false(filters_are_many(f));
        (void)snprintf(text, sizeof(text), "a/%u/%s", i, i % 2 == 0 ? "x" : "+");
        add(f, text, &s);
    }
    assert_true(filters_are_many(f));
    remove_all(f, &s);
    assert_false(filters_are_many(f));
    filters_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlap),     cmocka_unit_test(test_no_local),
        cmocka_unit_test(test_pending),     cmocka_unit_test(test_interest),
        cmocka_unit_test(test_remote),      cmocka_unit_test(test_model),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_known_topic), cmocka_unit_test(test_warm_match_allocates_nothing),
        cmocka_unit_test(test_ahead),       cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
