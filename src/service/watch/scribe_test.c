#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/watch/anchor.h"
#include "service/watch/prove.h"
#include "service/watch/scribe_near_test.h"
#include "service/watch/trail_disk_test.h"
#include "service/watch/trail_key.h"

enum { ROOM = 64 << 20 };

/* A scribe, the broker's end, a disk and a clock, all in this thread. */
struct place {
    struct memory_disk disk;
    uint8_t root[TRAIL_ROOT_BYTES], seal[TRAIL_ROOT_BYTES];
    uint64_t mono_ms;
    int64_t wall_ms;
    struct near near;
    struct scribe_client *client;
    uint64_t pushed;
};

static uint64_t mono_ms(void *ctx)
{
    return ((struct place *)ctx)->mono_ms;
}

static uint64_t mono_us(void *ctx)
{
    return ((struct place *)ctx)->mono_ms * 1000;
}

static int64_t wall_ms(void *ctx)
{
    return ((struct place *)ctx)->wall_ms;
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
    (void)ctx, (void)level, (void)line;
}

static struct clock clock_of(struct place *p)
{
    return (struct clock){mono_ms, mono_us, wall_ms, p};
}

static void new_client(struct place *p)
{
    const struct clock clock = clock_of(p);
    const struct random_source random = random_system();
    const struct scribe_link link = near_link(&p->near);
    p->client = scribe_client_free(p->client);
    p->pushed = 0;
    assert_int_equal(scribe_client_new(&link, &clock, &random, &p->client), OK);
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memory_disk_init(&p->disk);
    p->disk.room = ROOM;
    p->mono_ms = 1000;
    p->wall_ms = INT64_C(1795000000000);
    p->seal[0] = 7;
    p->near.setup = (struct scribe_setup){.trail = {.disk = &p->disk.disk,
                                                    .clock = clock_of(p),
                                                    .root = slice_of(p->root, sizeof p->root),
                                                    .key_seal = slice_of(p->seal, sizeof p->seal),
                                                    .random = random_system()},
                                          .life = {.house = 5, .generation = 1}};
    log_to(quiet, NULL, LOG_ERROR);
    near_start(&p->near);
    new_client(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    near_stop(&p->near);
    p->client = scribe_client_free(p->client);
    memory_disk_done(&p->disk);
    log_to(NULL, NULL, LOG_INFO);
    test_free(p);
    return 0;
}

/* ---- what is in the trail ---- */

struct reading {
    uint64_t lines, own, wrong, next;
    char last_own[1024];
};

static void on_line(void *ctx, struct slice line)
{
    struct reading *r = ctx;
    if (memmem(line.p, line.n, ",\"by\":\"scribe\"", 14) != NULL) {
        r->own++;
        (void)slice_to_text(slice_head(line, sizeof r->last_own - 1), r->last_own,
                            sizeof r->last_own);
        return;
    }
    char wanted[32];
    (void)snprintf(wanted, sizeof wanted, "\"n\":%" PRIu64 "}", r->next);
    r->wrong += memmem(line.p, line.n, wanted, strlen(wanted)) == NULL ? 1 : 0;
    r->lines++;
    r->next++;
}

/* Every line that is there is the next one of those that were pushed. */
static struct reading read_all(struct place *p)
{
    struct reading r = {.next = 1};
    struct trail_report report;
    const struct trail_sink sink = {.ctx = &r, .line = on_line};
    assert_int_equal(
        trail_read(&p->disk.disk, slice_of(p->root, sizeof p->root), 0, &sink, &report), OK);
    assert_int_equal(r.wrong, 0);
    return r;
}

static void on_found(void *ctx, const struct prove_finding *f)
{
    unsigned *bad = ctx;
    *bad += prove_kind_is_bad(f->kind) ? 1 : 0;
}

static void assert_holds(struct place *p)
{
    unsigned bad = 0;
    struct prove_report r;
    const struct prove_setup s = {.disk = &p->disk.disk,
                                  .root = slice_of(p->root, sizeof p->root),
                                  .ctx = &bad,
                                  .found = on_found};
    assert_int_equal(prove_trail(&s, &r), OK);
    assert_int_equal(bad, 0);
}

static enum err push(struct place *p)
{
    char line[96];
    int n = snprintf(line, sizeof line,
                     "{\"time\":\"2026-11-22T11:00:00.000Z\",\"n\":%" PRIu64 "}\n", p->pushed + 1);
    enum err err = scribe_client_push(p->client, slice_of(line, (size_t)n));
    p->pushed += err == OK ? 1 : 0;
    return err;
}

static void turn(struct place *p)
{
    p->mono_ms += SCRIBE_RETRY_MS;
    scribe_client_turn(p->client);
    if (p->near.scribe != NULL) {
        scribe_tick(p->near.scribe);
    }
}

static uint64_t pending(const struct place *p)
{
    return scribe_client_state(p->client).pending;
}

/* It dies as by kill -9: what it would still write does not reach the disk. */
static void kill_scribe(struct place *p)
{
    p->disk.room = 0;
    near_stop(&p->near);
    p->disk.room = ROOM;
}

/* ---- the stream ---- */

static void test_lines_arrive(void **state)
{
    struct place *p = *state;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(push(p), OK);
        if (i % 7 == 0) {
            turn(p);
        }
    }
    turn(p);
    assert_int_equal(pending(p), 0);
    struct reading r = read_all(p);
    assert_int_equal(r.lines, 1000);
    assert_int_equal(r.own, 1);
    assert_non_null(strstr(r.last_own, "a broker begins to write: number 1 of its supervisor"));
    near_stop(&p->near);
    assert_holds(p);
}

/* After each number of requests; with and without what it had written and not said. */
static void test_it_dies_at_every_message(void **state)
{
    struct place *p = *state;
    for (unsigned k = 0; k < 40; k++) {
        p->near.hears = k % 5;
        for (unsigned i = 0; i < 30; i++) {
            assert_int_equal(push(p), OK);
            if (i % 4 == k % 4) {
                turn(p);
            }
        }
        kill_scribe(p);
        near_start(&p->near);
    }
    for (unsigned i = 0; i < 20 && pending(p) > 0; i++) {
        turn(p);
    }
    assert_int_equal(pending(p), 0);
    assert_int_equal(read_all(p).lines, 40 * 30);
    assert_int_equal(read_all(p).own, 1);
    assert_int_equal(scribe_client_state(p->client).restarts, 40);
    near_stop(&p->near);
    assert_holds(p);
}

/* Each has died before it heard anything: the broker has met them all the same. */
static void test_it_dies_before_it_hears(void **state)
{
    struct place *p = *state;
    assert_int_equal(push(p), OK);
    for (unsigned k = 0; k < 5; k++) {
        p->near.scribe = scribe_free(p->near.scribe);
        turn(p);
        assert_int_equal(scribe_client_state(p->client).restarts, k);
        near_start(&p->near);
    }
    turn(p);
    turn(p);
    assert_int_equal(pending(p), 0);
    assert_int_equal(scribe_client_state(p->client).restarts, 5);
    new_client(p); /* another broker, and the same scribe */
    scribe_broker(p->near.scribe, 2, "ended by signal 9");
    assert_int_equal(push(p), OK);
    turn(p);
    turn(p);
    assert_int_equal(pending(p), 0);
    assert_int_equal(scribe_client_state(p->client).restarts, 0);
    kill_scribe(p);
    near_start(&p->near);
    turn(p);
    assert_int_equal(scribe_client_state(p->client).restarts, 1);
}

/* A write that fails in the middle of a message: what is behind it comes again, once. */
static void test_a_full_disk(void **state)
{
    struct place *p = *state;
    turn(p);
    for (unsigned k = 0; k < 30; k++) {
        for (unsigned i = 0; i < 20; i++) {
            assert_int_equal(push(p), OK);
        }
        p->disk.room = (size_t)k * 200;
        p->disk.tears = k % 2 == 0;
        turn(p);
        p->disk.room = ROOM;
        for (unsigned i = 0; i < 5; i++) {
            turn(p);
        }
    }
    assert_int_equal(pending(p), 0);
    assert_int_equal(read_all(p).lines, 30 * 20);
}

/* Files that are full, so that where it was is read from more than one. */
static void test_over_files(void **state)
{
    struct place *p = *state;
    near_stop(&p->near);
    p->near.setup.trail.file_bytes = 8192;
    near_start(&p->near);
    for (unsigned k = 0; k < 60; k++) {
        for (unsigned i = 0; i < 7; i++) {
            assert_int_equal(push(p), OK);
        }
        turn(p);
        turn(p);
        if (k % 3 == 0) {
            kill_scribe(p);
            near_start(&p->near);
            turn(p);
        }
    }
    turn(p);
    assert_int_equal(pending(p), 0);
    struct reading r = {.next = 0};
    struct trail_report report;
    const struct trail_sink sink = {.ctx = &r, .line = on_line};
    assert_int_equal(
        trail_read(&p->disk.disk, slice_of(p->root, sizeof p->root), 1, &sink, &report), OK);
    assert_true(r.own > 0 || r.lines < 20);
    assert_int_equal(report.damages, 0);
}

static void test_the_spool_is_bounded(void **state)
{
    struct place *p = *state;
    near_stop(&p->near);
    uint64_t n = 0;
    while (push(p) == OK) {
        n++;
        assert_true(n <= SCRIBE_SPOOL_LINES);
    }
    assert_int_equal(n, SCRIBE_SPOOL_LINES);
    assert_int_equal(push(p), ERR_SPACE);
    assert_false(scribe_client_state(p->client).has_room);
    assert_false(scribe_client_state(p->client).is_behind);
    p->mono_ms += SCRIBE_BEHIND_MS;
    assert_true(scribe_client_state(p->client).is_behind);
    p->near.setup.trail.file_bytes = 512 * 1024;
    near_start(&p->near);
    for (unsigned i = 0; i < 2000 && pending(p) > 0; i++) {
        turn(p);
    }
    assert_int_equal(pending(p), 0);
    assert_true(scribe_client_state(p->client).has_room);
    assert_int_equal(push(p), OK);
    static uint8_t big[TRAIL_LINE_MAX + 1];
    assert_int_equal(scribe_client_push(p->client, slice_of(big, sizeof big)), ERR_TOO_LARGE);
    assert_int_equal(scribe_client_push(p->client, slice_of(big, 0)), ERR_TOO_LARGE);
}

/* What it had said was written is gone with the disk: said, and it goes on. */
static void test_lines_that_were_there(void **state)
{
    struct place *p = *state;
    struct event e;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(push(p), OK);
    }
    turn(p);
    struct disk_file *f = memory_find(&p->disk, TRAIL_DIR "/00000001.sealed");
    size_t before = f->bytes.n;
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(push(p), OK);
    }
    turn(p);
    assert_int_equal(pending(p), 0);
    kill_scribe(p);
    f->bytes.n = before;
    (void)!p->disk.disk.ops->remove(&p->disk.disk, ANCHOR_FILE);
    near_start(&p->near);
    turn(p);
    turn(p);
    p->near.n = 0;
    assert_int_equal(push(p), OK);
    turn(p);
    turn(p);
    assert_int_equal(pending(p), 0);
    assert_true(scribe_next_event(p->near.scribe, &e));
    assert_int_equal(e.category, EVENT_audit_integrity);
    assert_non_null(strstr(e.reason, "10 lines that the broker knows to be written"));
}

static void test_anchors_and_keys(void **state)
{
    struct place *p = *state;
    struct anchor first, second, third;
    assert_int_equal(push(p), OK);
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ANCHOR, &first), OK);
    assert_int_equal(anchor_verify(&first), OK);
    assert_int_equal(pending(p), 0);
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ANCHOR, &second), OK);
    assert_true(second.count == first.count);
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ROLL_KEY, &third), OK);
    assert_true(third.count > first.count);
    assert_memory_not_equal(third.key, first.key, sizeof first.key);
    unsigned n = 3;
    while (scribe_client_ask(p->client, SCRIBE_ROLL_KEY, &third) == OK) {
        n++;
        assert_true(n <= SCRIBE_ASKS_PER_MINUTE);
    }
    assert_int_equal(n, SCRIBE_ASKS_PER_MINUTE);
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ANCHOR, &third), ERR_QUOTA);
    p->mono_ms += 1000;
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ANCHOR, &third), OK);
    near_stop(&p->near);
    assert_holds(p);
    p->near.scribe = NULL;
    assert_int_equal(scribe_client_ask(p->client, SCRIBE_ANCHOR, &third), ERR_AGAIN);
}

/* The end is known a second after the last line, without a checkpoint for it. */
static void test_the_end_is_short(void **state)
{
    struct place *p = *state;
    AUTO(buf_done) struct buf text = {0};
    struct anchor anchor;
    assert_int_equal(push(p), OK);
    turn(p);
    p->mono_ms = scribe_deadline(p->near.scribe);
    scribe_tick(p->near.scribe);
    size_t size = memory_find(&p->disk, TRAIL_DIR "/00000001.sealed")->bytes.n;
    while (scribe_deadline(p->near.scribe) <= 1200 + SCRIBE_SYNC_MS + TRAIL_IDLE_MS) {
        p->mono_ms = scribe_deadline(p->near.scribe);
        scribe_tick(p->near.scribe);
    }
    assert_int_equal(memory_find(&p->disk, TRAIL_DIR "/00000001.sealed")->bytes.n, size);
    assert_int_equal(anchor_load(&p->disk.disk, &text), OK);
    assert_int_equal(anchor_decode(buf_slice(&text), &anchor), OK);
    assert_int_equal(anchor.count, 3); /* checkpoint, the scribe's word, the line */
    kill_scribe(p);
    assert_holds(p);
    struct disk_file *f = memory_find(&p->disk, TRAIL_DIR "/00000001.sealed");
    f->bytes.n -= 10; /* as a crash would leave it, and still it is found */
    unsigned bad = 0;
    struct prove_report r;
    const struct prove_setup s = {.disk = &p->disk.disk,
                                  .root = slice_of(p->root, sizeof p->root),
                                  .ctx = &bad,
                                  .found = on_found};
    assert_int_equal(prove_trail(&s, &r), OK);
    assert_true(bad > 0);
}

/* ---- a broker that is not ours ---- */

static size_t say(struct place *p, const struct scribe_request *q, struct scribe_answer *ret)
{
    static uint8_t bytes[SCRIBE_DATAGRAM_MAX], answer[SCRIBE_DATAGRAM_MAX];
    size_t n, m;
    assert_int_equal(scribe_request_encode(q, bytes, sizeof bytes, &n), OK);
    scribe_ask(p->near.scribe, slice_of(bytes, n), answer, &m);
    assert_int_equal(scribe_answer_decode(slice_of(answer, m), ret), OK);
    return m;
}

static struct scribe_answer append(struct place *p, uint64_t run, uint64_t first, const char *line)
{
    uint8_t lines[TRAIL_LINE_MAX + 2];
    struct wr w = wr_into(lines, sizeof lines);
    struct scribe_answer a;
    wr_block16(&w, slice_text(line));
    const struct scribe_request q = {
        .type = SCRIBE_APPEND, .run = run, .first = first, .n = 1, .lines = wr_slice(&w)};
    (void)say(p, &q, &a);
    return a;
}

#define FINE "{\"time\":\"2026-11-22T11:00:00.000Z\",\"n\":1}\n"

static struct scribe_answer hello(struct place *p, uint64_t run)
{
    struct scribe_answer a;
    const struct scribe_request q = {.type = SCRIBE_HELLO, .run = run, .first = 1};
    (void)say(p, &q, &a);
    return a;
}

static void test_runs_and_numbers(void **state)
{
    struct place *p = *state;
    struct scribe_answer a = append(p, 9, 1, FINE);
    assert_int_equal(a.type, SCRIBE_WELCOME); /* nobody has said hello */
    assert_int_equal(read_all(p).lines, 0);
    a = hello(p, 9);
    assert_true(a.type == SCRIBE_WELCOME && a.run == 9 && a.last == 0);
    a = append(p, 9, 2, FINE);
    assert_true(a.type == SCRIBE_REFUSED && a.last == 0); /* a number is left out */
    a = append(p, 9, 1, FINE);
    assert_true(a.type == SCRIBE_ACK && a.last == 1 && a.code == OK);
    a = append(p, 9, 1, FINE);
    assert_true(a.type == SCRIBE_ACK && a.last == 1); /* it has that */
    assert_int_equal(read_all(p).lines, 1);
    a = hello(p, 10);
    assert_true(a.type == SCRIBE_REFUSED && a.run == 9); /* nor can it pretend to be another */
    assert_non_null(strstr(read_all(p).last_own, "a beginning, and it had begun already"));
    kill_scribe(p);
    near_start(&p->near);
    assert_int_equal(hello(p, 10).type, SCRIBE_REFUSED); /* the next scribe knows it, too */
    scribe_broker(p->near.scribe, 2, "ended by signal 9");
    assert_non_null(strstr(read_all(p).last_own, "the broker ended by signal 9"));
    a = hello(p, 10);
    assert_true(a.type == SCRIBE_WELCOME && a.run == 10 && a.last == 0);
    a = append(p, 9, 2, FINE);
    assert_int_equal(a.type, SCRIBE_WELCOME); /* of the one before, late */
    assert_int_equal(read_all(p).lines, 1);
}

static void test_lines_that_are_none(void **state)
{
    static const char *const bad[] = {
        "x\n",
        "{}\n",
        "{\"time\":\"x\"}",                                     /* no end */
        "{\"time\":\"x\"}\n{\"time\":\"x\"}\n",                 /* two */
        "{\"time\":\"x\",\"by\":\"scribe\"}\n",                 /* our words */
        "{\"time\":\"x\",\"\\u0062y\":\"scribe\"}\n",           /* in another dress */
        "{\"time\":\"x\",\"a\":{\"b\":1,\"by\":\"scribe\"}}\n", /* or in a box */
        "{\"time\":\"x\",\"a\":[1]}\n",
        "{\"time\":\"x\",\"time\":\"y\"}\n",
        "{\"time\":\"x\"\x01}\n",
        "{\"time\":\"\xc3\xa4\"}\n",
        " {\"time\":\"x\"}\n",
        "{\"a\":1,\"time\":\"x\"}\n",
        "{\"time\":\"x\",}\n",
    };
    struct place *p = *state;
    assert_int_equal(hello(p, 9).type, SCRIBE_WELCOME);
    for (uint64_t i = 0; i < COUNT_OF(bad); i++) {
        struct scribe_answer a = append(p, 9, i + 1, bad[i]);
        if (a.type != SCRIBE_ACK || a.last != i + 1) {
            fail_msg("%s", bad[i]);
        }
    }
    assert_int_equal(read_all(p).lines, 0);
    assert_int_equal(append(p, 9, COUNT_OF(bad) + 1, FINE).code, OK);
    assert_int_equal(read_all(p).lines, 1);
    kill_scribe(p);
    near_start(&p->near);
    assert_int_equal(hello(p, 9).last, COUNT_OF(bad) + 1); /* counted as the one before did */
    near_stop(&p->near);
    assert_holds(p);
}

static void test_a_flood_is_bounded(void **state)
{
    struct place *p = *state;
    static char line[TRAIL_LINE_MAX + 1];
    uint64_t i = 1;
    near_stop(&p->near);
    p->near.setup.trail.file_bytes = 1000 * 1000;
    near_start(&p->near);
    (void)snprintf(line, sizeof line, "{\"time\":\"%0*d\"}\n", TRAIL_LINE_MAX - 12, 0);
    assert_int_equal(strlen(line), TRAIL_LINE_MAX);
    assert_int_equal(hello(p, 9).type, SCRIBE_WELCOME);
    while (append(p, 9, i, line).code == OK) {
        i++;
        assert_true(i <= SCRIBE_BURST_BYTES / TRAIL_LINE_MAX);
    }
    assert_true(i > SCRIBE_BURST_BYTES / TRAIL_LINE_MAX - 100);
    assert_int_equal(append(p, 9, i, line).code, ERR_QUOTA);
    p->mono_ms += 1000;
    unsigned more = 0;
    while (append(p, 9, i, line).code == OK) {
        i++;
        more++;
    }
    assert_true(more >= 14 && more <= SCRIBE_BYTES_PER_SECOND / TRAIL_LINE_MAX);
    struct event e;
    assert_true(scribe_next_event(p->near.scribe, &e) && strstr(e.reason, "more than it takes"));
}

static void test_blame_is_bounded(void **state)
{
    struct place *p = *state;
    uint8_t answer[SCRIBE_DATAGRAM_MAX];
    size_t n;
    for (unsigned i = 0; i < 1000; i++) {
        scribe_ask(p->near.scribe, slice_text("what?"), answer, &n);
        assert_int_equal(n, 0);
    }
    assert_int_equal(read_all(p).own, SCRIBE_BLAMES_PER_MINUTE);
}

/* ---- keys ---- */

static void test_the_key_of_a_version_before(void **state)
{
    struct place *p = *state;
    struct disk *d = &p->disk.disk;
    struct random_source random = random_system();
    struct trail_seeds seeds = {.n = 1}, got;
    uint8_t a[32], b[32];
    struct slice root = slice_of(p->root, sizeof p->root);
    assert_int_equal(trail_key_seal(d, root, &random, a), OK);
    assert_int_equal(trail_key_seal(d, root, &random, b), OK);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, p->root, sizeof a);
    assert_int_equal(d->ops->remove(d, TRAIL_SECRET_FILE), OK);
    assert_int_equal(trail_key_seal(d, root, &random, b), OK);
    assert_memory_not_equal(a, b, sizeof a);
    /* as it lay: under the root, beside the trail */
    memset(seeds.seed[0], 9, sizeof seeds.seed[0]);
    assert_int_equal(trail_seeds_save(d, root, &random, &seeds), OK);
    assert_int_equal(d->ops->rename(d, TRAIL_KEY_FILE, TRAIL_KEY_FILE_FORMER), OK);
    assert_int_equal(trail_seeds_adopt(d, root, slice_of(a, sizeof a), &random), OK);
    assert_null(memory_find(&p->disk, TRAIL_KEY_FILE_FORMER));
    assert_int_equal(trail_seeds_load(d, root, &got), ERR_CRYPTO);
    assert_int_equal(trail_seeds_load(d, slice_of(a, sizeof a), &got), OK);
    assert_memory_equal(got.seed[0], seeds.seed[0], sizeof seeds.seed[0]);
    assert_int_equal(trail_seeds_adopt(d, root, slice_of(a, sizeof a), &random), OK);
    /* one that somebody puts there again is not taken for ours */
    struct trail_seeds other = {.n = 1};
    assert_int_equal(disk_save(d, "keep", slice_text("")), OK);
    assert_int_equal(d->ops->rename(d, TRAIL_KEY_FILE, "keep"), OK);
    assert_int_equal(trail_seeds_save(d, root, &random, &other), OK);
    assert_int_equal(d->ops->rename(d, TRAIL_KEY_FILE, TRAIL_KEY_FILE_FORMER), OK);
    assert_int_equal(d->ops->rename(d, "keep", TRAIL_KEY_FILE), OK);
    assert_int_equal(trail_seeds_adopt(d, root, slice_of(a, sizeof a), &random), OK);
    assert_int_equal(trail_seeds_load(d, slice_of(a, sizeof a), &got), OK);
    assert_memory_equal(got.seed[0], seeds.seed[0], sizeof seeds.seed[0]);
    assert_null(memory_find(&p->disk, TRAIL_KEY_FILE_FORMER));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines_arrive),
        TEST(test_it_dies_at_every_message),
        TEST(test_it_dies_before_it_hears),
        TEST(test_a_full_disk),
        TEST(test_over_files),
        TEST(test_the_spool_is_bounded),
        TEST(test_lines_that_were_there),
        TEST(test_anchors_and_keys),
        TEST(test_the_end_is_short),
        TEST(test_runs_and_numbers),
        TEST(test_lines_that_are_none),
        TEST(test_a_flood_is_bounded),
        TEST(test_blame_is_bounded),
        TEST(test_the_key_of_a_version_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
