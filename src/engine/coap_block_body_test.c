#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/heap_test.h"
#include "base/mem.h"
#include "base/scope.h"
#include "engine/coap_block_body.h"

static const struct siphash_key key = {1, 2};
enum { SZX = 0, SIZE = 16, ROOMY = 100000 };

static uint8_t pattern[4096];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 7 + i / 256);
    }
    return 0;
}

static struct coap_block_limits roomy(void)
{
    struct coap_block_limits l = coap_block_limits_default();
    l.body_bytes = ROOMY;
    return l;
}

/* Block `number` of 16 bytes of the pattern, of principal and association 1. */
static struct coap_block_part part(uint32_t number, bool has_more, size_t n)
{
    return (struct coap_block_part){
        .owner = 1,
        .endpoint = 1,
        .method = COAP_PUT,
        .options = slice_text("\xb1\x61"),
        .payload = slice_of(pattern + (size_t)number * SIZE, n),
        .block = {.number = number, .szx = SZX, .has_more = has_more},
        .body_max = ROOMY,
    };
}

static enum err take(struct coap_bodies *b, const struct coap_block_part *p, uint64_t now_ms)
{
    struct coap_block_taken t = {.is_whole = false};
    enum err err = coap_bodies_take(b, p, now_ms, &t);
    if (err == OK && t.is_whole) {
        assert_true(slice_equal(t.body, slice_of(pattern, t.body.n)));
    }
    buf_done(&t.kept);
    return err;
}

/* Block 0 of another name: of that principal and association, on path p. */
static enum err begin_as(struct coap_bodies *b, uint64_t owner, uint64_t endpoint, char path,
                         uint64_t now_ms)
{
    char options[] = {'\xb1', path, '\0'};
    struct coap_block_part p = part(0, true, SIZE);
    p.owner = owner;
    p.endpoint = endpoint;
    p.options = slice_text(options);
    return take(b, &p, now_ms);
}

static void in_order(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    for (uint32_t i = 0; i < 10; i++) {
        struct coap_block_part p = part(i, true, SIZE);
        struct coap_block_taken t;
        assert_int_equal(coap_bodies_take(&b, &p, i, &t), OK);
        assert_false(t.is_whole);
        assert_int_equal(t.ack.number, i);
        assert_true(t.ack.has_more);
        assert_int_equal(coap_bodies_count(&b), 1);
        assert_true(coap_bodies_deadline(&b) == i + l.idle_ms);
    }
    struct coap_block_part last = part(10, false, 5);
    struct coap_block_taken t;
    assert_int_equal(coap_bodies_take(&b, &last, 10, &t), OK);
    assert_true(t.is_whole && !t.ack.has_more);
    assert_true(slice_equal(t.body, slice_of(pattern, 165)));
    buf_done(&t.kept);
    assert_int_equal(coap_bodies_count(&b), 0);
    assert_true(b.bytes == 0 && b.owners.n == 0);
    /* The operation is closed: its last block again is of nothing. */
    assert_int_equal(take(&b, &last, 11), ERR_NOT_FOUND);
}

static void one_block_is_whole(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    struct coap_block_part p = part(0, false, 7);
    struct coap_block_taken t;
    assert_int_equal(coap_bodies_take(&b, &p, 0, &t), OK);
    assert_true(t.is_whole && t.body.p == p.payload.p && t.body.n == 7 && t.kept.p == NULL);
    assert_true(coap_bodies_deadline(&b) == UINT64_MAX);
}

/* What one step does to a transfer that has taken blocks 0 to 2; each failure leaves nothing. */
static void out_of_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t number;
        bool has_more;
        size_t n;
        enum err err;
        size_t left;
    } cases[] = {
        {"the next", 3, true, SIZE, OK, 1},
        {"the last", 3, false, 1, OK, 0},
        {"an empty last one", 3, false, 0, OK, 0},
        {"a gap", 4, true, SIZE, ERR_NOT_FOUND, 0},
        {"a gap before the last", 4, false, 3, ERR_NOT_FOUND, 0},
        {"the latest again", 2, true, SIZE, OK, 1},
        {"an older one again", 1, true, SIZE, ERR_NOT_FOUND, 0},
        {"the latest as if it were the last", 2, false, SIZE, ERR_NOT_FOUND, 0},
        {"begun anew", 0, true, SIZE, OK, 1},
        {"anew, and whole", 0, false, 3, OK, 0},
        {"too short for its size", 3, true, SIZE - 1, ERR_MALFORMED, 0},
        {"empty, but more to come", 3, true, 0, ERR_MALFORMED, 0},
        {"too long for its size", 3, true, SIZE + 1, ERR_MALFORMED, 0},
        {"the last number there is", COAP_BLOCK_NUMBER_MAX, true, 0, ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(coap_bodies_done) struct coap_bodies b;
        struct coap_block_limits l = roomy();
        coap_bodies_init(&b, &l, &key);
        for (uint32_t n = 0; n < 3; n++) {
            struct coap_block_part p = part(n, true, SIZE);
            assert_int_equal(take(&b, &p, 0), OK);
        }
        struct coap_block_part p = part(cases[i].number % 64, cases[i].has_more, cases[i].n);
        p.block.number = cases[i].number;
        enum err err = take(&b, &p, 1);
        if (err != cases[i].err || coap_bodies_count(&b) != cases[i].left) {
            fail_msg("%s: %s, %zu left", cases[i].name, err_name(err), coap_bodies_count(&b));
        }
    }
}

static void changed_latest_is_no_repetition(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    for (uint32_t n = 0; n < 2; n++) {
        struct coap_block_part p = part(n, true, SIZE);
        assert_int_equal(take(&b, &p, 0), OK);
    }
    struct coap_block_part other = part(1, true, SIZE);
    other.payload = slice_of(pattern + 999, SIZE);
    assert_int_equal(take(&b, &other, 0), ERR_NOT_FOUND);
    assert_int_equal(coap_bodies_count(&b), 0);
}

/* What makes two requests one operation, and what keeps them apart. */
static void names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t owner, endpoint;
        uint8_t method;
        const char *options;
        size_t n;
        enum err err;
    } cases[] = {
        {"the same", 1, 1, COAP_PUT, "\xb1\x61", 2, OK},
        {"another principal", 2, 1, COAP_PUT, "\xb1\x61", 2, ERR_NOT_FOUND},
        {"another association", 1, 2, COAP_PUT, "\xb1\x61", 2, ERR_NOT_FOUND},
        {"another method", 1, 1, COAP_POST, "\xb1\x61", 2, ERR_NOT_FOUND},
        {"another path", 1, 1, COAP_PUT, "\xb1\x62", 2, ERR_NOT_FOUND},
        {"a Content-Format that was not there", 1, 1, COAP_PUT, "\xb1\x61\x11\x32", 4,
         ERR_NOT_FOUND},
        {"a Block1", 1, 1, COAP_PUT, "\xb1\x61\xd1\x03\x18", 5, OK},
        {"a Size1, which no cache looks at", 1, 1, COAP_PUT, "\xb1\x61\xd1\x24\x40", 5, OK},
        {"a Request-Tag", 1, 1, COAP_PUT, "\xb1\x61\xe1\x00\x0c\x01", 6, ERR_NOT_FOUND},
        {"an empty Request-Tag", 1, 1, COAP_PUT, "\xb1\x61\xe0\x00\x0c", 5, ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(coap_bodies_done) struct coap_bodies b;
        struct coap_block_limits l = roomy();
        coap_bodies_init(&b, &l, &key);
        struct coap_block_part p = part(0, true, SIZE);
        assert_int_equal(take(&b, &p, 0), OK);
        p = part(1, true, SIZE);
        p.owner = cases[i].owner;
        p.endpoint = cases[i].endpoint;
        p.method = cases[i].method;
        p.options = slice_of(cases[i].options, cases[i].n);
        enum err err = take(&b, &p, 0);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].name, err_name(err));
        }
        /* Whatever the others tried, what was begun goes on. */
        p = err == OK ? part(2, false, 1) : part(1, false, 1);
        assert_int_equal(take(&b, &p, 0), OK);
        assert_int_equal(coap_bodies_count(&b), 0);
    }
}

static void body_limit(void **state)
{
    (void)state;
    struct coap_block_limits l = roomy();
    l.body_bytes = 48;
    static const struct {
        uint64_t body_max;
        size_t n;
        enum err err;
    } cases[] = {{ROOMY, 15, OK}, {ROOMY, 16, OK}, {ROOMY, 17, ERR_TOO_LARGE},
                 {40, 7, OK},     {40, 8, OK},     {40, 9, ERR_TOO_LARGE}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(coap_bodies_done) struct coap_bodies b;
        coap_bodies_init(&b, &l, &key);
        for (uint32_t n = 0; n < 2; n++) {
            struct coap_block_part p = part(n, true, SIZE);
            assert_int_equal(take(&b, &p, 0), OK);
        }
        struct coap_block_part last = part(2, false, cases[i].n);
        last.body_max = cases[i].body_max;
        assert_int_equal(take(&b, &last, 0), cases[i].err);
        assert_int_equal(coap_bodies_count(&b), 0);
    }
}

/* Size1 says it before it is carried here; a lie about it gains nothing. */
static void announced_size(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    l.body_bytes = 255;
    coap_bodies_init(&b, &l, &key);
    struct coap_block_part p = part(0, true, SIZE);
    p.options = slice_of("\xb1\x61\xd1\x24\xff", 5);
    assert_int_equal(take(&b, &p, 0), OK);
    p.options = slice_of("\xb1\x61\xd2\x24\x01\x00", 6);
    assert_int_equal(take(&b, &p, 0), ERR_TOO_LARGE);
    assert_int_equal(coap_bodies_count(&b), 0);
    /* NUM * size far over 32 bits of anything */
    p = part(0, true, SIZE);
    assert_int_equal(take(&b, &p, 0), OK);
    p.block = (struct coap_block){.number = COAP_BLOCK_NUMBER_MAX, .szx = 6, .has_more = false};
    assert_int_equal(take(&b, &p, 0), ERR_TOO_LARGE);
    assert_int_equal(coap_bodies_count(&b), 0);
}

static void size_is_negotiated(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    l.szx = 2; /* 64 bytes */
    coap_bodies_init(&b, &l, &key);
    struct coap_block_part p = part(0, true, 0);
    struct coap_block_taken t;
    p.payload = slice_of(pattern, 128);
    p.block.szx = 3;
    assert_int_equal(coap_bodies_take(&b, &p, 0, &t), OK);
    assert_true(t.ack.szx == 2 && t.ack.number == 0 && t.ack.has_more);
    /* It goes on at byte 128, whatever the size it counts in: 64, then 16. */
    p.payload = slice_of(pattern + 128, 64);
    p.block = (struct coap_block){.number = 2, .szx = 2, .has_more = true};
    assert_int_equal(coap_bodies_take(&b, &p, 0, &t), OK);
    assert_true(t.ack.szx == 2 && t.ack.number == 2);
    p = part(12, false, 9);
    assert_int_equal(coap_bodies_take(&b, &p, 0, &t), OK);
    assert_true(t.is_whole && t.ack.szx == 0);
    assert_true(slice_equal(t.body, slice_of(pattern, 201)));
    buf_done(&t.kept);
}

static void number_of_one_principal(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    l.owner_bodies = 3;
    coap_bodies_init(&b, &l, &key);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(begin_as(&b, 1, 'a' + i, (char)('a' + i), 0), OK);
    }
    assert_int_equal(begin_as(&b, 1, 1, 'd', 0), ERR_QUOTA);
    assert_int_equal(coap_bodies_count(&b), 3);
    assert_int_equal(begin_as(&b, 1, 'b', 'b', 0), OK); /* anew, in its own place */
    assert_int_equal(begin_as(&b, 2, 1, 'd', 0), OK);   /* another's are not its */
    coap_bodies_end(&b, 'a');
    assert_int_equal(begin_as(&b, 1, 1, 'd', 0), OK);
}

static void bytes_of_one_principal(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    struct coap_block_part p = part(0, true, SIZE);
    assert_int_equal(take(&b, &p, 0), OK);
    b.limits.owner_bytes = b.bytes + 2 * (uint64_t)SIZE;
    for (uint32_t i = 1; i <= 2; i++) { /* at the bound */
        p = part(i, true, SIZE);
        assert_int_equal(take(&b, &p, 0), OK);
    }
    p = part(3, true, SIZE);
    assert_int_equal(take(&b, &p, 0), ERR_QUOTA);
    assert_int_equal(coap_bodies_count(&b), 0);
    assert_true(b.bytes == 0);
}

/* The bound of all: whoever holds most gives way to who would hold less. */
static void bounds_of_all(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    l.all_bodies = 4;
    coap_bodies_init(&b, &l, &key);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(begin_as(&b, 1, 1, (char)('a' + i), 97 + i), OK);
    }
    assert_int_equal(begin_as(&b, 2, 2, 'a', 200), OK);
    assert_int_equal(coap_bodies_count(&b), 4);
    assert_int_equal(begin_as(&b, 1, 1, 'd', 201), ERR_LIMIT); /* it is the greedy one itself */
    assert_int_equal(begin_as(&b, 3, 3, 'a', 202), OK);
    assert_int_equal(coap_bodies_count(&b), 4);
    assert_true(b.n_shed == 1);
    struct coap_block_part p = part(1, false, 1); /* the oldest of 1 went: its 'a' */
    assert_int_equal(take(&b, &p, 203), ERR_NOT_FOUND);
    p.options = slice_text("\xb1\x62");
    assert_int_equal(take(&b, &p, 203), OK);
    /* 1 and 2 and 3 hold one each and one place is free; then nobody holds more than the asker. */
    assert_int_equal(begin_as(&b, 4, 4, 'a', 204), OK);
    assert_int_equal(begin_as(&b, 5, 5, 'a', 205), ERR_LIMIT);
    assert_int_equal(coap_bodies_count(&b), 4);
}

static void bytes_of_all(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    for (uint32_t i = 0; i < 20; i++) {
        struct coap_block_part p = part(i, true, SIZE);
        assert_int_equal(take(&b, &p, 0), OK);
    }
    b.limits.all_bytes = b.bytes;
    assert_int_equal(begin_as(&b, 2, 2, 'z', 1), OK);
    assert_int_equal(coap_bodies_count(&b), 1);
    assert_int_equal(b.n_shed, 1);
    b.limits.all_bytes = b.bytes;
    assert_int_equal(begin_as(&b, 3, 3, 'z', 1), ERR_LIMIT);
    assert_int_equal(coap_bodies_count(&b), 1);
    assert_true(coap_bodies_shed(&b));
    assert_false(coap_bodies_shed(&b));
    assert_true(b.bytes == 0 && b.owners.n == 0);
}

/* Twenty thousand begin: the bounds hold, who has several gives way until each of as many as there
 * are places has one, and in the end everything is given back. */
static void a_crowd_stays_within_the_bounds(void **state)
{
    (void)state;
    enum { CROWD = 5000, EACH = 4 };
    struct coap_block_limits l = coap_block_limits_default();
    struct coap_bodies b;
    size_t before = heap_in_use(), most = 0;
    coap_bodies_init(&b, &l, &key);
    for (uint64_t who = 1; who <= CROWD; who++) {
        for (unsigned i = 0; i < EACH; i++) {
            enum err err = begin_as(&b, who, who, (char)('a' + i), who);
            assert_true(err == OK || err == ERR_LIMIT);
            most = coap_bodies_count(&b) > most ? coap_bodies_count(&b) : most;
            assert_true(b.bytes <= l.all_bytes);
        }
    }
    assert_int_equal(most, l.all_bodies);
    /* The place of all goes round: everybody has at most one, and nobody was pushed out for more.
     */
    assert_int_equal(b.owners.n, l.all_bodies);
    coap_bodies_done(&b);
    assert_true(heap_in_use() <= before + 64 * 1024);
}

static void waits_only_so_long(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    assert_int_equal(begin_as(&b, 1, 1, 'a', 0), OK);
    assert_int_equal(begin_as(&b, 1, 1, 'b', 10), OK);
    struct coap_block_part p = part(1, true, SIZE);
    assert_int_equal(take(&b, &p, l.idle_ms - 1), OK); /* 'a' goes on: it is not the oldest now */
    coap_bodies_expire(&b, l.idle_ms + 9);
    assert_int_equal(coap_bodies_count(&b), 2);
    assert_true(coap_bodies_deadline(&b) == l.idle_ms + 10);
    coap_bodies_expire(&b, l.idle_ms + 10);
    assert_int_equal(coap_bodies_count(&b), 1);
    assert_int_equal(b.n_expired, 1);
    p = part(2, true, SIZE);
    assert_int_equal(take(&b, &p, 3 * (uint64_t)l.idle_ms), ERR_NOT_FOUND);
    assert_int_equal(coap_bodies_count(&b), 0);
}

static void forgotten_by_name(void **state)
{
    (void)state;
    AUTO(coap_bodies_done) struct coap_bodies b;
    struct coap_block_limits l = roomy();
    coap_bodies_init(&b, &l, &key);
    assert_int_equal(begin_as(&b, 1, 1, 'a', 0), OK);
    struct coap_block_part p = part(5, true, SIZE);
    p.endpoint = 2;
    coap_bodies_forget(&b, &p);
    assert_int_equal(coap_bodies_count(&b), 1);
    p.endpoint = 1;
    coap_bodies_forget(&b, &p);
    assert_int_equal(coap_bodies_count(&b), 0);
    coap_bodies_end(&b, 1);
}

/* Each allocation fails in turn: the transfer ends there with nothing left, or goes on well. */
static void no_memory(void **state)
{
    (void)state;
    struct coap_block_limits l = roomy();
    int was_injected = 1;
    for (long n = 0; was_injected; n++) {
        AUTO(coap_bodies_done) struct coap_bodies b;
        coap_bodies_init(&b, &l, &key);
        mem_fail_after(n);
        enum err err = OK;
        for (uint32_t i = 0; i < 40 && err == OK; i++) {
            struct coap_block_part p = part(i, i < 39, SIZE);
            err = take(&b, &p, 0);
        }
        was_injected = mem_fail_after(-1);
        assert_int_equal(err, was_injected ? ERR_NOMEM : OK);
        assert_int_equal(coap_bodies_count(&b), 0);
        assert_true(b.bytes == 0 && b.owners.n == 0);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(one_block_is_whole),
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(changed_latest_is_no_repetition),
        cmocka_unit_test(names),
        cmocka_unit_test(body_limit),
        cmocka_unit_test(announced_size),
        cmocka_unit_test(size_is_negotiated),
        cmocka_unit_test(number_of_one_principal),
        cmocka_unit_test(bytes_of_one_principal),
        cmocka_unit_test(bounds_of_all),
        cmocka_unit_test(bytes_of_all),
        cmocka_unit_test(a_crowd_stays_within_the_bounds),
        cmocka_unit_test(waits_only_so_long),
        cmocka_unit_test(forgotten_by_name),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
