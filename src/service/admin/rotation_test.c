/* Rotations that wait for their device, as an operator sees them. */
#include "service/admin/admin_private.h"
#include "service/admin/admin_test_private.h"
#include "service/directory/expiry.h"

static json_t *rotation(const char *name, const char *credential, int overlap_s)
{
    return json_pack("{s:s,s:i,s:[s],s:s}", "name", name, "overlap_s", overlap_s, "credentials",
                     credential, "save_dir", "x");
}

static json_t *decision(const char *name, const char *how)
{
    return json_pack("{s:s,s:b}", "name", name, how, 1);
}

/* The newest credential of a device; borrowed from the directory. */
static const struct credential *newest(struct home *p, const char *name)
{
    AUTO(admin_version_release) const struct directory_version *v = directory_current(p->directory);
    const struct directory_entry *e = directory_find(v, slice_text(name));
    assert_non_null(e);
    return e->credentials[e->n_credentials - 1];
}

static size_t n_credentials(struct home *p, const char *name)
{
    struct answer a = ask(p, "device.show", json_pack("{s:s}", "name", name));
    size_t n = json_array_size(json_object_get(json_array_get(a.lines, 0), "credentials"));
    answer_done(&a);
    return n;
}

static void settle_until(struct home *p, const char *name, size_t n)
{
    uint64_t until = test_mono_ms(NULL) + 10000;
    while (n_credentials(p, name) != n && test_mono_ms(NULL) < until) {
    }
    assert_int_equal(n_credentials(p, name), n);
}

static void confirmed_by_the_first_use(void **state)
{
    struct home *p = *state;
    add(p, "m");
    struct answer a = ask(p, "device.rotate", rotation("m", "psk", 60));
    const char *note = text_of(json_array_get(a.lines, 0), "note");
    assert_non_null(strstr(note, "until it has used the new ones, then for 60 s"));
    assert_null(strstr(note, "void"));
    answer_done(&a);
    a = ask(p, "device.rotate", rotation("m", "psk", 1));
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "note"), "is void"));
    answer_done(&a);
    assert_int_equal(n_credentials(p, "m"), 2);
    a = ask(p, "device.show", json_pack("{s:s}", "name", "m"));
    assert_non_null(strstr(text_of(json_array_get(a.lines, 0), "text"), "UNCONFIRMED"));
    answer_done(&a);
    a = ask(p, "certs.list", json_pack("{s:s}", "state", "unconfirmed"));
    assert_int_equal(json_array_size(a.lines), 1);
    assert_non_null(
        strstr(text_of(json_array_get(a.lines, 0), "text"), "rotation not confirmed since 20"));
    answer_done(&a);

    credential_used(newest(p, "m"), test_wall_ms(NULL));
    settle_until(p, "m", 1); /* the old one has a second yet, then it is gone */
    assert_int_equal(count_events(p, "credential_rotated", "is confirmed"), 1);
    assert_false(newest(p, "m")->is_unconfirmed);
    expect(p, "device.rotate", decision("m", "abort"), 1, "nothing to take back");
}

static void taken_back_and_cut_over(void **state)
{
    struct home *p = *state;
    add(p, "m");
    uint64_t first = newest(p, "m")->id;
    expect(p, "device.rotate", decision("m", "now"), 1, "nothing to cut over");
    expect(p, "device.rotate", decision("nobody", "now"), 1, "not there");
    expect(p, "device.rotate", rotation("m", "psk", 60), 0, NULL);
    expect(p, "device.rotate", decision("m", "abort"), 0, NULL);
    assert_int_equal(n_credentials(p, "m"), 1);
    assert_true(newest(p, "m")->id == first);
    expect(p, "device.rotate", rotation("m", "psk", 60), 0, NULL);
    expect(p, "device.rotate", decision("m", "now"), 0, NULL);
    assert_int_equal(n_credentials(p, "m"), 1);
    assert_true(newest(p, "m")->id != first);
    assert_int_equal(count_events(p, "credential_rotated", "taken back"), 1);
    assert_int_equal(count_events(p, "credential_rotated", "cut over"), 1);
}

static void opaque_ones_stay_opaque(void **state)
{
    struct home *p = *state;
    json_t *args = order("m", "psk");
    assert_int_equal(json_object_set_new(args, "opaque", json_true()), 0);
    expect(p, "device.add", args, 0, NULL);
    char first[CREDENTIAL_IDENTITY_BYTES];
    memcpy(first, newest(p, "m")->identity, sizeof first);
    assert_int_equal(first[0], CREDENTIAL_OPAQUE[0]);
    struct answer a = ask(p, "device.rotate", rotation("m", "psk", 0));
    const json_t *files = json_object_get(json_array_get(a.lines, 0), "bundle");
    const char *psk = json_string_value(json_object_get(files, "psk.txt"));
    const char *howto = json_string_value(json_object_get(files, "howto.txt"));
    assert_string_not_equal(newest(p, "m")->identity, first);
    assert_int_equal(strncmp(psk, newest(p, "m")->identity, sizeof first - 1), 0);
    assert_int_equal(psk[sizeof first - 1], ':');
    (void)howto;
    answer_done(&a);
}

static size_t n_alerts(struct home *p, const char *word)
{
    size_t n = 0;
    struct answer a = ask(p, "alerts", NULL);
    for (size_t i = 0; i < json_array_size(a.lines); i++) {
        n += strstr(text_of(json_array_get(a.lines, i), "reason"), word) != NULL ? 1 : 0;
    }
    answer_done(&a);
    return n;
}

static void somebody_is_told(void **state)
{
    struct home *p = *state;
    const struct secret_ages ages = {.report_s = {86400 * 30, 86400 * 30, 86400 * 30}};
    directory_set_ages(p->directory, &ages);
    add(p, "m");
    expect(p, "device.rotate", rotation("m", "psk", 60), 0, NULL);
    admin_watch_expiry(p->admin, 1);
    assert_int_equal(n_alerts(p, "not confirmed"), 0);
    __atomic_store_n(&p->shift_ms, 8 * EXPIRY_DAY_MS, __ATOMIC_RELAXED);
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 61 * 60 * 1000);
    assert_int_equal(n_alerts(p, "1 rotations are not confirmed after 7 days"), 1);
    assert_int_equal(n_alerts(p, "secrets are older"), 0);
    expect(p, "device.rotate", decision("m", "now"), 0, NULL);
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 61 * 60 * 1000);
    assert_int_equal(n_alerts(p, "not confirmed"), 0);

    __atomic_store_n(&p->shift_ms, 40 * EXPIRY_DAY_MS, __ATOMIC_RELAXED);
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 123 * 60 * 1000);
    assert_int_equal(n_alerts(p, "1 secrets are older"), 1);
    struct answer a = ask(p, "certs.list", json_pack("{s:s}", "state", "aged"));
    assert_int_equal(json_array_size(a.lines), 1);
    assert_true(json_is_null(json_object_get(json_array_get(a.lines, 0), "days")));
    answer_done(&a);
    a = ask(p, "certs.plan", NULL);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(a.lines, 3), "aged")), 1);
    answer_done(&a);
    expect(p, "device.rotate", rotation("m", "psk", 0), 0, NULL);
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 123 * 60 * 1000);
    assert_int_equal(n_alerts(p, "secrets are older"), 0);
    assert_int_equal(count_events(p, "credential_expiring", "secrets are older"), 1);
}

static void in_two_hands(void **state)
{
    struct home *p = *state;
    static const char hex[] = "5b1fd0932ce847a66a3980c1174ef5b2";
    struct oscore_secret oscore = {.kid = {.n = 2, .bytes = {1, 2}}};
    for (size_t i = 0; i < sizeof oscore.secret; i++) {
        const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        oscore.secret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    struct directory_secret secrets[] = {
        {.kind = CREDENTIAL_OSCORE, .expires_wall_ms = CREDENTIAL_NEVER, .oscore = &oscore},
        {.kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = slice_text(hex)}};
    const char *const names[] = {"one", "other"};
    struct answer a = ask(p, "device.list", json_pack("{s:b}", "duplicates", 1));
    assert_int_equal(json_array_size(a.lines), 0);
    answer_done(&a);
    for (size_t i = 0; i < 2; i++) {
        uint64_t id;
        struct directory_order o = {.name = slice_text(names[i]),
                                    .role = slice_text("sensor"),
                                    .secrets = &secrets[i],
                                    .n_secrets = 1};
        assert_int_equal(directory_add(p->directory, &o, test_wall_ms(NULL), &id, NULL), OK);
    }
    a = ask(p, "device.list", json_pack("{s:b}", "duplicates", 1));
    assert_int_equal(json_array_size(a.lines), 1);
    assert_string_equal(text_of(json_array_get(a.lines, 0), "name"), "one");
    assert_string_equal(text_of(json_array_get(a.lines, 0), "other"), "other");
    assert_null(strstr(text_of(json_array_get(a.lines, 0), "text"), hex));
    answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(confirmed_by_the_first_use, setup, teardown),
        cmocka_unit_test_setup_teardown(taken_back_and_cut_over, setup, teardown),
        cmocka_unit_test_setup_teardown(opaque_ones_stay_opaque, setup, teardown),
        cmocka_unit_test_setup_teardown(somebody_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(in_two_hands, setup, teardown),
    };
    return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
