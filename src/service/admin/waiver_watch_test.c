/* What becomes of waivers is in the trail: each step once, whoever made it. */
#include "service/admin/admin_private.h"
#include "service/admin/admin_test_private.h"
#include "service/directory/expiry.h"
#include "service/doctor/waivers.h"

static void save(struct home *p, const struct waivers *all)
{
    AUTO(buf_done) struct buf text = {0};
    assert_int_equal(waivers_write(all, 0, &text), OK);
    assert_int_equal(disk_save(p->disk, WAIVERS_FILE, buf_slice(&text)), OK);
}

static void waive(struct home *p, struct waivers *all, const char *rule, int64_t days)
{
    struct why why;
    uint32_t id;
    struct waiver w = {.product = FACTS_SALLYPORT,
                       .by = "ann",
                       .reason = "until spring",
                       .made_wall_ms = test_wall_ms(NULL)};
    w.ends_wall_ms = w.made_wall_ms + days * EXPIRY_DAY_MS;
    (void)slice_to_text(slice_text(rule), w.rule, sizeof w.rule);
    assert_int_equal(waivers_add(all, &w, &id, &why), OK);
    save(p, all);
}

/* Counts what a look tells, twice: a second one tells nothing. */
static void look(struct home *p, const char *words, size_t want)
{
    size_t before = count_events(p, "config_change", "waiver");
    admin_watch_waivers(p->admin);
    assert_int_equal(count_events(p, "config_change", words), want);
    size_t after = count_events(p, "config_change", "waiver");
    assert_int_equal(after - before, want > 0 ? 1 : 0);
    admin_watch_waivers(p->admin);
    assert_int_equal(count_events(p, "config_change", "waiver"), after);
}

static void each_step_is_told_once(void **state)
{
    struct home *p = *state;
    AUTO(waivers_done) struct waivers all = {0};
    look(p, "waiver", 0);
    waive(p, &all, "wide-grant", 2);
    look(p, "waiver 1 is in force: wide-grant of sallyport until", 1);
    waive(p, &all, "disk-full", 9);
    look(p, "waiver 2 is in force", 1);
    p->admin->has_seen_waivers = false; /* as after a start */
    look(p, "no such words", 0);
    assert_int_equal(waivers_end(&all, 2, test_wall_ms(NULL)), OK);
    save(p, &all);
    look(p, "waiver 2 was ended before its time", 1);
    all.items[0].ends_wall_ms += EXPIRY_DAY_MS; /* by an editor */
    save(p, &all);
    look(p, "waiver 1 has another end now", 1);
    __atomic_store_n(&p->shift_ms, 4 * EXPIRY_DAY_MS, __ATOMIC_RELAXED);
    look(p, "waiver 1 is over", 1);
    p->admin->has_seen_waivers = false;
    look(p, "no such words", 0);
}

/* Two that differ only in numbers, seen in one look. */
static void two_at_once_are_two_lines(void **state)
{
    struct home *p = *state;
    AUTO(waivers_done) struct waivers all = {0};
    waive(p, &all, "wide-grant", 2);
    waive(p, &all, "wide-grant", 3);
    admin_watch_waivers(p->admin);
    assert_int_equal(count_events(p, "config_change", "waiver 1 is in force"), 1);
    assert_int_equal(count_events(p, "config_change", "waiver 2 is in force"), 1);
}

static void what_is_taken_out_or_broken_is_told(void **state)
{
    struct home *p = *state;
    AUTO(waivers_done) struct waivers all = {0};
    waive(p, &all, "wide-grant", 2);
    look(p, "waiver 1 is in force", 1);
    assert_int_equal(disk_save(p->disk, WAIVERS_FILE, slice_text("{")), OK);
    look(p, "do not read", 1);
    all.n = 0;
    save(p, &all);
    look(p, "waiver 1 was taken out of the file", 1);
    waive(p, &all, "disk-full", 3); /* the number is given again, and is another waiver */
    look(p, "waiver 1 is in force: disk-full", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_step_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(two_at_once_are_two_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_taken_out_or_broken_is_told, setup, teardown)};
    return cmocka_run_group_tests_name("waiver_watch", tests, NULL, NULL);
}
