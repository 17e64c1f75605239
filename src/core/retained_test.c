#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "core/oracle_private.h"
#include "core/retained.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};

static struct retained *fresh(void)
{
    struct retained *r = NULL;
    assert_int_equal(retained_new(&KEY, &r), OK);
    return r;
}

static const struct msg *make(struct slice topic, uint64_t number, uint64_t expires_at_ms)
{
    struct msg *m = NULL;
    char text[24];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    assert_int_equal(msg_new(topic, (struct slice){0}, slice_of(text, (size_t)n), &m), OK);
    m->number = number;
    m->expires_at_ms = expires_at_ms;
    m->publisher = 100 + number;
    return m;
}

static struct retained_change put(struct retained *r, const char *topic, uint64_t number,
                                  uint64_t expires_at_ms)
{
    struct retained_change c;
    const struct msg *m = make(slice_text(topic), number, expires_at_ms);
    assert_int_equal(retained_put(r, m, &c), OK);
    msg_unref(m);
    return c;
}

static struct retained_change clear(struct retained *r, const char *topic, uint64_t number)
{
    struct retained_change c;
    assert_int_equal(retained_clear(r, slice_text(topic), number, &c), OK);
    return c;
}

/* The number of what is there for this topic; 0: nothing. */
static uint64_t number_of(struct retained *r, struct slice topic)
{
    const struct msg *m = retained_find(r, topic, 0);
    uint64_t publisher = 0;
    assert_true(retained_publisher(r, topic, 0, &publisher) == (m != NULL));
    assert_true(m == NULL || (m->publisher == publisher && slice_equal(m->topic, topic)));
    return m != NULL ? m->number : 0;
}

struct seen {
    size_t n, most;
    uint64_t sum;
    struct slice filter;
};

static bool on_each(void *ctx, const struct msg *m)
{
    struct seen *seen = ctx;
    assert_true(oracle_matches(seen->filter, m->topic));
    seen->n++;
    seen->sum += m->number;
    return seen->n < seen->most;
}

static struct seen look(struct retained *r, struct slice filter, uint64_t now_ms, size_t most)
{
    struct seen seen = {.filter = filter, .most = most};
    retained_match(r, filter, now_ms, on_each, &seen);
    return seen;
}

static void test_highest_number_wins(void **state)
{
    (void)state;
    struct retained *r = fresh();
    struct retained_change c = put(r, "a", 5, UINT64_MAX);
    assert_true(c.is_applied);
    assert_int_equal(c.old_publisher, 0);
    uint64_t bytes = retained_bytes(r);
    assert_false(put(r, "a", 4, UINT64_MAX).is_applied);
    assert_false(put(r, "a", 5, UINT64_MAX).is_applied);
    assert_false(clear(r, "a", 3).is_applied);
    c = put(r, "a", 6, UINT64_MAX);
    assert_true(c.is_applied);
    assert_int_equal(c.old_publisher, 105);
    assert_int_equal(c.old_bytes, bytes);
    assert_int_equal(retained_count(r), 1);
    assert_int_equal(retained_bytes(r), bytes);
    assert_int_equal(retained_find(r, slice_text("a"), 0)->number, 6);

    c = clear(r, "a", 8);
    assert_true(c.is_applied);
    assert_int_equal(c.old_publisher, 106);
    assert_null(retained_find(r, slice_text("a"), 0));
    assert_int_equal(retained_count(r), 0);
    assert_int_equal(retained_bytes(r), 0);
    assert_int_equal(retained_marker_count(r), 1);
    assert_false(put(r, "a", 7, UINT64_MAX).is_applied); /* came late: the clear was later */
    c = put(r, "a", 9, UINT64_MAX);
    assert_true(c.is_applied);
    assert_int_equal(c.old_publisher, 0);
    assert_int_equal(retained_marker_count(r), 0);
    retained_free(r);
}

static void test_markers(void **state)
{
    (void)state;
    struct retained *r = fresh();
    clear(r, "c", 30);
    clear(r, "a", 10);
    clear(r, "b", 20);
    assert_false(put(r, "a", 9, UINT64_MAX).is_applied);
    retained_passed(r, 9);
    assert_int_equal(retained_marker_count(r), 3);
    retained_passed(r, 20);
    assert_int_equal(retained_marker_count(r), 1);
    retained_passed(r, 15);
    clear(r, "c", 31);
    assert_int_equal(retained_marker_count(r), 1);
    clear(r, "d", 12); /* passed by all already */
    assert_int_equal(retained_marker_count(r), 1);
    retained_free(r);
}

static void test_expiry(void **state)
{
    (void)state;
    struct retained *r = fresh();
    put(r, "a", 1, 1000);
    put(r, "b", 2, 2000);
    put(r, "c", 3, UINT64_MAX);
    assert_non_null(retained_find(r, slice_text("a"), 999));
    assert_null(retained_find(r, slice_text("a"), 1000));
    assert_int_equal(look(r, slice_text("#"), 1000, 9).n, 2);
    assert_int_equal(retained_count(r), 3);
    assert_int_equal(retained_expire(r, 999, 9), 0);
    assert_int_equal(retained_expire(r, 2000, 1), 1);
    assert_int_equal(retained_expire(r, 2000, 9), 1);
    assert_int_equal(retained_count(r), 1);
    /* An expired message still bars older ones. */
    assert_int_equal(retained_marker_count(r), 2);
    assert_false(put(r, "b", 1, UINT64_MAX).is_applied);
    retained_passed(r, 3);
    assert_int_equal(retained_marker_count(r), 0);
    put(r, "c", 4, 3000); /* one that never expired is replaced by one that does */
    assert_int_equal(retained_expire(r, 2999, 9), 0);
    put(r, "c", 5, UINT64_MAX); /* and the other way round */
    assert_int_equal(retained_expire(r, 9999, 9), 0);
    assert_int_equal(retained_count(r), 1);
    retained_free(r);
}

/* A message that goes before its time leaves no timer behind. */
static void test_clear_before_expiry(void **state)
{
    (void)state;
    struct retained *r = fresh();
    put(r, "a", 1, 1000);
    put(r, "b", 2, 1000);
    clear(r, "a", 3);
    retained_passed(r, 3);
    assert_int_equal(retained_expire(r, 1000, 9), 1);
    assert_int_equal(retained_count(r), 0);
    retained_free(r);
}

static void on_gone(void *ctx, uint64_t publisher, uint64_t bytes)
{
    uint64_t *sums = ctx;
    sums[0] += publisher;
    sums[1] += bytes;
}

static void test_expiry_is_told(void **state)
{
    (void)state;
    struct retained *r = fresh();
    uint64_t sums[2] = {0};
    retained_watch(r, on_gone, sums);
    put(r, "a", 1, 10);
    put(r, "b", 2, 10);
    uint64_t bytes = retained_bytes(r);
    assert_int_equal(retained_expire(r, 10, 99), 2);
    assert_int_equal(sums[0], 203);
    assert_int_equal(sums[1], bytes);
    retained_free(r);
}

static void test_match_stops(void **state)
{
    (void)state;
    struct retained *r = fresh();
    put(r, "a/b", 1, UINT64_MAX);
    put(r, "a/c", 2, UINT64_MAX);
    put(r, "d/c", 3, UINT64_MAX);
    assert_int_equal(look(r, slice_text("#"), 0, 9).n, 3);
    assert_int_equal(look(r, slice_text("#"), 0, 2).n, 2);
    assert_int_equal(look(r, slice_text("+/c"), 0, 1).n, 1);
    assert_int_equal(look(r, slice_text("+/c"), 0, 9).sum, 5);
    retained_free(r);
}

/* ---- several instances, one set of changes, any order ---- */

enum { N_CHANGES = 400, N_INSTANCES = 4, TEXT_BYTES = 64 };

struct change {
    char text[TEXT_BYTES];
    struct slice topic;
    const struct msg *msg; /* NULL: a clear */
    uint64_t number;
};

static void shuffle(const struct random_source *random, size_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(random, i), was = order[i - 1];
        order[i - 1] = order[j];
        order[j] = was;
    }
}

/* The last change of the topic, which is what every instance must hold. */
static const struct change *winner(const struct change *changes, struct slice topic)
{
    const struct change *best = NULL;
    for (size_t i = 0; i < N_CHANGES; i++) {
        if (slice_equal(changes[i].topic, topic) &&
            (best == NULL || changes[i].number > best->number)) {
            best = &changes[i];
        }
    }
    return best;
}

static void check_instance(struct retained *r, const struct change *changes,
                           const struct random_source *random)
{
    char text[TEXT_BYTES];
    size_t n_live = 0;
    for (size_t i = 0; i < N_CHANGES; i++) {
        const struct change *best = winner(changes, changes[i].topic);
        assert_int_equal(number_of(r, changes[i].topic), best->msg != NULL ? best->number : 0);
        n_live += best == &changes[i] && best->msg != NULL;
    }
    assert_int_equal(retained_count(r), n_live);
    for (size_t k = 0; k < 60; k++) {
        struct slice filter = oracle_text(random_u64(random), true, text);
        struct seen want = {0}, got = look(r, filter, 0, SIZE_MAX);
        for (size_t i = 0; i < N_CHANGES; i++) {
            const struct change *c = &changes[i];
            if (c->msg != NULL && winner(changes, c->topic) == c &&
                oracle_matches(filter, c->topic)) {
                want.n++;
                want.sum += c->number;
            }
        }
        assert_int_equal(got.n, want.n);
        assert_int_equal(got.sum, want.sum);
    }
}

static void test_all_end_equal(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct random_source random = random_seeded(&seed);
    static struct change changes[N_CHANGES];
    size_t order[N_CHANGES];
    shuffle(&random, order, N_CHANGES);
    for (size_t i = 0; i < N_CHANGES; i++) {
        struct change *c = &changes[i];
        c->number = order[i] + 1;
        c->topic = oracle_text(random_u64(&random), false, c->text);
        c->msg = random_below(&random, 3) > 0 ? make(c->topic, c->number, UINT64_MAX) : NULL;
    }
    for (size_t k = 0; k < N_INSTANCES; k++) {
        struct retained *r = fresh();
        shuffle(&random, order, N_CHANGES);
        for (size_t i = 0; i < N_CHANGES; i++) {
            const struct change *c = &changes[order[i]];
            struct retained_change change;
            if (c->msg != NULL) {
                assert_int_equal(retained_put(r, c->msg, &change), OK);
            } else {
                assert_int_equal(retained_clear(r, c->topic, c->number, &change), OK);
            }
        }
        check_instance(r, changes, &random);
        retained_passed(r, N_CHANGES);
        assert_int_equal(retained_marker_count(r), 0);
        check_instance(r, changes, &random);
        retained_free(r);
    }
    for (size_t i = 0; i < N_CHANGES; i++) {
        if (changes[i].msg != NULL) {
            assert_int_equal(changes[i].msg->refs, 1);
        }
        msg_unref(changes[i].msg);
    }
}

static void test_slashes(void **state)
{
    (void)state;
    enum { MANY = 65535 };
    struct retained *r = fresh();
    char *text = mem_alloc(MANY);
    assert_non_null(text);
    memset(text, '/', MANY);
    const struct msg *m = make(slice_of(text, MANY), 1, UINT64_MAX);
    struct retained_change c;
    struct seen seen = {.most = 9};
    assert_int_equal(retained_put(r, m, &c), OK);
    msg_unref(m);
    for (size_t i = 0; i < MANY; i += 2) {
        text[i] = '+';
    }
    retained_match(r, slice_of(text, MANY), 0, on_each, &seen); /* half as deep: no message */
    assert_int_equal(seen.n, 0);
    memset(text, '/', MANY);
    assert_non_null(retained_find(r, slice_of(text, MANY), 0));
    assert_int_equal(retained_clear(r, slice_of(text, MANY), 2, &c), OK);
    assert_int_equal(retained_count(r), 0);
    mem_free(text);
    retained_free(r);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        mem_fail_after(n);
        struct retained *r = NULL;
        struct retained_change c;
        const struct msg *m = NULL;
        bool failed = retained_new(&KEY, &r) != OK;
        if (!failed) {
            struct msg *made = NULL;
            failed =
                msg_new(slice_text("a/b/c"), (struct slice){0}, (struct slice){0}, &made) != OK;
            m = made;
        }
        if (m != NULL && retained_put(r, m, &c) != OK) {
            failed = true;
            assert_int_equal(retained_count(r), 0);
            assert_null(retained_find(r, slice_text("a/b/c"), 0));
            assert_int_equal(retained_put(r, m, &c), OK);
        }
        if (m != NULL && retained_clear(r, slice_text("x"), 1, &c) != OK) {
            failed = true;
            assert_int_equal(retained_marker_count(r), 0);
            assert_int_equal(retained_clear(r, slice_text("x"), 1, &c), OK);
        }
        if (m != NULL) {
            /* A clear of what is there needs no memory that it cannot do without. */
            assert_int_equal(retained_clear(r, slice_text("a/b/c"), 2, &c), OK);
            assert_int_equal(retained_count(r), 0);
            assert_int_equal(retained_marker_count(r), 2);
            retained_passed(r, 2);
            assert_int_equal(retained_marker_count(r), 0);
        }
        bool injected = mem_fail_after(-1) != 0;
        msg_unref(m);
        retained_free(r);
        if (!injected) {
            assert_false(failed);
            assert_true(n > 6);
            return;
        }
    }
}

/* What was reserved is put and cleared without memory, and what was not used leaves no trace. */
static void test_reserved(void **state)
{
    (void)state;
    static const char *const topics[] = {"a/b", "a/b/c", "new/one"};
    struct retained *r = fresh();
    struct retained_change c;
    (void)put(r, "a/b/c", 1, UINT64_MAX);
    (void)clear(r, "a/b", 2);
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        const struct msg *m = make(slice_text(topics[i]), 3 + i, UINT64_MAX);
        size_t n_before = retained_count(r), markers_before = retained_marker_count(r);
        assert_int_equal(retained_reserve(r, m), OK);
        retained_release(r, m);
        assert_int_equal(retained_count(r), n_before);
        assert_int_equal(retained_marker_count(r), markers_before);
        assert_int_equal(retained_reserve(r, m), OK);
        mem_fail_after(0);
        assert_int_equal(retained_put(r, m, &c), OK);
        assert_false(mem_fail_after(-1));
        assert_true(c.is_applied);
        assert_int_equal(number_of(r, m->topic), m->number);
        msg_unref(m);
    }
    assert_int_equal(retained_count(r), COUNT_OF(topics));
    assert_int_equal(retained_marker_count(r), 0);
    struct msg *empty = NULL;
    assert_int_equal(msg_new(slice_text("x"), (struct slice){0}, (struct slice){0}, &empty), OK);
    assert_int_equal(retained_reserve(r, empty), OK);
    mem_fail_after(0);
    assert_int_equal(retained_clear(r, empty->topic, 9, &c), OK);
    assert_false(mem_fail_after(-1));
    assert_int_equal(retained_marker_count(r), 1);
    msg_unref(empty);
    retained_free(r);
}

/* A message that expires needs more than one that does not: room for it is made when it is
 * reserved, whatever its topic has then. */
static void test_reserved_with_expiry(void **state)
{
    (void)state;
    static const char *const topics[] = {"message", "marker", "nothing"};
    struct retained *r = fresh();
    struct retained_change c;
    (void)put(r, "message", 1, UINT64_MAX);
    (void)clear(r, "before", 1);
    (void)clear(r, "marker", 2);
    (void)clear(r, "behind", 3);
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        const struct msg *m = make(slice_text(topics[i]), 4 + i, 1000);
        uint64_t before = number_of(r, m->topic);
        mem_fail_after(0);
        assert_int_equal(retained_reserve(r, m), ERR_NOMEM);
        assert_true(mem_fail_after(-1));
        assert_int_equal(retained_reserve(r, m), OK);
        assert_int_equal(number_of(r, m->topic), before);
        mem_fail_after(0);
        assert_int_equal(retained_put(r, m, &c), OK);
        assert_false(mem_fail_after(-1));
        assert_int_equal(c.old_publisher, before != 0 ? 101 : 0);
        assert_int_equal(number_of(r, m->topic), m->number);
        msg_unref(m);
    }
    assert_int_equal(retained_marker_count(r), 2);
    assert_int_equal(retained_expire(r, 1001, 9), COUNT_OF(topics));
    assert_int_equal(retained_count(r), 0);
    retained_passed(r, 3);
    assert_int_equal(retained_marker_count(r), COUNT_OF(topics));
    retained_passed(r, 6);
    assert_int_equal(retained_marker_count(r), 0);
    retained_free(r);
}

static void assert_same_message(const struct msg *m, const struct msg *want)
{
    assert_non_null(m);
    assert_true(slice_equal(m->topic, want->topic));
    assert_true(slice_equal(m->props, want->props));
    assert_true(slice_equal(m->payload, want->payload));
    assert_int_equal(m->qos, want->qos);
    assert_int_equal(m->retain, want->retain);
    assert_int_equal(m->is_utf8, want->is_utf8);
    assert_int_equal(m->expires_at_ms, want->expires_at_ms);
    assert_int_equal(m->publisher, want->publisher);
    assert_int_equal(m->session, want->session);
    assert_int_equal(m->epoch, want->epoch);
    assert_int_equal(m->number, want->number);
    assert_int_equal(m->body_id, want->body_id);
    assert_int_equal(m->for_group, want->for_group);
    assert_int_equal(m->segment, want->segment);
    assert_int_equal(m->content_format, want->content_format);
    assert_int_equal(msg_cost(m), msg_cost(want));
}

/* Small ones are packed, the last one that is and the first one that is not among them: what comes
 * out is what went in, and its cost is the same. */
static void test_packed(void **state)
{
    (void)state;
    static const uint8_t bytes[300] = {1, 2, 3, [150] = 4, [183] = 5, [184] = 6, [299] = 7};
    struct retained *r = fresh();
    struct retained_change c;
    for (size_t n = 1; n < sizeof(bytes); n++) {
        struct msg *m = NULL;
        size_t n_props = n % 3 == 0 ? n / 2 : 0;
        assert_int_equal(msg_new(slice_text("a//b/c"), slice_of(bytes, n_props),
                                 slice_of(bytes + n_props, n - n_props), &m),
                         OK);
        m->qos = (uint8_t)(n % 3);
        m->retain = n % 5 != 0;
        m->is_utf8 = n % 2 == 0;
        m->expires_at_ms = n % 4 == 0 ? UINT64_MAX : 1000 + n;
        m->publisher = 7 + n % 9;
        m->session = 5 + n % 2;
        m->epoch = n;
        m->number = n;
        m->body_id = n * 3;
        m->for_group = n % 50 == 0 ? 9 : 0;
        m->segment = (uint32_t)(n % 6);
        m->content_format = n % 7 == 0 ? 40 : UINT16_MAX;
        assert_int_equal(retained_put(r, m, &c), OK);
        assert_int_equal(retained_bytes(r), msg_cost(m));
        assert_int_equal(retained_count(r), 1);
        const struct msg *shown = retained_find(r, m->topic, 0);
        assert_same_message(shown, m);
        assert_ptr_equal(retained_find(r, m->topic, 0), shown);
        if (n == 64) { /* no memory: not shown, and there when there is some */
            assert_int_equal(put(r, "other", 65, UINT64_MAX).is_applied, true);
            assert_int_equal(number_of(r, slice_text("other")), 65);
            mem_fail_after(0);
            assert_null(retained_find(r, m->topic, 0));
            assert_true(mem_fail_after(-1));
            assert_same_message(retained_find(r, m->topic, 0), m);
            assert_true(clear(r, "other", 66).is_applied);
        }
        msg_unref(m);
    }
    retained_free(r);
}

/* ---- cursors ---- */

enum { N_TOPICS = 120, N_ROUNDS = 40 };

struct walk {
    struct retained *r;
    struct retained_cursor cursor;
    struct slice filter;
    uint64_t number;
    char text[N_TOPICS][TEXT_BYTES];
    struct slice topic[N_TOPICS];
    const struct msg *start[N_TOPICS]; /* shared: what is due, until it is changed or seen */
};

static void walk_change(struct walk *w, const struct random_source *random)
{
    size_t i = random_below(random, N_TOPICS);
    struct retained_change c;
    w->number++;
    if (random_below(random, 3) == 0) {
        assert_int_equal(retained_clear(w->r, w->topic[i], w->number, &c), OK);
    } else {
        const struct msg *m = make(w->topic[i], w->number, UINT64_MAX);
        assert_int_equal(retained_put(w->r, m, &c), OK);
        msg_unref(m);
    }
    if (random_below(random, 4) == 0) {
        retained_passed(w->r, w->number);
    }
    for (size_t k = 0; k < N_TOPICS; k++) { /* the list may name a topic twice */
        if (slice_equal(w->topic[k], w->topic[i])) {
            w->start[k] = msg_unref(w->start[k]);
        }
    }
}

/* What it brings is due, and is not due twice. */
static void walk_see(struct walk *w, const struct msg *m)
{
    bool is_due = false;
    for (size_t k = 0; k < N_TOPICS; k++) {
        if (w->start[k] != NULL && w->start[k]->number == m->number) {
            is_due = true;
            w->start[k] = msg_unref(w->start[k]);
        }
    }
    assert_true(is_due);
    assert_true(oracle_matches(w->filter, m->topic));
}

static void walk_all(struct walk *w, const struct random_source *random)
{
    retained_cursor_init(w->r, w->filter, &w->cursor);
    while (w->cursor.node != NULL) {
        size_t steps = random_below(random, 4);
        const struct msg *m = retained_cursor_find(w->r, &w->cursor, 0, &steps);
        if (m != NULL && random_below(random, 2) == 0) {
            steps = 0;
            assert_ptr_equal(retained_cursor_find(w->r, &w->cursor, 0, &steps), m);
            walk_see(w, m);
            retained_cursor_next(w->r, &w->cursor);
        }
        for (uint64_t n = random_below(random, 3); n > 0; n--) {
            walk_change(w, random);
        }
    }
    retained_cursor_done(w->r, &w->cursor);
}

static bool count_one(void *ctx, const struct msg *m)
{
    (void)m;
    (*(uint64_t *)ctx)++;
    return true;
}

static void check_estimate(struct retained *r, struct slice filter)
{
    uint64_t n = 0;
    retained_match(r, filter, 0, count_one, &n);
    assert_int_equal(retained_estimate(r, filter, SIZE_MAX), n);
    for (size_t steps = 0; steps < 40; steps++) {
        assert_true(retained_estimate(r, filter, steps) >= n);
    }
}

/* While everything changes, a walk brings each message that was there all the time, once, and none
 * that came later; and nothing stays behind that is not a message's. */
static void test_cursor_among_changes(void **state)
{
    (void)state;
    uint64_t seed = 11;
    struct random_source random = random_seeded(&seed);
    static struct walk w;
    for (size_t round = 0; round < N_ROUNDS; round++) {
        char filter[TEXT_BYTES];
        w = (struct walk){.r = fresh()};
        w.filter = round == 0 ? slice_text("#") : oracle_text(random_u64(&random), true, filter);
        for (size_t i = 0; i < N_TOPICS; i++) {
            w.topic[i] = oracle_text(random_u64(&random), false, w.text[i]);
        }
        for (size_t i = 0; i < N_TOPICS; i++) {
            walk_change(&w, &random);
        }
        check_estimate(w.r, w.filter);
        for (size_t i = 0; i < N_TOPICS; i++) {
            const struct msg *m = retained_find(w.r, w.topic[i], 0);
            w.start[i] = m != NULL && oracle_matches(w.filter, w.topic[i]) ? msg_ref(m) : NULL;
        }
        walk_all(&w, &random);
        for (size_t i = 0; i < N_TOPICS; i++) {
            assert_null(w.start[i]);
        }
        check_estimate(w.r, w.filter);
        for (size_t i = 0; i < N_TOPICS; i++) {
            clear(w.r, (const char *)w.text[i], ++w.number);
        }
        retained_passed(w.r, w.number);
        assert_int_equal(retained_estimate(w.r, slice_text("#"), 1), 0);
        retained_free(w.r);
    }
}

/* "#" is one place, whatever is below; '$' is not below it; and who stops early says too much. */
static void test_estimate(void **state)
{
    (void)state;
    struct retained *r = fresh();
    put(r, "a/1/x", 1, UINT64_MAX);
    put(r, "a/2/x", 2, UINT64_MAX);
    put(r, "b/1/x", 3, UINT64_MAX);
    put(r, "$a/1", 4, UINT64_MAX);
    assert_int_equal(retained_estimate(r, slice_text("#"), 1), 3);
    assert_int_equal(retained_estimate(r, slice_text("$a/#"), 2), 1);
    assert_int_equal(retained_estimate(r, slice_text("a/#"), 2), 2);
    assert_int_equal(retained_estimate(r, slice_text("a/+/y"), 4), 0);
    assert_int_equal(retained_estimate(r, slice_text("a/+/y"), 3), 2);
    assert_int_equal(retained_estimate(r, slice_text("+/+/x"), 2), 4);
    put(r, "a/1/x", 5, UINT64_MAX); /* replaced: counted once */
    assert_int_equal(retained_estimate(r, slice_text("#"), 1), 3);
    clear(r, "$a/1", 6);
    clear(r, "a/1/x", 7);
    assert_int_equal(retained_estimate(r, slice_text("#"), 1), 2);
    retained_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_among_changes),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_highest_number_wins),
        cmocka_unit_test(test_markers),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_is_told),
        cmocka_unit_test(test_clear_before_expiry),
        cmocka_unit_test(test_match_stops),
        cmocka_unit_test(test_all_end_equal),
        cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_reserved_with_expiry),
        cmocka_unit_test(test_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
