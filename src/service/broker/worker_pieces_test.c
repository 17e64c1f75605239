/* Packets that a read has cut: they are joined, alone, and say what they would have said whole. */
#include "service/broker/conn_private.h"
#include "service/broker/worker_private.h"
#include "service/broker/worker_story_test.h"

enum { PIECES_BYTES = 1200 };

/* Short ones, and such whose length takes two bytes. */
static size_t some_packets(const struct party *pub, uint8_t *bytes)
{
    static const size_t sizes[] = {1, 200, 3, 127, 128, 300};
    struct wr w = wr_into(bytes, PIECES_BYTES);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char payload[301] = {0};
        memset(payload, (int)('a' + i), sizes[i]);
        write_publish(&w, pub->version, "t/a", payload, i % 2, (uint16_t)(i + 1), false);
        if (i == 2) {
            wr_bytes(&w, slice_of("\xc0\x00", 2)); /* PINGREQ */
        }
    }
    assert_true(wr_ok(&w));
    return w.at;
}

static void cut_into(struct bench *b, const struct party *pub, struct slice all, size_t one,
                     size_t two)
{
    worker_input(b->workers[0], pub->conn, slice_head(all, one), b->now_ms);
    worker_input(b->workers[0], pub->conn, slice_head(slice_from(all, one), two), b->now_ms);
    worker_input(b->workers[0], pub->conn, slice_from(all, one + two), b->now_ms);
    settle(b);
}

/* Wherever what came is cut, it says the same. */
static void packets_in_pieces(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0], *sub = &b->parties[1];
    uint8_t bytes[PIECES_BYTES];
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    connects(b, sub, device_at(b, 0, 1), &(struct hello){.client_id = "s"});
    settle(b);
    subscribes(b, sub, "t/a", 0);
    settle(b);
    struct slice all = slice_of(bytes, some_packets(pub, bytes));
    sub->n = pub->n = 0;
    cut_into(b, pub, all, all.n, 0);
    char *heard = mem_strdup(said(sub)), *answered = mem_strdup(said(pub));
    assert_int_equal(occurs(heard, "t/a "), 6);
    assert_int_equal(occurs(answered, "puback"), 3);
    for (size_t one = 1; one < all.n; one++) {
        size_t two = (one * 7) % 150;
        two = two < all.n - one ? two : all.n - one;
        sub->n = pub->n = 0;
        cut_into(b, pub, all, one, two);
        assert_string_equal(said(sub), heard);
        assert_string_equal(said(pub), answered);
    }
    mem_free(heard);
    mem_free(answered);
}

/* Read with much behind it: to join all would take more memory than there is. */
static void a_packet_in_pieces_is_joined_alone(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t *bytes = mem_alloc(128 * 1024);
    char payload[4097];
    memset(payload, 'x', 4096);
    payload[4096] = '\0';
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    settle(b);
    struct wr w = wr_into(bytes, 128 * 1024);
    for (int i = 0; i < 20; i++) {
        write_publish(&w, pub->version, "t/nobody", payload, 0, 0, false);
    }
    write_publish(&w, pub->version, "t/nobody", "last", 1, 1, false);
    worker_input(b->workers[0], pub->conn, slice_of(bytes, 1000), b->now_ms);
    mem_limit(mem_used() + 32 * 1024);
    worker_input(b->workers[0], pub->conn, slice_from(wr_slice(&w), 1000), b->now_ms);
    mem_limit(0);
    settle(b);
    assert_int_equal(occurs(said(pub), "puback 1"), 1);
    assert_int_equal(events_of(b, EVENT_quota), 0);
    mem_free(bytes);
}

/* More pieces than one: they wait together, and nothing is lost or looked at too early. */
static void a_large_packet_in_pieces(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    enum { PAYLOAD = 60 * 1000, PIECE = 777 };
    uint8_t *bytes = mem_alloc(PAYLOAD + 100);
    char *payload = mem_alloc(PAYLOAD + 1);
    memset(payload, 'x', PAYLOAD);
    payload[PAYLOAD] = '\0';
    connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
    settle(b);
    struct wr w = wr_into(bytes, PAYLOAD + 100);
    write_publish(&w, pub->version, "t/nobody", payload, 1, 1, false);
    struct slice rest = wr_slice(&w);
    pub->n = 0;
    while (rest.n > 0) {
        assert_int_equal(pub->n, 0);
        worker_input(b->workers[0], pub->conn, slice_head(rest, PIECE), b->now_ms);
        settle(b);
        rest = slice_from(rest, PIECE);
    }
    assert_int_equal(occurs(said(pub), "puback 1"), 1);
    mem_free(payload);
    mem_free(bytes);
}

/* It cannot wait for the others: its client hears why. */
static void a_piece_without_memory(void **state)
{
    struct bench *b = *state;
    struct party *pub = &b->parties[0];
    uint8_t bytes[PIECES_BYTES];
    for (long at = 0; at < 2; at++) { /* its buffer, and the bytes in it */
        connects(b, pub, device_at(b, 0, 0), &(struct hello){.client_id = "p"});
        settle(b);
        struct slice all = slice_of(bytes, some_packets(pub, bytes));
        size_t before = events_of(b, EVENT_quota);
        (void)mem_fail_after(at);
        worker_input(b->workers[0], pub->conn, slice_head(all, 5), b->now_ms);
        assert_int_equal(mem_fail_after(-1), 1);
        settle(b);
        assert_int_equal(events_of(b, EVENT_quota), before + 1);
        assert_non_null(strstr(said(pub), "disconnect 97"));
        is_cut(b, pub);
        settle(b);
    }
}

/* Who is not read keeps what it sent ahead, up to a packet and the slack; one byte more is too
 * much.
 */
static void what_waits_has_a_limit(void **state)
{
    struct bench *b = *state;
    struct party *sub = &b->parties[2];
    connects(b, sub, device_at(b, 1, 0), &(struct hello){.client_id = "s", .resume = true});
    settle(b);
    subscribes(b, sub, "t/a", 1);
    settle(b);
    for (size_t over = 0; over < 2; over++) {
        struct party *pub = &b->parties[over];
        struct worker *home = b->workers[0];
        size_t most = (size_t)home->packet_most + UNREAD_SLACK + over;
        uint8_t *pings = mem_alloc(most + 2), bytes[64];
        connects(b, pub, device_at(b, 0, (unsigned)over),
                 &(struct hello){.client_id = over == 0 ? "p" : "q", .version = MQTT_V311});
        settle(b);
        b->log_stands = true;
        for (uint16_t i = 1; worker_wants_input(home, pub->conn); i++) {
            struct wr w = wr_into(bytes, sizeof(bytes));
            write_publish(&w, MQTT_V311, "t/a", "x", 1, i, false);
            worker_input(home, pub->conn, wr_slice(&w), b->now_ms);
            assert_true(i < 1000);
        }
        for (size_t i = 0; i <= most; i += 2) {
            memcpy(&pings[i], "\xc0", 2);
        }
        for (size_t at = 0, n = 0; at < most; at += n) {
            assert_int_equal(events_of(b, EVENT_quota), 0);
            n = most - at < 100001 ? most - at : 100001; /* cut in the middle, too */
            worker_input(home, pub->conn, slice_of(&pings[at], n), b->now_ms);
        }
        assert_int_equal(events_of(b, EVENT_quota), over);
        b->log_stands = false;
        settle(b);
        mem_free(pings);
    }
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(packets_in_pieces),        STORY(a_packet_in_pieces_is_joined_alone),
        STORY(a_large_packet_in_pieces), STORY(a_piece_without_memory),
        STORY(what_waits_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
