/*
 * detectors - false alarms and recall of the detectors over calm fleets of other seeds, with wider
 * parameters than the test has. By hand:
 *
 *   ninja -C build tests/bench/detectors && build/tests/bench/detectors [FIRST_SEED] [SEEDS] [WIDE]
 *   SALLYPORT_CALM=1 before it names each false alarm and each attack that was missed
 *
 * 20 seeds from 1001 on, WIDE 2: jitter, outages, moves and storms are twice as bad.
 */
#include "service/detect/calm_trace_test.h"

enum { FIRST_SEED = 1001, SEEDS = 20, WIDE = 2, DEVICES = 200, DAYS = 20 };

struct total {
    unsigned n_false, n_notices, n_days, false_of[DETECTOR_COUNT];
    struct calm_attacked attack[CALM_ATTACKS_N];
};

static unsigned number(char **argv, int argc, int at, unsigned otherwise)
{
    return argc > at ? (unsigned)strtoul(argv[at], NULL, 10) : otherwise;
}

static void add(struct total *t, const struct calm *c)
{
    t->n_false += c->n_false;
    t->n_notices += c->n_notices;
    for (size_t i = 0; i < DETECTOR_COUNT; i++) {
        t->false_of[i] += c->false_of[i];
    }
    for (size_t i = 0; i < CALM_ATTACKS_N; i++) {
        const struct calm_attacked *a = &c->attack[i];
        t->attack[i].n += a->n;
        t->attack[i].n_found += a->n_found;
        t->attack[i].sum_ms += a->sum_ms;
        t->attack[i].most_ms =
            a->most_ms > t->attack[i].most_ms ? a->most_ms : t->attack[i].most_ms;
    }
}

static void show(const struct total *t)
{
    printf("\n%-16s %-16s %8s %10s %10s\n", "attack", "detector", "found", "mean s", "most s");
    for (size_t i = 0; i < CALM_ATTACKS_N; i++) {
        const struct calm_attacked *a = &t->attack[i];
        unsigned n = a->n_found > 0 ? a->n_found : 1;
        printf("%-16s %-16s %3u / %-3u %9.0f %10.0f\n", calm_attack_names[i],
               detector_words(calm_expected[i])->name, a->n_found, a->n,
               (double)a->sum_ms / 1000 / n, (double)a->most_ms / 1000);
    }
    printf("\nfalse alarms: %u in %u device-days, %.3f in a thousand\n", t->n_false, t->n_days,
           1000.0 * t->n_false / t->n_days);
    printf("of a clone: %.3f in ten thousand; notices, which are no alarms: %u\n",
           10000.0 * t->false_of[DETECTOR_two_places] / t->n_days, t->n_notices);
    for (size_t i = 0; i < DETECTOR_COUNT; i++) {
        if (t->false_of[i] > 0) {
            printf("  %s: %u\n", detector_words((enum detector)i)->name, t->false_of[i]);
        }
    }
}

int main(int argc, char **argv)
{
    static struct calm c;
    struct total total = {.n_false = 0};
    unsigned first = number(argv, argc, 1, FIRST_SEED), n = number(argv, argc, 2, SEEDS);
    unsigned wide = number(argv, argc, 3, WIDE);
    for (unsigned i = 0; i < n; i++) {
        const struct calm_terms terms = {
            .seed = first + i, .n_devices = DEVICES, .n_days = DAYS, .wide = wide > 0 ? wide : 1};
        unsigned n_days = calm_run(&c, &terms);
        total.n_days += n_days;
        add(&total, &c);
        printf("seed %u: %u false alarms in %u device-days\n", first + i, c.n_false, n_days);
        (void)fflush(stdout);
    }
    show(&total);
    return 0;
}
