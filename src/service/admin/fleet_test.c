/* Pieces of a fleet: their bounds, what is so already, what is refused, and that each is one save.
 */
#include "service/admin/admin_test_private.h"
#include "service/admin/provision.h"

static json_t *names_from(size_t first, size_t n)
{
    json_t *names = json_array();
    for (size_t i = first; i < first + n; i++) {
        json_array_append_new(names, json_sprintf("d-%zu", i));
    }
    return names;
}

static json_t *rows_from(size_t first, size_t n, const char *credential)
{
    json_t *rows = json_array();
    for (size_t i = first; i < first + n; i++) {
        json_array_append_new(rows,
                              json_pack("{s:o,s:s,s:{s:s},s:[s]}", "name", json_sprintf("d-%zu", i),
                                        "role", "sensor", "attrs", "site", i % 2 == 0 ? "a" : "b",
                                        "credentials", credential));
    }
    return rows;
}

static void add_rows(struct home *p, size_t n, const char *credential)
{
    for (size_t i = 0; i < n; i += FLEET_BUNDLES_MAX) {
        size_t piece = n - i < FLEET_BUNDLES_MAX ? n - i : FLEET_BUNDLES_MAX;
        expect(p, "fleet.add",
               json_pack("{s:o,s:s}", "rows", rows_from(i, piece, credential), "save_dir", "/x"), 0,
               NULL);
    }
}

static json_t *change(const char *what, json_t *names)
{
    return json_pack("{s:s,s:o}", "change", what, "names", names);
}

struct sums {
    json_int_t changed, already;
    size_t refused, bundles;
};

/* The sums of a piece; it ends with 0. */
static struct sums sums_of(struct home *p, const char *verb, json_t *args)
{
    struct answer a = ask(p, verb, args);
    if (a.exit_code != 0) {
        fail_msg("%s: %s", verb, a.error);
    }
    const json_t *line = json_array_get(a.lines, 0);
    struct sums s = {json_integer_value(json_object_get(line, "changed")),
                     json_integer_value(json_object_get(line, "already")),
                     json_array_size(json_object_get(line, "refused")),
                     json_array_size(json_object_get(line, "bundles"))};
    answer_done(&a);
    return s;
}

#define EXPECT_SUMS(got, c, a, r, b)                                                               \
    do {                                                                                           \
        struct sums s_ = (got);                                                                    \
        assert_int_equal(s_.changed, c);                                                           \
        assert_int_equal(s_.already, a);                                                           \
        assert_int_equal(s_.refused, r);                                                           \
        assert_int_equal(s_.bundles, b);                                                           \
    } while (0)

static uint64_t epoch_of(const struct home *p)
{
    const struct directory_version *v = directory_current(p->directory);
    uint64_t epoch = directory_version_epoch(v);
    directory_version_unref(v);
    return epoch;
}

static void test_bounds(void **state)
{
    struct home *p = *state;
    uint64_t epoch = epoch_of(p);
    EXPECT_SUMS(sums_of(p, "fleet.change", change("remove", names_from(0, FLEET_CHANGES_MAX))), 0,
                FLEET_CHANGES_MAX, 0, 0);
    expect(p, "fleet.change", change("remove", names_from(0, FLEET_CHANGES_MAX + 1)), 1,
           "at most 256");
    expect(p, "fleet.rotate", json_pack("{s:o}", "names", names_from(0, FLEET_BUNDLES_MAX + 1)), 1,
           "at most 32");
    expect(p, "fleet.add", json_pack("{s:o}", "rows", rows_from(0, FLEET_BUNDLES_MAX + 1, "psk")),
           1, "at most 32");
    expect(p, "fleet.add", json_pack("{s:[{s:s}]}", "rows", "name", "x"), 1, "name and role");
    expect(p, "fleet.change", json_pack("{s:s,s:[i]}", "change", "disable", "names", 1), 1,
           "array");
    expect(p, "fleet.change", change("explode", names_from(0, 1)), 1, "no such change");
    expect(p, "fleet.change", change("role", names_from(0, 1)), 1, "no role");
    expect(p, "fleet.change", change("assign", names_from(0, 1)), 1, "--gateway");
    expect(p, "fleet.change", NULL, 1, "array");
    expect(p, "fleet.rotate",
           json_pack("{s:[],s:I}", "names", "overlap_s", (json_int_t)PROVISION_OVERLAP_MAX_S + 1),
           1, "30 days");
    expect(p, "fleet.select", json_pack("{s:s}", "where", "site"), 1, "KEY=VALUE");
    expect(p, "device.role", json_pack("{s:s}", "name", "x"), 1, "no role");
    assert_int_equal(epoch_of(p), epoch); /* nothing of it changed anything */
}

static void test_changes(void **state)
{
    struct home *p = *state;
    add_rows(p, 40, "psk");
    uint64_t epoch = epoch_of(p);
    expect(p, "device.revoke", json_pack("{s:s}", "name", "d-3"), 0, NULL);
    expect(p, "device.disable", json_pack("{s:s}", "name", "d-4"), 0, NULL);
    json_t *names = names_from(0, 50); /* ten are nobody */
    json_array_append_new(names, json_string("d-0"));
    EXPECT_SUMS(sums_of(p, "fleet.change", change("disable", json_incref(names))), 38, 2, 11, 0);
    EXPECT_SUMS(sums_of(p, "fleet.change", change("disable", names)), 0, 40, 11, 0);
    EXPECT_SUMS(sums_of(p, "fleet.change", change("enable", names_from(0, 40))), 39, 0, 1, 0);
    assert_true(epoch_of(p) > epoch);
    assert_int_equal(count_events(p, "device_change", "\"target\":\"d-7\""), 3);
    EXPECT_SUMS(sums_of(p, "fleet.change", change("remove", names_from(0, 41))), 40, 1, 0, 0);
}

/* Every page once: all of them, and each once. */
static void test_select(void **state)
{
    struct home *p = *state;
    add_rows(p, 70, "psk");
    size_t n = 0;
    for (json_int_t page = 0; page >= 0;) {
        struct answer a =
            ask(p, "fleet.select",
                json_pack("{s:[s,s],s:I}", "where", "site=a", "role=sensor", "page", page));
        const json_t *line = json_array_get(a.lines, 0);
        n += json_array_size(json_object_get(line, "names"));
        assert_true(json_integer_value(json_object_get(line, "page")) != page);
        page = json_integer_value(json_object_get(line, "page"));
        answer_done(&a);
    }
    assert_int_equal(n, 35);
}

/* The shortest ids of OSCORE are few: those of one piece are apart, too. */
static void test_add_again(void **state)
{
    struct home *p = *state;
    add_rows(p, 2 * FLEET_BUNDLES_MAX, "oscore");
    json_t *rows = rows_from(0, 4, "oscore");
    json_object_set_new(json_array_get(rows, 0), "has_bundle", json_true());
    json_object_set_new(json_array_get(rows, 1), "role", json_string("actuator"));
    json_object_set_new(json_object_get(json_array_get(rows, 2), "attrs"), "x", json_string("y"));
    /* The last one is as ordered, its bundle is lost, and the run did not make it: it stays. */
    EXPECT_SUMS(sums_of(p, "fleet.add",
                        json_pack("{s:O,s:I}", "rows", rows, "since", (json_int_t)INT64_MAX)),
                0, 1, 3, 0);
    EXPECT_SUMS(sums_of(p, "fleet.add", json_pack("{s:O}", "rows", rows)), 0, 1, 3, 0);
    /* It did: made anew. */
    EXPECT_SUMS(sums_of(p, "fleet.add", json_pack("{s:o,s:i}", "rows", rows, "since", 1)), 1, 1, 2,
                1);
}

static size_t live_credentials(const struct home *p, const char *name)
{
    const struct directory_version *v = directory_current(p->directory);
    size_t n = directory_find(v, slice_text(name))->n_credentials;
    directory_version_unref(v);
    return n;
}

static void test_rotate_again(void **state)
{
    struct home *p = *state;
    add_rows(p, 8, "psk");
    int64_t since = p->setup.clock.wall_ms(p->setup.clock.ctx) + 1;
    __atomic_store_n(&p->shift_ms, 10, __ATOMIC_RELAXED); /* the run begins after they were made */
    json_t *args = json_pack("{s:o,s:i,s:I}", "names", names_from(0, 8), "overlap_s", 3600, "since",
                             (json_int_t)since);
    for (int i = 0; i < 3; i++) {
        EXPECT_SUMS(sums_of(p, "fleet.rotate", json_incref(args)), 8, 0, 0, 8);
        const struct directory_version *v = directory_current(p->directory);
        const struct directory_entry *e = directory_find(v, slice_text("d-5"));
        assert_int_equal(e->n_credentials, 2);
        assert_true(e->credentials[0]->created_wall_ms < since); /* the one that it has stays */
        directory_version_unref(v);
    }
    json_decref(args);
    /* Without a run two rotations are two. */
    EXPECT_SUMS(sums_of(p, "fleet.rotate", json_pack("{s:[s]}", "names", "d-5")), 1, 0, 0, 1);
    assert_int_equal(live_credentials(p, "d-5"), 1);
    EXPECT_SUMS(sums_of(p, "fleet.rotate", json_pack("{s:[s,s]}", "names", "nobody", "d-6")), 1, 0,
                1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_select, setup, teardown),
        cmocka_unit_test_setup_teardown(test_add_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotate_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
