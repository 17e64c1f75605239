#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/pki/register_private.h"
#include "store/disk_test.h"

static const int64_t now = INT64_C(1795000000000);
#define DAY_MS INT64_C(86400000)
static const uint8_t seal_bytes[32] = "the seal of this test, 32 bytes";

enum { DISK_BYTES = 64 * 1024 * 1024 };

struct place {
    struct test_disk t;
    struct register_setup setup;
    struct pki_register *r;
};

static struct slice text(const char *s)
{
    return slice_text(s);
}

static int setup(void **state)
{
    struct place *p = test_calloc(1, sizeof *p);
    test_disk_init(&p->t, DISK_BYTES, 7);
    p->setup = (struct register_setup){.disk = &p->t.disk,
                                       .seal = slice_of(seal_bytes, sizeof seal_bytes),
                                       .random = random_system(),
                                       .now_wall_ms = now};
    const struct register_founding none = {.n_hosts = 0};
    assert_int_equal(register_create(&p->setup, &none, &p->r), OK);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    p->r = register_free(p->r);
    test_disk_done(&p->t);
    test_free(p);
    return 0;
}

static void reopen(struct place *p)
{
    struct why why = {""};
    p->r = register_free(p->r);
    enum err err = register_open(&p->setup, &p->r, &why);
    if (err != OK) {
        fail_msg("%s: %s", err_name(err), why.text);
    }
}

static struct register_row row_of(uint64_t number)
{
    struct register_row row = {.serial = {.n = 16}, .not_before_wall_ms = now};
    row.not_after_wall_ms = now + 90 * DAY_MS;
    memcpy(row.serial.bytes, &number, sizeof number);
    memcpy(row.spki.bytes, &number, sizeof number);
    return row;
}

static enum err issue(struct pki_register *r, const char *name, uint64_t number)
{
    const struct register_row row = row_of(number);
    return register_issue(r, text(name), &row, now);
}

static bool is_revoked(const struct pki_register *r, uint64_t number)
{
    const struct register_row row = row_of(number);
    const struct register_issued *i = register_issued_find(r, &row.serial);
    assert_non_null(i);
    return i->revoked_wall_ms != 0;
}

static void names_and_certificates(void **state)
{
    struct place *p = *state;
    const struct register_row two = row_of(2);
    struct digest key = {"a key"};
    assert_int_equal(register_enrol(p->r, text("meter-1"), NULL, now), OK);
    assert_int_equal(register_enrol(p->r, text("meter-2"), &key, now), OK);
    assert_int_equal(register_enrol(p->r, text("a/b"), NULL, now), ERR_MALFORMED);
    assert_int_equal(issue(p->r, "meter-1", 1), OK);
    assert_int_equal(issue(p->r, "meter-1", 2), OK);
    assert_int_equal(issue(p->r, "meter-1", 2), ERR_EXISTS);
    assert_int_equal(issue(p->r, "", 3), OK);
    assert_int_equal(register_revoke_serial(p->r, &two.serial, AUTHORITY_SUPERSEDED, now + 5), OK);
    assert_int_equal(register_revoke_serial(p->r, &two.serial, AUTHORITY_UNSPECIFIED, now + 9), OK);
    const struct register_row none = row_of(9);
    assert_int_equal(register_revoke_serial(p->r, &none.serial, AUTHORITY_UNSPECIFIED, now),
                     ERR_NOT_FOUND);
    for (int round = 0; round < 3; round++) {
        const struct register_name *n = register_name_find(p->r, text("meter-1"));
        assert_true(n != NULL && n->state == REGISTER_ENROLLED && !n->has_spki && n->is_open);
        n = register_name_find(p->r, text("meter-2"));
        assert_true(n != NULL && n->has_spki);
        assert_memory_equal(&n->spki, &key, sizeof key);
        assert_false(is_revoked(p->r, 1));
        const struct register_issued *i = register_issued_find(p->r, &two.serial);
        assert_int_equal(i->revoked_wall_ms, now + 5);
        assert_int_equal(i->reason, AUTHORITY_SUPERSEDED);
        assert_ptr_equal(register_key_find(p->r, &two.spki), i);
        const struct register_row three = row_of(3);
        assert_null(register_issued_find(p->r, &three.serial)->name);
        assert_int_equal(register_born(p->r), now);
        reopen(p);
    }
    /* a name and all of its certificates */
    uint64_t before = register_revision(p->r);
    assert_int_equal(register_revoke(p->r, text("meter-1"), AUTHORITY_KEY_COMPROMISE, now), OK);
    assert_true(register_revision(p->r) > before);
    assert_true(is_revoked(p->r, 1));
    assert_int_equal(register_enrol(p->r, text("meter-1"), NULL, now), ERR_DENIED);
    reopen(p);
    assert_true(is_revoked(p->r, 1));
    assert_int_equal(register_enrol(p->r, text("meter-1"), NULL, now), ERR_DENIED);
    assert_int_equal(register_forget(p->r, text("meter-1"), now), OK);
    assert_int_equal(register_forget(p->r, text("meter-1"), now), ERR_NOT_FOUND);
    assert_int_equal(register_forget(p->r, text("meter-9"), now), ERR_NOT_FOUND);
    assert_int_equal(register_enrol(p->r, text("meter-1"), NULL, now), OK);
    assert_true(is_revoked(p->r, 1)); /* of who had the name before */
    reopen(p);
    assert_true(is_revoked(p->r, 1) && !is_revoked(p->r, 3));
    /* long over: nobody asks any more */
    p->setup.now_wall_ms = now + 90 * DAY_MS + REGISTER_KEEP_MS + 1;
    reopen(p);
    assert_null(register_issued_find(p->r, &two.serial));
}

static void tokens(void **state)
{
    struct place *p = *state;
    const struct authority_claim claim = {.pattern = text("meter-*"),
                                          .role = text("sensor"),
                                          .attrs_json = text("{\"site\":\"lab\"}"),
                                          .expires_wall_ms = now + DAY_MS,
                                          .uses = 2};
    assert_int_equal(register_token_add(p->r, text("AAAAA"), &claim, now), OK);
    assert_int_equal(register_token_add(p->r, text("AAAAA"), &claim, now), ERR_EXISTS);
    for (unsigned uses = 2; uses > 0; uses--) {
        struct register_token *t = register_token_find(p->r, text("AAAAA"));
        assert_true(t != NULL && t->uses == uses);
        assert_string_equal(t->pattern, "meter-*");
        assert_string_equal(t->attrs_json, "{\"site\":\"lab\"}");
        struct register_row row = row_of(uses);
        row.token = t;
        row.enrols = true;
        char name[16];
        (void)snprintf(name, sizeof name, "meter-%u", uses);
        assert_int_equal(register_issue(p->r, text(name), &row, now), OK);
        assert_int_equal(register_name_find(p->r, text(name))->state, REGISTER_ENROLLED);
        reopen(p);
        assert_int_equal(register_name_find(p->r, text(name))->state, REGISTER_ENROLLED);
        assert_false(register_name_find(p->r, text(name))->is_open);
    }
    assert_int_equal(register_token_find(p->r, text("AAAAA"))->uses, 0);
    reopen(p);
    assert_null(register_token_find(p->r, text("AAAAA")));
    assert_null(register_token_find(p->r, text("AAAAB")));
    /* cancelled, and for good */
    assert_int_equal(register_token_add(p->r, text("BBBBB"), &claim, now), OK);
    struct register_token *gone = register_token_find(p->r, text("BBBBB"));
    assert_int_equal(register_token_cancel(p->r, gone, now), OK);
    assert_null(register_token_find(p->r, text("BBBBB")));
    reopen(p);
    gone = register_token_find(p->r, text("BBBBB"));
    assert_true(gone == NULL || gone->uses == 0);
    /* not in the clear */
    struct buf file = {0};
    assert_int_equal(disk_load(&p->t.disk, REGISTER_FILE, REGISTER_FILE_MAX, &file), OK);
    assert_null(memmem(file.p, file.n, "meter", 5));
    buf_done(&file);
}

static void revocation_numbers(void **state)
{
    struct place *p = *state;
    uint64_t number = 0;
    assert_int_equal(register_crl_next(p->r, &number), OK);
    assert_int_equal(number, 1);
    reopen(p);
    assert_int_equal(register_crl_number(p->r), 1);
}

static void hosts(void **state)
{
    struct place *p = *state;
    const uint8_t ip[4] = {192, 0, 2, 7};
    struct x509_san all[REGISTER_HOSTS_MAX + 1] = {{X509_SAN_DNS, text("broker.example")},
                                                   {X509_SAN_IP, slice_of(ip, sizeof ip)}};
    struct register_founding f = {.hosts = all, .n_hosts = 2};
    struct pki_register *r = NULL;
    assert_int_equal(register_create(&p->setup, &f, &r), ERR_EXISTS);
    p->r = register_free(p->r);
    assert_int_equal(p->t.disk.ops->remove(&p->t.disk, REGISTER_FILE), OK);
    f.n_hosts = REGISTER_HOSTS_MAX + 1;
    assert_int_equal(register_create(&p->setup, &f, &p->r), ERR_MALFORMED);
    f.n_hosts = 2;
    assert_int_equal(register_create(&p->setup, &f, &p->r), OK);
    reopen(p);
    const struct x509_san other = {X509_SAN_DNS, text("other.example")};
    const struct x509_san as_uri = {X509_SAN_URI, text("broker.example")};
    assert_true(register_has_host(p->r, &all[0]) && register_has_host(p->r, &all[1]));
    assert_false(register_has_host(p->r, &other) || register_has_host(p->r, &as_uri));
}

/* The power goes at each call: what was said to be done is there, what was not is there or not, and
 * it opens. */
static void power_cuts(void **state)
{
    struct place *p = *state;
    for (uint64_t at = 1; at < 40; at++) {
        enum err enrolled, issued, revoked;
        uint64_t number = 100 + at;
        char name[16];
        (void)snprintf(name, sizeof name, "m-%u", (unsigned)at);
        p->t.die_at = p->t.n_calls + at;
        enrolled = register_enrol(p->r, text(name), NULL, now);
        issued = issue(p->r, name, number);
        revoked = register_revoke(p->r, text(name), AUTHORITY_UNSPECIFIED, now);
        p->t.die_at = 0;
        p->t.is_dead = false;
        test_disk_cut(&p->t);
        reopen(p);
        const struct register_name *n = register_name_find(p->r, text(name));
        const struct register_row row = row_of(number);
        assert_true(enrolled != OK || (n != NULL && n->state != REGISTER_FORGOTTEN));
        assert_true(issued != OK || register_issued_find(p->r, &row.serial) != NULL);
        assert_true(revoked != OK || (n != NULL && n->state == REGISTER_REVOKED));
        if (revoked == OK) {
            return;
        }
    }
    fail();
}

/* A disk that refuses for a while: nothing changes, and nothing is lost afterwards. */
static void full_disk(void **state)
{
    struct place *p = *state;
    assert_int_equal(register_enrol(p->r, text("a"), NULL, now), OK);
    for (uint64_t at = 0; at < 12; at++) {
        test_disk_fail(&p->t, at, 1, ERR_SPACE);
        enum err err = register_enrol(p->r, text("b"), NULL, now);
        assert_int_equal(register_name_find(p->r, text("b")) != NULL, err == OK);
        test_disk_heal(&p->t);
        if (err == OK) {
            assert_true(at > 0);
            reopen(p);
            assert_non_null(register_name_find(p->r, text("a")));
            assert_non_null(register_name_find(p->r, text("b")));
            return;
        }
    }
    fail();
}

static void changed_files(void **state)
{
    struct place *p = *state;
    struct buf file = {0};
    struct why why = {""};
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(issue(p->r, "", i), OK);
    }
    p->r = register_free(p->r);
    assert_int_equal(disk_load(&p->t.disk, REGISTER_FILE, REGISTER_FILE_MAX, &file), OK);
    /* torn anywhere behind its first block: opens, or says that it was changed; no crash */
    for (size_t n = 0; n < file.n; n++) {
        assert_int_equal(disk_save(&p->t.disk, REGISTER_FILE, slice_of(file.p, n)), OK);
        enum err err = register_open(&p->setup, &p->r, &why);
        assert_true(err == OK || err == ERR_CRYPTO);
        p->r = register_free(p->r);
    }
    /* a bit that is not in the last block */
    for (size_t at = 0; at < file.n / 2; at += 7) {
        file.p[at] ^= 1;
        assert_int_equal(disk_save(&p->t.disk, REGISTER_FILE, buf_slice(&file)), OK);
        enum err err = register_open(&p->setup, &p->r, &why);
        assert_true(err == ERR_CRYPTO || err == OK);
        p->r = register_free(p->r);
        file.p[at] ^= 1;
    }
    uint8_t other[32] = "another seal";
    assert_int_equal(disk_save(&p->t.disk, REGISTER_FILE, buf_slice(&file)), OK);
    p->setup.seal = slice_of(other, sizeof other);
    assert_int_equal(register_open(&p->setup, &p->r, &why), ERR_CRYPTO);
    assert_non_null(strstr(why.text, "backup"));
    buf_done(&file);
}

/* Every allocation may fail: nothing changed then. */
static void no_memory(void **state)
{
    struct place *p = *state;
    for (long n = 0; n < 200; n++) {
        (void)mem_fail_after(n);
        enum err err = register_enrol(p->r, text("meter-1"), NULL, now);
        err = err == OK ? issue(p->r, "meter-1", 1) : err;
        bool failed = mem_fail_after(-1) != 0;
        if (err == OK) {
            assert_false(failed && n > 150);
            reopen(p);
            assert_false(is_revoked(p->r, 1));
            break;
        }
        const struct register_row row = row_of(1);
        assert_null(register_issued_find(p->r, &row.serial));
    }
    for (long n = 0; n < 500; n++) {
        p->r = register_free(p->r);
        (void)mem_fail_after(n);
        enum err err = register_open(&p->setup, &p->r, NULL);
        bool failed = mem_fail_after(-1) != 0;
        if (err == OK && !failed) {
            return;
        }
    }
    fail();
}

/* 20,000 devices: memory, and the time of a start. */
static void a_fleet(void **state)
{
    enum { FLEET = 20000 };
    struct place *p = *state;
    static char names[FLEET][16];
    static struct slice slices[FLEET];
    for (size_t i = 0; i < FLEET; i++) {
        (void)snprintf(names[i], sizeof names[i], "meter-%05zu", i);
        slices[i] = text(names[i]);
    }
    p->r = register_free(p->r);
    assert_int_equal(p->t.disk.ops->remove(&p->t.disk, REGISTER_FILE), OK);
    const struct register_founding f = {.enrolled = slices, .n_enrolled = FLEET};
    uint64_t before = mem_used();
    assert_int_equal(register_create(&p->setup, &f, &p->r), OK);
    for (uint64_t i = 0; i < FLEET; i += 20) { /* the others cost the same */
        assert_int_equal(issue(p->r, names[i], i), OK);
    }
    reopen(p);
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    reopen(p);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    int64_t ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    uint64_t bytes = mem_used() - before;
    print_message("a start of %d names: %lld ms, %llu bytes\n", (int)FLEET, (long long)ms,
                  (unsigned long long)bytes);
    assert_true(bytes < (uint64_t)FLEET * REGISTER_NAME_COST * 2);
    assert_true(ms < 5000); /* a sanitizer's; without one it is a tenth of a second */
    assert_int_equal(register_name_find(p->r, text("meter-19999"))->state, REGISTER_ENROLLED);
}

/* A file that has grown is written anew while it is used. */
static void grows(void **state)
{
    struct place *p = *state;
    uint64_t most = 0;
    for (unsigned i = 0; i < 9000; i++) {
        assert_int_equal(register_enrol(p->r, text("meter-1"), NULL, now), OK);
        most = p->r->n_bytes > most ? p->r->n_bytes : most;
        if (p->r->n_bytes < most) {
            assert_true(most > REGISTER_REWRITE_BYTES / 2 && p->r->n_bytes < 4096);
            reopen(p);
            assert_non_null(register_name_find(p->r, text("meter-1")));
            return;
        }
        p->r->n_bytes += 512; /* as if it had been more */
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_and_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(revocation_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(power_cuts, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_files, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fleet, setup, teardown),
        cmocka_unit_test_setup_teardown(grows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
