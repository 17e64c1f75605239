#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/admin/undo.h"
#include "service/broker/kept_test.h"

enum { HEARD = 7, ERASED = 8, CAP = 16 };

struct undo_place {
    struct kept kept;
    struct admin_setup setup;
};

static int64_t wall_now_ms;

static uint64_t mono_ms(void *ctx)
{
    (void)ctx;
    return 1000;
}

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return wall_now_ms;
}

static int setup(void **state)
{
    static struct undo_place p;
    const uint64_t owners[] = {HEARD, ERASED};
    struct clock clock = clock_system();
    wall_now_ms = 1700000000000;
    kept_open(&p.kept, 1, &clock);
    assert_int_equal(keyring_add(p.kept.keyring, owners, COUNT_OF(owners)), OK);
    p.setup = (struct admin_setup){.disk = p.kept.disk,
                                   .keyring = p.kept.keyring,
                                   .random = random_system(),
                                   .clock = {mono_ms, mono_ms, wall_ms, NULL}};
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct undo_place *p = *state;
    kept_close(&p->kept);
    return 0;
}

static struct msg *make(const char *topic, uint64_t publisher, uint64_t expires_at_ms)
{
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text(topic), (struct slice){0}, slice_text("payload"), &m), OK);
    m->publisher = publisher;
    m->qos = 1;
    m->retain = true;
    m->expires_at_ms = expires_at_ms;
    m->content_format = 60;
    return m;
}

static uint64_t saved(struct undo_place *p, size_t want)
{
    uint64_t id = 0;
    size_t kept = 0;
    struct msg *msgs[] = {make("a/1", HEARD, UINT64_MAX), make("a/2", ERASED, 61000),
                          make("a/3", UINT64_C(1) << 63 | 5, UINT64_MAX),
                          make("a/4", 99, UINT64_MAX)}; /* 99 has no key any more */
    assert_int_equal(undo_begin(&p->setup, &id), OK);
    assert_int_equal(undo_save(&p->setup, id, 1, msgs, COUNT_OF(msgs), &kept), OK);
    assert_int_equal(kept, want);
    for (size_t i = 0; i < COUNT_OF(msgs); i++) {
        msg_unref(msgs[i]);
    }
    return id;
}

static size_t loaded(struct undo_place *p, uint64_t id, const char *topics)
{
    struct msg *msgs[CAP];
    char text[64] = {0};
    size_t n = 0;
    assert_int_equal(undo_load(&p->setup, id, 1, msgs, CAP, &n), OK);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s ",
                       SLICE_ARG(msgs[i]->topic));
        assert_true(slice_is(msgs[i]->payload, "payload"));
        assert_true(msgs[i]->retain && msgs[i]->qos == 1 && msgs[i]->content_format == 60);
        msg_unref(msgs[i]);
    }
    assert_string_equal(text, topics);
    return n;
}

static void test_round_trip(void **state)
{
    struct undo_place *p = *state;
    uint64_t id = saved(p, 3);
    assert_true(undo_has(&p->setup, id));
    assert_int_equal(loaded(p, id, "a/1 a/2 a/3 "), 3);
    struct msg *msgs[CAP];
    size_t n = 9;
    assert_int_equal(undo_load(&p->setup, id, 2, msgs, CAP, &n), ERR_NOT_FOUND);
    assert_int_equal(undo_load(&p->setup, id, 1, msgs, 2, &n), ERR_LIMIT);
    assert_int_equal(n, 0);
    /* the rest of a life is wall time: half of it has gone */
    wall_now_ms += 30000;
    assert_int_equal(undo_load(&p->setup, id, 1, msgs, CAP, &n), OK);
    assert_int_equal(msgs[1]->expires_at_ms, 31000);
    assert_int_equal(msgs[0]->expires_at_ms, UINT64_MAX);
    for (size_t i = 0; i < n; i++) {
        msg_unref(msgs[i]);
    }
    undo_drop(&p->setup, id);
    assert_false(undo_has(&p->setup, id));
}

/* `device remove` reaches it: the key is all that there was. */
static void test_erased(void **state)
{
    struct undo_place *p = *state;
    const uint64_t gone = ERASED;
    uint64_t id = saved(p, 3);
    assert_int_equal(keyring_erase(p->kept.keyring, &gone, 1), OK);
    assert_int_equal(loaded(p, id, "a/1 a/3 "), 2);
}

static void test_damaged(void **state)
{
    struct undo_place *p = *state;
    char path[64];
    struct msg *msgs[CAP];
    struct buf file = {0};
    size_t n;
    uint64_t id = saved(p, 3);
    (void)snprintf(path, sizeof path, "undo/%llu.1", (unsigned long long)id);
    assert_int_equal(disk_load(p->kept.disk, path, 1 << 20, &file), OK);
    for (size_t i = 0; i < file.n; i += 7) {
        file.p[i] ^= 1;
        assert_int_equal(disk_save(p->kept.disk, path, buf_slice(&file)), OK);
        assert_int_not_equal(undo_load(&p->setup, id, 1, msgs, CAP, &n), OK);
        assert_int_equal(n, 0);
        file.p[i] ^= 1;
    }
    assert_int_equal(disk_save(p->kept.disk, path, slice_head(buf_slice(&file), file.n - 1)), OK);
    assert_int_not_equal(undo_load(&p->setup, id, 1, msgs, CAP, &n), OK);
    buf_done(&file);
}

/* A day, and ten: an eleventh purge drops the oldest record. */
static void test_kept(void **state)
{
    struct undo_place *p = *state;
    uint64_t first = saved(p, 3), last = first;
    for (unsigned i = 1; i < UNDO_KEPT; i++) {
        last = saved(p, 3); /* all in one second: each has an id of its own */
        assert_int_equal(last, first + i);
    }
    assert_true(undo_has(&p->setup, first));
    last = saved(p, 3);
    assert_false(undo_has(&p->setup, first));
    assert_true(undo_has(&p->setup, first + 1));
    wall_now_ms += (int64_t)(UNDO_DAY_S + (last - first) - 1) * 1000;
    undo_sweep(&p->setup);
    assert_true(undo_has(&p->setup, last));
    assert_false(undo_has(&p->setup, last - 1));
    wall_now_ms += 1000;
    undo_sweep(&p->setup);
    assert_false(undo_has(&p->setup, last));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_round_trip), TEST(test_erased), TEST(test_damaged),
                                       TEST(test_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
