#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "service/broker/worker_story_test.h"

/* An edition that says when it is gone. */
struct made {
    struct edition edition; /* first */
    bool *is_gone;
};

static void release(const struct edition *e)
{
    struct made *m = (struct made *)(uintptr_t)e;
    *m->is_gone = true;
    mem_free(m);
}

static const struct edition *make(uint64_t number, uint32_t packet_bytes, bool *is_gone)
{
    struct made *m = mem_zalloc(sizeof *m);
    assert_non_null(m);
    m->edition = (struct edition){.number = number, .limits = LIMITS_DEFAULT, .release = release};
    m->edition.limits.packet_bytes = packet_bytes;
    atomic_init(&m->edition.refs, 1);
    m->is_gone = is_gone;
    return &m->edition;
}

static void test_references(void **state)
{
    bool is_gone = false;
    (void)state;
    const struct edition *e = make(1, 1024, &is_gone);
    assert_ptr_equal(edition_ref(e), e);
    assert_null(edition_unref(e));
    assert_false(is_gone);
    assert_null(edition_unref(e));
    assert_true(is_gone);
    assert_null(edition_ref(NULL));
    assert_null(edition_unref(NULL));
}

static void comes(struct bench *b, const struct edition *e)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        struct wmsg m = {
            .kind = WMSG_REALM, .realm = realm_ref(b->realm), .edition = edition_ref(e)};
        must(ring_push(&b->service[i], &m));
    }
    edition_unref(e);
    settle(b);
}

/* A PUBLISH of 5,000 bytes from `from` to `to` of it. */
static void publishes_some(struct bench *b, struct party *p, size_t from, size_t to)
{
    static uint8_t payload[4900], bytes[5200];
    struct mqtt_publish m = {.topic = slice_text("t"),
                             .qos = 1,
                             .packet_id = 7,
                             .payload = slice_of(payload, sizeof(payload))};
    struct wr w = wr_into(bytes, sizeof(bytes));
    must(mqtt_publish_encode(&m, MQTT_V5, &w));
    struct slice all = wr_slice(&w);
    give(b, p, slice_from(slice_head(all, to < all.n ? to : all.n), from));
    settle(b);
}

/* Who is there keeps what CONNACK told; who comes gets the new limits. */
static void test_limits_of_the_connection(void **state)
{
    struct bench *b = *state;
    struct party *old = &b->parties[0], *fresh = &b->parties[1];
    bool is_gone = false;
    is_in(b, old, device_at(b, 1, 0), &(struct hello){.client_id = "old"});
    publishes_some(b, old, 0, 2000);
    comes(b, make(2, 1024, &is_gone));
    publishes_some(b, old, 2000, SIZE_MAX);
    EXPECT(old, "puback 7; ");
    is_in(b, fresh, device_at(b, 0, 0), &(struct hello){.client_id = "fresh"});
    publishes_some(b, fresh, 0, SIZE_MAX);
    EXPECT(fresh, "disconnect 95; ");
    publishes_some(b, old, 0, SIZE_MAX);
    EXPECT(old, "puback 7; ");
    assert_false(is_gone);
}

/* A login that is half here when an edition comes goes on by its own terms, over the hand-over too;
 * an edition that no worker has any more is gone. */
static void test_in_a_login(void **state)
{
    static const char long_id[] = "an-id-of-more-than-thirty-characters";
    for (size_t cut = 1; cut < 40; cut++) {
        struct bench *b = *state;
        struct party *p = &b->parties[0];
        bool is_gone = false, is_next_gone = false;
        uint8_t bytes[512];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct hello hello = {.client_id = long_id};
        p->version = MQTT_V5;
        write_hello(&hello, &w);
        assert_true(arrives(b, p, 0, device_at(b, 1, 0)));
        give(b, p, slice_head(wr_slice(&w), cut));
        const struct edition *narrow = make(2, 1024, &is_gone);
        ((struct edition *)(uintptr_t)narrow)->limits.client_id_bytes = 23;
        comes(b, narrow);
        give(b, p, slice_from(wr_slice(&w), cut));
        settle(b);
        EXPECT(p, "connack 00; ");
        connects(b, &b->parties[1], device_at(b, 1, 1), &hello);
        settle(b);
        EXPECT(&b->parties[1], "connack 85; ");
        comes(b, make(3, 1024 * 264, &is_next_gone));
        assert_true(is_gone && !is_next_gone);
        is_cut(b, p);
        is_cut(b, &b->parties[1]);
        settle(b);
        pass(b, 2000);
        close_bench(state);
        assert_true(is_next_gone);
        open_bench(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test_setup_teardown(test_limits_of_the_connection, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_in_a_login, open_bench, close_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
