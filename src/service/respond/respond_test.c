/* The engine: which rule counts, each bound at, under and over, ends, what a restart keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "service/respond/respond.h"

enum { NOW = 1000000000, MINUTE_MS = 60000 };

#define BIT(d) (UINT64_C(1) << DETECTOR_##d)

static const struct respond_rule quarantine = {.name = "probing",
                                               .detectors = BIT(probing),
                                               .answer = ANSWER_QUARANTINE,
                                               .for_s = 60,
                                               .is_enforced = true};

static struct respond_finding about(uint64_t id, enum detector d)
{
    return (struct respond_finding){
        .detector = d, .id = id, .name = slice_text("pump"), .role = slice_text("sensor")};
}

static struct respond *made(const struct respond_rule *rules, size_t n, uint32_t per_hour)
{
    struct respond *r = NULL;
    struct respond_rules c = {.n = n, .per_hour = per_hour};
    memcpy(c.rules, rules, n * sizeof *rules);
    assert_int_equal(respond_new(&r), OK);
    respond_set_rules(r, &c);
    return r;
}

static enum respond_kind first(struct respond *r, uint64_t id, enum detector d, int64_t now)
{
    struct respond_verdict v[RESPOND_VERDICTS];
    struct respond_finding f = about(id, d);
    return respond_ask(r, &f, now, v) > 0 ? v[0].kind : RESPOND_NOTHING;
}

static struct respond_row row(uint64_t id, uint64_t principal, enum answer_kind answer,
                              int64_t until)
{
    return (struct respond_row){.id = id,
                                .principal = principal,
                                .answer = answer,
                                .since_wall_ms = NOW,
                                .until_wall_ms = until,
                                .is_by_rule = true};
}

static void nothing_is_done_by_default(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = NULL;
    struct respond_counts counts;
    struct respond_verdict v[RESPOND_VERDICTS];
    unsigned n = 0;
    assert_int_equal(respond_new(&r), OK);
    for (unsigned d = 0; d < DETECTOR_COUNT; d++) {
        struct respond_finding f = about(7, (enum detector)d);
        size_t found = respond_ask(r, &f, NOW, v);
        assert_int_equal(found, respond_suggested(f.detector) != ANSWER_ALERT ? 1 : 0);
        if (found > 0) {
            n++;
            assert_int_equal(v[0].kind, RESPOND_TRIAL);
            assert_int_equal(v[0].answer, respond_suggested(f.detector));
        }
    }
    respond_counts(r, &counts);
    assert_true(n > 5);
    assert_int_equal(counts.trials, n);
    assert_null(respond_due(r, INT64_MAX));
}

static void what_is_not_proven_is_never_answered(void **state)
{
    (void)state;
    struct respond_rule all = quarantine;
    all.detectors = UINT64_MAX;
    AUTO(respond_autofree) struct respond *r = made(&all, 1, 100);
    static const enum detector attacked[] = {DETECTOR_login_source, DETECTOR_login_name,
                                             DETECTOR_login_spray,  DETECTOR_replay_burst,
                                             DETECTOR_reflection,   DETECTOR_certificate_key,
                                             DETECTOR_revoked_use,  DETECTOR_clock_skew};
    for (size_t i = 0; i < COUNT_OF(attacked); i++) {
        assert_int_equal(first(r, 7, attacked[i], NOW), RESPOND_NOTHING);
        assert_int_equal(respond_suggested(attacked[i]), ANSWER_ALERT);
    }
    assert_int_equal(first(r, 0, DETECTOR_probing, NOW), RESPOND_NOTHING);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_START);
}

static void the_strongest_and_then_the_longest_counts(void **state)
{
    (void)state;
    struct respond_rule rules[] = {quarantine, quarantine, quarantine, quarantine};
    struct respond_verdict v[RESPOND_VERDICTS];
    struct respond_finding f = about(7, DETECTOR_probing);
    rules[0].answer = ANSWER_THROTTLE;
    rules[2].for_s = 90;
    rules[3].answer = ANSWER_REVOKE;
    snprintf(rules[3].role, sizeof rules[3].role, "lamp");
    AUTO(respond_autofree) struct respond *r = made(rules, 4, 10);
    assert_int_equal(respond_ask(r, &f, NOW, v), 1);
    assert_int_equal(v[0].answer, ANSWER_QUARANTINE);
    assert_int_equal(v[0].for_s, 90);
    f.role = slice_text("lamp");
    assert_int_equal(respond_ask(r, &f, NOW, v), 1);
    assert_int_equal(v[0].answer, ANSWER_REVOKE);
}

static void a_dry_run_is_told_beside_what_is_weaker(void **state)
{
    (void)state;
    struct respond_rule rules[] = {quarantine, quarantine};
    struct respond_verdict v[RESPOND_VERDICTS];
    struct respond_finding f = about(7, DETECTOR_probing);
    rules[1].answer = ANSWER_DISCONNECT;
    rules[1].is_enforced = false;
    AUTO(respond_autofree) struct respond *r = made(rules, 2, 10);
    assert_int_equal(respond_ask(r, &f, NOW, v), 2);
    assert_int_equal(v[0].kind, RESPOND_START);
    assert_int_equal(v[1].kind, RESPOND_TRIAL);
    assert_int_equal(respond_ask(r, &f, NOW + 5, v), 2);
    assert_int_equal(v[1].count, 2);
    size_t at = 0;
    const struct respond_trial *t = respond_trials(r, &at);
    assert_int_equal(t->count, 2);
    assert_int_equal(t->first_wall_ms, NOW);
    assert_int_equal(t->last_wall_ms, NOW + 5);
    assert_null(respond_trials(r, &at));
}

static void who_is_excepted_is_left_alone(void **state)
{
    (void)state;
    struct respond_rules c = {.rules = {quarantine}, .n = 1, .per_hour = 10};
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 10);
    c.n_names = c.n_roles = 1;
    snprintf(c.names[0], sizeof c.names[0], "pump");
    snprintf(c.roles[0], sizeof c.roles[0], "other");
    respond_set_rules(r, &c);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_EXEMPT);
    snprintf(c.names[0], sizeof c.names[0], "pum");
    respond_set_rules(r, &c);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_START);
    snprintf(c.roles[0], sizeof c.roles[0], "sensor");
    respond_set_rules(r, &c);
    assert_int_equal(first(r, 8, DETECTOR_probing, NOW), RESPOND_EXEMPT);
}

static void only_so_many_in_an_hour(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 3);
    struct respond_counts counts;
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(first(r, id, DETECTOR_probing, NOW), RESPOND_START);
    }
    assert_int_equal(first(r, 4, DETECTOR_probing, NOW), RESPOND_CAPPED);
    assert_int_equal(first(r, 2, DETECTOR_probing, NOW + MINUTE_MS), RESPOND_START); /* the same */
    assert_int_equal(first(r, 4, DETECTOR_probing, NOW + RESPOND_HOUR_MS - 1), RESPOND_CAPPED);
    assert_int_equal(first(r, 4, DETECTOR_probing, NOW + RESPOND_HOUR_MS), RESPOND_START);
    respond_counts(r, &counts);
    assert_int_equal(counts.capped, 2);
    AUTO(respond_autofree) struct respond *none = made(&quarantine, 1, 0);
    assert_int_equal(first(none, 1, DETECTOR_probing, NOW), RESPOND_CAPPED);
    AUTO(respond_autofree) struct respond *most = made(&quarantine, 1, RESPOND_PER_HOUR_MAX);
    for (uint64_t id = 1; id <= RESPOND_PER_HOUR_MAX; id++) {
        assert_int_equal(first(most, id, DETECTOR_probing, NOW), RESPOND_START);
    }
    assert_int_equal(first(most, 1000, DETECTOR_probing, NOW), RESPOND_CAPPED);
}

static void what_runs_is_not_begun_again(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 10);
    struct respond_row x = row(1, 7, ANSWER_QUARANTINE, NOW + MINUTE_MS);
    assert_int_equal(respond_began(r, &x), OK);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_NOTHING);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW + 1), RESPOND_START); /* it is longer */
    x.answer = ANSWER_DISCONNECT;
    assert_int_equal(respond_began(r, &x), OK);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW + 1), RESPOND_NOTHING); /* and weaker */
}

static void each_ends_at_its_deadline(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 10);
    struct respond_row a = row(1, 7, ANSWER_QUARANTINE, NOW + 20);
    struct respond_row b = row(2, 8, ANSWER_THROTTLE, NOW + 10);
    struct respond_row c = row(3, 9, ANSWER_REVOKE, DIRECTORY_ANSWER_STAYS);
    struct respond_counts counts;
    assert_int_equal(respond_next_end(r), INT64_MAX);
    assert_int_equal(respond_began(r, &a), OK);
    assert_int_equal(respond_began(r, &b), OK);
    assert_int_equal(respond_began(r, &c), OK);
    assert_int_equal(respond_next_end(r), NOW + 10);
    assert_null(respond_due(r, NOW + 9));
    assert_int_equal(respond_due(r, NOW + 10)->id, 2);
    assert_true(respond_ended(r, 2));
    assert_false(respond_ended(r, 2));
    assert_null(respond_due(r, NOW + 19));
    assert_int_equal(respond_due(r, NOW + 20)->id, 1);
    assert_true(respond_ended(r, 1));
    assert_null(respond_due(r, INT64_MAX - 1)); /* until it is taken back */
    respond_counts(r, &counts);
    assert_int_equal(counts.running[ANSWER_REVOKE], 1);
    assert_int_equal(counts.running[ANSWER_THROTTLE], 0);
    assert_int_equal(counts.started[ANSWER_THROTTLE], 1);
}

static void only_so_many_run(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 10);
    for (uint64_t id = 1; id <= RESPOND_RUNNING_MAX; id++) {
        struct respond_row x = row(id, 5000 + id, ANSWER_THROTTLE, NOW + 10);
        x.is_by_rule = false;
        assert_int_equal(respond_began(r, &x), OK);
    }
    struct respond_row over = row(RESPOND_RUNNING_MAX + 1, 1, ANSWER_THROTTLE, NOW + 10);
    assert_int_equal(respond_began(r, &over), ERR_LIMIT);
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_FULL);
    over.id = 3; /* one that is there, longer now */
    assert_int_equal(respond_began(r, &over), OK);
    assert_true(respond_ended(r, 5));
    assert_int_equal(first(r, 7, DETECTOR_probing, NOW), RESPOND_START);
}

static void a_restart_keeps_the_hour_and_counts_no_start(void **state)
{
    (void)state;
    AUTO(respond_autofree) struct respond *r = made(&quarantine, 1, 1);
    struct respond_row x = row(1, 7, ANSWER_QUARANTINE, NOW + MINUTE_MS);
    struct respond_counts counts;
    assert_int_equal(respond_began(r, &x), OK);
    respond_restarted(r);
    respond_counts(r, &counts);
    assert_int_equal(counts.started[ANSWER_QUARANTINE], 0);
    assert_int_equal(counts.running[ANSWER_QUARANTINE], 1);
    assert_int_equal(first(r, 8, DETECTOR_probing, NOW + 1), RESPOND_CAPPED);
}

static void dry_runs_forget_the_oldest(void **state)
{
    (void)state;
    struct respond_rule dry = quarantine;
    dry.is_enforced = false;
    AUTO(respond_autofree) struct respond *r = made(&dry, 1, 1);
    for (uint64_t id = 1; id <= RESPOND_TRIALS_MAX + 1; id++) {
        assert_int_equal(first(r, id, DETECTOR_probing, NOW + (int64_t)id), RESPOND_TRIAL);
    }
    size_t at = 0, n = 0;
    for (const struct respond_trial *t = respond_trials(r, &at); t != NULL;
         t = respond_trials(r, &at)) {
        assert_int_not_equal(t->principal, 1);
        n++;
    }
    assert_int_equal(n, RESPOND_TRIALS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_done_by_default),
        cmocka_unit_test(what_is_not_proven_is_never_answered),
        cmocka_unit_test(the_strongest_and_then_the_longest_counts),
        cmocka_unit_test(a_dry_run_is_told_beside_what_is_weaker),
        cmocka_unit_test(who_is_excepted_is_left_alone),
        cmocka_unit_test(only_so_many_in_an_hour),
        cmocka_unit_test(what_runs_is_not_begun_again),
        cmocka_unit_test(each_ends_at_its_deadline),
        cmocka_unit_test(only_so_many_run),
        cmocka_unit_test(a_restart_keeps_the_hour_and_counts_no_start),
        cmocka_unit_test(dry_runs_forget_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
