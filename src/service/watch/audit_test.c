#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/watch/anchor.h"
#include "service/watch/audit.h"
#include "service/watch/scribe_near_test.h"

/* A place of its own, and a clock that the test moves. */
struct place {
    char dir[40];
    struct disk *disk;
    uint64_t mono_ms;
    int64_t wall_ms;
    struct audit *audit;
    uint8_t root[TRAIL_ROOT_BYTES];
    struct near near;
    struct audit_setup setup;
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

static void close_audit(struct place *p)
{
    p->audit = audit_free(p->audit);
    near_stop(&p->near);
}

/* Broker and scribe anew. */
static void reopen(struct place *p)
{
    close_audit(p);
    p->near.setup.life.generation++;
    near_start(&p->near);
    assert_int_equal(audit_open(&p->setup, &p->audit), OK);
}

/* Of the broker; lines of the scribe's own are between them. */
static uint64_t n_lines(const struct audit *a)
{
    uint64_t n = 0;
    for (uint64_t i = audit_first(a); i < audit_end(a); i++) {
        struct slice line = audit_line(a, i);
        n += memmem(line.p, line.n, "\"by\":\"scribe\"", 13) == NULL ? 1 : 0;
    }
    return n;
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    memcpy(p->dir, "/tmp/sallyport-aud-XXXXXX", sizeof "/tmp/sallyport-aud-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(disk_system(open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), &p->disk), OK);
    p->mono_ms = 1000;
    p->wall_ms = INT64_C(1795000000000);
    p->setup = (struct audit_setup){.disk = p->disk,
                                    .clock = {mono_ms, mono_us, wall_ms, p},
                                    .root = slice_of(p->root, sizeof p->root),
                                    .random = random_system(),
                                    .link = near_link(&p->near)};
    p->near.setup = (struct scribe_setup){.trail = {.disk = p->disk,
                                                    .clock = p->setup.clock,
                                                    .root = p->setup.root,
                                                    .random = p->setup.random}};
    log_to(quiet, NULL, LOG_ERROR);
    reopen(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    close_audit(p);
    for (uint32_t i = 1; i < 10; i++) {
        char name[TRAIL_NAME_BYTES];
        trail_name(i, name);
        (void)!p->disk->ops->remove(p->disk, name);
    }
    (void)!p->disk->ops->remove(p->disk, ANCHOR_FILE);
    (void)!p->disk->ops->remove(p->disk, TRAIL_KEY_FILE);
    p->disk = p->disk->ops->free(p->disk);
    char folder[sizeof p->dir + sizeof "/" TRAIL_OWN_DIR];
    snprintf(folder, sizeof folder, "%s/" TRAIL_DIR, p->dir);
    assert_int_equal(rmdir(folder), 0);
    snprintf(folder, sizeof folder, "%s/" TRAIL_OWN_DIR, p->dir);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(rmdir(p->dir), 0);
    test_free(p);
    log_to(NULL, NULL, LOG_INFO);
    return 0;
}

static struct event login_failure(const char *peer)
{
    struct event e = event_make(EVENT_auth_fail);
    e.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&e, principal, slice_text("meter-1"));
    EVENT_TEXT(&e, peer, slice_text(peer));
    event_reason(&e, "wrong password; rotate it");
    return e;
}

static json_t *load(struct slice line)
{
    json_error_t error;
    json_t *j = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(j);
    return j;
}

static json_int_t count_of(const struct audit *a, uint64_t number)
{
    json_t *j = load(audit_line(a, number));
    json_int_t n = json_integer_value(json_object_get(j, "count"));
    json_decref(j);
    return n;
}

/* ---- the line ---- */

static void test_keys(void **state)
{
    static const char *const keys[] = {"time",      "category", "severity", "principal",
                                       "client_id", "peer",     "listener", "protocol",
                                       "target",    "reason",   "count"};
    (void)state;
    struct buf line = {0};
    struct event e = event_make(EVENT_acl_deny);
    assert_int_equal(audit_encode(&e, &line), OK);
    json_t *j = load(buf_slice(&line));
    assert_int_equal(json_object_size(j), COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_non_null(json_object_get(j, keys[i]));
    }
    assert_string_equal(json_string_value(json_object_get(j, "time")), "1970-01-01T00:00:00.000Z");
    assert_string_equal(json_string_value(json_object_get(j, "category")), "acl_deny");
    assert_string_equal(json_string_value(json_object_get(j, "severity")), "warning");
    assert_string_equal(json_string_value(json_object_get(j, "principal")), "-");
    assert_string_equal(json_string_value(json_object_get(j, "protocol")), "-");
    assert_int_equal(json_integer_value(json_object_get(j, "count")), 1);
    json_decref(j);
    buf_done(&line);
}

static void test_hostile_names(void **state)
{
    static const struct {
        const char *name, *raw, *read_back;
    } cases[] = {
        {"ansi", "\x1b[31mred", "\x1b[31mred"},
        {"newline", "a\nb\r\nc", "a\nb\r\nc"},
        {"quotes", "\"},{\"category\":\"x\"", "\"},{\"category\":\"x\""},
        {"backslash", "a\\u0041", "a\\u0041"},
        {"delete", "a\x7f", "a\\x7f"},
        {"not utf-8", "a\xff\xc3(", "a\\xff\\xc3("},
        {"overlong", "\xc0\xaf", "\\xc0\\xaf"},
        {"surrogate", "\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"right to left", "\xe2\x80\xae", "\xe2\x80\xae"},
        {"c1 control", "\xc2\x9b", "\xc2\x9b"},
        {"letters", "Z\xc3\xbcrich", "Z\xc3\xbcrich"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf line = {0};
        struct event e = event_make(EVENT_connect);
        print_message("%s\n", cases[i].name);
        EVENT_TEXT(&e, client_id, slice_text(cases[i].raw));
        assert_int_equal(audit_encode(&e, &line), OK);
        struct slice bytes = buf_slice(&line);
        assert_int_equal(slice_find(bytes, '\n'), bytes.n - 1); /* one event is one line */
        for (size_t at = 0; at + 1 < bytes.n; at++) {
            assert_in_range(bytes.p[at], 0x20, 0x7e);
        }
        json_t *j = load(bytes);
        assert_string_equal(json_string_value(json_object_get(j, "client_id")), cases[i].read_back);
        json_decref(j);
        buf_done(&line);
    }
}

static void test_longest(void **state)
{
    (void)state;
    struct buf line = {0};
    struct event e = event_make(EVENT_malformed);
    memset(e.principal, 0xff, sizeof e.principal - 1);
    memset(e.client_id, 0xff, sizeof e.client_id - 1);
    memset(e.peer, 0xff, sizeof e.peer - 1);
    memset(e.listener, 0xff, sizeof e.listener - 1);
    memset(e.target, 0xff, sizeof e.target - 1);
    memset(e.reason, 0x01, sizeof e.reason - 1);
    assert_int_equal(audit_encode(&e, &line), OK);
    assert_true(line.n < AUDIT_LINE_MAX);
    buf_done(&line);
}

/* ---- folding ---- */

static void test_repeats_fold(void **state)
{
    struct place *p = *state;
    for (unsigned i = 0; i < 5; i++) { /* a new port each time */
        char peer[32];
        snprintf(peer, sizeof peer, "192.0.2.1:%u", 40000 + i);
        struct event e = login_failure(peer);
        audit_note(p->audit, &e);
        assert_int_equal(audit_end(p->audit), 1); /* the first at once, no other */
    }
    p->mono_ms += AUDIT_FOLD_MS - 1;
    audit_tick(p->audit, p->mono_ms);
    assert_int_equal(audit_end(p->audit), 1);
    assert_int_equal(audit_deadline(p->audit), p->mono_ms + 1);
    p->mono_ms += 1;
    audit_tick(p->audit, p->mono_ms);
    assert_int_equal(audit_end(p->audit), 2);
    assert_int_equal(count_of(p->audit, 0), 1);
    assert_int_equal(count_of(p->audit, 1), 4);
    assert_int_equal(audit_total(p->audit, EVENT_auth_fail), 5);
}

static void test_one_is_one_line(void **state)
{
    struct place *p = *state;
    struct event e = login_failure("[2001:db8::1]:1");
    audit_note(p->audit, &e);
    p->mono_ms += 2 * AUDIT_FOLD_MS;
    audit_tick(p->audit, p->mono_ms);
    assert_int_equal(audit_end(p->audit), 1);
}

static void test_what_differs_does_not_fold(void **state)
{
    static const struct {
        const char *name, *peer;
        enum event_category category;
        bool folds;
    } cases[] = {
        {"same", "192.0.2.1:9", EVENT_auth_fail, true},
        {"no port", "192.0.2.1", EVENT_auth_fail, true},
        {"address", "192.0.2.2:9", EVENT_auth_fail, false},
        {"v6", "[2001:db8::1]:9", EVENT_auth_fail, false},
        {"v6 without port", "2001:db8::1", EVENT_auth_fail, false},
        {"category", "192.0.2.1:9", EVENT_acl_deny, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct place *p = *state;
        print_message("%s\n", cases[i].name);
        p->mono_ms += 10 * AUDIT_FOLD_MS;
        audit_tick(p->audit, p->mono_ms);
        uint64_t before = audit_end(p->audit);
        struct event first = login_failure("192.0.2.1:8");
        struct event second = login_failure(cases[i].peer);
        second.category = cases[i].category;
        audit_note(p->audit, &first);
        audit_note(p->audit, &second);
        assert_int_equal(audit_end(p->audit) - before, cases[i].folds ? 1 : 2);
    }
}

/* Who has no name of the directory's cannot keep its events apart by what it makes up. */
static void test_made_up_names_fold(void **state)
{
    static const struct {
        const char *principal, *client_id, *reason;
        const char *other_principal, *other_client_id, *other_reason;
        bool folds;
    } cases[] = {
        {"", "a", "byte 7: bad", "", "b", "byte 7: bad", true},
        {"", "a", "byte 7: bad", "", "a", "byte 1234: bad", true},
        {"", "a", "byte 7: bad", "", "a", "byte 7: worse", false},
        {"", "a", "byte 7: bad", "", "a", "byte : bad", false},
        {"anonymous-0-1", "a", "byte 7: bad", "anonymous-1-2", "b", "byte 8: bad", true},
        {"valve", "a", "byte 7: bad", "valve", "b", "byte 7: bad", false},
        {"valve", "a", "byte 7: bad", "valve", "a", "byte 8: bad", false},
        {"valve", "a", "byte 7: bad", "anonymous-0-1", "a", "byte 7: bad", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct place *p = *state;
        p->mono_ms += 10 * AUDIT_FOLD_MS;
        audit_tick(p->audit, p->mono_ms);
        uint64_t before = audit_end(p->audit);
        struct event first = login_failure("192.0.2.1:8");
        struct event second = first;
        EVENT_TEXT(&first, principal, slice_text(cases[i].principal));
        EVENT_TEXT(&first, client_id, slice_text(cases[i].client_id));
        EVENT_TEXT(&first, reason, slice_text(cases[i].reason));
        EVENT_TEXT(&second, principal, slice_text(cases[i].other_principal));
        EVENT_TEXT(&second, client_id, slice_text(cases[i].other_client_id));
        EVENT_TEXT(&second, reason, slice_text(cases[i].other_reason));
        audit_note(p->audit, &first);
        audit_note(p->audit, &second);
        assert_int_equal(audit_end(p->audit) - before, cases[i].folds ? 1 : 2);
    }
}

static void test_many_different(void **state)
{
    struct place *p = *state;
    for (unsigned i = 0; i < AUDIT_FOLDS_MAX + 10; i++) {
        struct event e = login_failure("192.0.2.1:8");
        snprintf(e.target, sizeof e.target, "%u", i);
        audit_note(p->audit, &e);
        audit_note(p->audit, &e);
    }
    /* One line each, and the repeats of the ten that had to leave. */
    assert_int_equal(audit_end(p->audit), AUDIT_FOLDS_MAX + 10 + 10);
    assert_true(audit_line(p->audit, 0).n == 0); /* too old for the memory */
    assert_true(audit_line(p->audit, audit_end(p->audit) - 1).n > 0);
    assert_true(audit_line(p->audit, audit_end(p->audit)).n == 0);
}

/* ---- the file ---- */

static void test_read_back(void **state)
{
    struct place *p = *state;
    struct event e = login_failure("192.0.2.1:8");
    audit_note(p->audit, &e);
    audit_note(p->audit, &e); /* folded: written when the trail is closed */
    reopen(p);
    assert_int_equal(n_lines(p->audit), 2);
    assert_int_equal(count_of(p->audit, audit_end(p->audit) - 1), 1);
}

static void test_a_trail_in_the_clear(void **state)
{
    static const struct {
        const char *file, *text;
    } files[] = {
        {AUDIT_PLAIN_FILE ".2", "{\"n\":1}\n{\"n\":2}\n"},
        {AUDIT_PLAIN_FILE ".1", "{\"n\":3}\nnot a line of ours\n{}\n"},
        {AUDIT_PLAIN_FILE, "{\"n\":4}\n{\"time\":\"20"}, /* torn */
    };
    struct place *p = *state;
    close_audit(p);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        assert_int_equal(disk_save(p->disk, files[i].file, slice_text(files[i].text)), OK);
    }
    reopen(p);
    assert_int_equal(n_lines(p->audit), 5);
    uint64_t end = audit_end(p->audit);
    assert_true(slice_is(audit_line(p->audit, end - 5), "{\"n\":1}\n"));
    assert_true(slice_is(audit_line(p->audit, end - 1), "{\"n\":4}\n"));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct disk_file *f;
        assert_int_equal(p->disk->ops->open(p->disk, files[i].file, DISK_READ, &f), ERR_NOT_FOUND);
    }
    reopen(p); /* once */
    assert_int_equal(n_lines(p->audit), 5);
}

static void test_a_long_trail_in_the_clear(void **state)
{
    struct place *p = *state;
    struct buf text = {0};
    close_audit(p);
    for (unsigned i = 0; i < 3000; i++) {
        char line[512];
        int n = snprintf(line, sizeof line, "{\"n\":%u,\"x\":\"%0*u\"}\n", i, (int)(i % 400), i);
        assert_int_equal(buf_append(&text, slice_of(line, (size_t)n), 4 << 20), OK);
    }
    assert_int_equal(disk_save(p->disk, AUDIT_PLAIN_FILE, buf_slice(&text)), OK);
    buf_done(&text);
    reopen(p);
    assert_int_equal(audit_end(p->audit), 3001);
    assert_true(slice_has_prefix(audit_line(p->audit, 3000), slice_text("{\"n\":2999,")));
}

static void test_damage_is_said(void **state)
{
    struct place *p = *state;
    struct event e = login_failure("192.0.2.1:8");
    struct event said;
    struct disk_file *f;
    audit_note(p->audit, &e);
    reopen(p);
    assert_false(audit_damage(p->audit, &said));
    close_audit(p);
    struct buf file = {0};
    assert_int_equal(disk_load(p->disk, TRAIL_DIR "/00000001.sealed", 4096, &file), OK);
    assert_true(file.n > 500);
    uint8_t other = file.p[500] ^ 1; /* sealed bytes are random: a fixed one may be there already */
    buf_done(&file);
    assert_int_equal(p->disk->ops->open(p->disk, TRAIL_DIR "/00000001.sealed", DISK_WRITE, &f), OK);
    assert_int_equal(p->disk->ops->write_at(f, 500, slice_of(&other, 1)), OK);
    p->disk->ops->close(f);
    reopen(p);
    assert_int_equal(n_lines(p->audit), 1);
    assert_true(audit_damage(p->audit, &said));
    assert_int_equal(said.category, EVENT_audit_integrity);
    assert_string_equal(said.target, TRAIL_DIR "/00000001.sealed");
    assert_non_null(strstr(said.reason, "the first at byte 462"));
    assert_non_null(strstr(said.reason, "1 lines missing"));
}

static void test_nothing_is_readable(void **state)
{
    struct place *p = *state;
    struct event e = login_failure("192.0.2.1:8");
    struct buf file = {0};
    audit_note(p->audit, &e);
    reopen(p);
    assert_int_equal(disk_load(p->disk, TRAIL_DIR "/00000001.sealed", 4096, &file), OK);
    assert_true(file.n > 200);
    assert_null(memmem(file.p, file.n, "meter-1", 7));
    assert_null(memmem(file.p, file.n, "192.0.2.1", 9));
    buf_done(&file);
}

static void test_no_memory(void **state)
{
    struct place *p = *state;
    for (long n = 0; n < 6; n++) {
        struct event e = login_failure("192.0.2.1:8");
        snprintf(e.target, sizeof e.target, "%ld", n);
        mem_fail_after(n);
        audit_note(p->audit, &e);
        mem_fail_after(-1);
    }
    struct event e = login_failure("192.0.2.1:8");
    audit_note(p->audit, &e);
    assert_true(audit_line(p->audit, audit_end(p->audit) - 1).n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_longest),
        cmocka_unit_test_setup_teardown(test_repeats_fold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_is_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_differs_does_not_fold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_made_up_names_fold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_different, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_trail_in_the_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_long_trail_in_the_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_readable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
