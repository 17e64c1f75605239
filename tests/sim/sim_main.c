/*
 * sim --seeds A-B [-jN] [--plant NAME]     every seed of a range, with a line of progress
 * sim --seed S [--trace] [--plant NAME]     one seed; the trace is the same every time
 * sim --plants --seeds A-B [-jN]           plants each bug of base/plant.h: all must be found
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "sim.h"
#include "sim_plant.h"

enum { FAILURES_SHOWN = 5, JOBS_MAX = 64, BEAT = 50 };

/* What the processes of a run tell each other: the parent reads it when a child has died. */
struct job {
    uint64_t seed, n_passed, n_failed, n_spilled, n_read_back;
    bool is_found;
    char failure[400];
};

struct order {
    uint64_t first, last;
    unsigned n_jobs;
    enum plant plant;
    bool is_one, is_tracing, has_plants;
};

/* Only in sanitized builds. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

/* The seed that runs, for the moment when a sanitizer or an assert ends the process. */
static uint64_t running_seed;

static void say_seed(void)
{
    char line[96];
    int n = snprintf(line, sizeof(line),
                     "the process died in seed %llu: replay with --seed %llu --trace\n",
                     (unsigned long long)running_seed, (unsigned long long)running_seed);
    ssize_t ignored = n > 0 ? write(STDERR_FILENO, line, (size_t)n) : 0;
    (void)ignored;
}

/* ---- one seed ---- */

static bool run_seed(uint64_t seed, bool is_tracing, bool is_printing, struct job *job)
{
    struct sim *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return false;
    }
    running_seed = seed;
    s->seed = seed;
    s->is_tracing = is_tracing;
    s->is_printing = is_printing;
    bool passed = sim_run(s);
    if (!passed && is_tracing) {
        if (!is_printing) {
            sim_print_trace(s);
        }
        printf("seed %llu breaks rule %s of docs/ORDER.md: %s\n", (unsigned long long)seed, s->rule,
               s->failure);
        printf("replay: sim --seed %llu --trace\n", (unsigned long long)seed);
    }
    if (job != NULL) {
        job->seed = seed;
        job->n_passed += passed;
        job->n_failed += !passed;
        job->n_spilled += s->n_spilled;
        job->n_read_back += s->n_read_back;
        (void)snprintf(job->failure, sizeof(job->failure), "rule %s: %.370s", s->rule, s->failure);
    }
    mem_free(s);
    return passed;
}

/* ---- a range, by several processes ---- */

static void run_range(const struct order *o, unsigned index, struct job *job)
{
    for (uint64_t seed = o->first + index; seed <= o->last; seed += o->n_jobs) {
        job->seed = seed;
        if (!run_seed(seed, false, false, job)) {
            if (job->n_failed <= FAILURES_SHOWN) {
                (void)run_seed(seed, true, false, NULL); /* again, now with its trace */
            } else {
                printf("seed %llu fails: %s\n", (unsigned long long)seed, job->failure);
            }
        }
        uint64_t n = job->n_passed + job->n_failed;
        if (index == 0 && n % BEAT == 0) {
            printf("about %llu of %llu seeds, %llu failed here\n",
                   (unsigned long long)(n * o->n_jobs),
                   (unsigned long long)(o->last - o->first + 1), (unsigned long long)job->n_failed);
        }
        fflush(stdout);
    }
}

/* ---- planted bugs ---- */

/* The jobs take the bugs in turn; each bug ends at its first find. */
static void run_plants(const struct order *o, unsigned index, struct job *found)
{
    for (unsigned bug = PLANT_NONE + 1 + index; bug < PLANT_END; bug += o->n_jobs) {
        struct job *job = &found[bug];
        sim_plant_set((enum plant)bug);
        for (uint64_t seed = o->first; seed <= o->last && !job->is_found; seed++) {
            job->seed = seed;
            job->is_found = !run_seed(seed, false, false, job);
        }
    }
}

static int report_plants(const struct job *found)
{
    unsigned n_found = 0;
    for (unsigned bug = PLANT_NONE + 1; bug < PLANT_END; bug++) {
        const struct job *job = &found[bug];
        printf("%-24s %s %llu%s%s\n", sim_plant_name((enum plant)bug),
               job->is_found ? "found by seed" : "NOT FOUND up to seed",
               (unsigned long long)job->seed, job->is_found ? ": " : "",
               job->is_found ? job->failure : "");
        n_found += job->is_found;
    }
    unsigned n_missed = PLANT_END - 1 - n_found;
    printf("%u passed, %u failed\n", n_found, n_missed);
    return n_missed == 0 ? 0 : 1;
}

static int report_seeds(const struct order *o, const struct job *jobs, bool all_ended)
{
    unsigned long long n_passed = 0, n_failed = 0, n_spilled = 0, n_read_back = 0;
    for (unsigned i = 0; i < o->n_jobs; i++) {
        n_spilled += jobs[i].n_spilled;
        n_read_back += jobs[i].n_read_back;
        n_passed += jobs[i].n_passed;
        n_failed += jobs[i].n_failed;
    }
    n_failed += !all_ended;
    printf("%llu bodies left memory, %llu came back\n", n_spilled, n_read_back);
    printf("%llu passed, %llu failed\n", n_passed, n_failed);
    return n_failed == 0 ? 0 : 1;
}

static int run_jobs(const struct order *o)
{
    size_t n_places = (size_t)PLANT_END + JOBS_MAX;
    struct job *jobs = mmap(NULL, n_places * sizeof(*jobs), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[JOBS_MAX];
    bool all_ended = true;
    if (jobs == MAP_FAILED) {
        return 1;
    }
    fflush(stdout);
    for (unsigned i = 0; i < o->n_jobs; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            if (o->has_plants) {
                run_plants(o, i, jobs);
            } else {
                run_range(o, i, &jobs[i]);
            }
            fflush(stdout);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < o->n_jobs; i++) {
        int status = 0;
        bool ended = children[i] > 0 && waitpid(children[i], &status, 0) == children[i];
        if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("job %u died in seed %llu\n", i, (unsigned long long)jobs[i].seed);
            all_ended = false;
        }
    }
    int code = o->has_plants ? report_plants(jobs) : report_seeds(o, jobs, all_ended);
    (void)munmap(jobs, n_places * sizeof(*jobs));
    return code;
}

/* ---- the command line ---- */

static int usage(void)
{
    fprintf(stderr, "usage: sim --seeds A-B [-jN] [--plant NAME] | --seed S [--trace] "
                    "[--plant NAME] | --plants --seeds A-B [-jN]\n");
    return 2;
}

static bool number(const char **text, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoull(*text, &end, 10);
    bool ok = end != *text && errno == 0;
    *text = end;
    return ok;
}

static bool range(const char *text, struct order *o)
{
    return number(&text, &o->first) && *text++ == '-' && number(&text, &o->last) && *text == '\0';
}

/* One option and its value; how many words it took, 0: it is wrong. */
static int option(struct order *o, const char *name, const char *value)
{
    struct slice word = slice_text(name);
    uint64_t n = 0;
    if (slice_is(word, "--trace") || slice_is(word, "--plants")) {
        o->is_tracing = o->is_tracing || slice_is(word, "--trace");
        o->has_plants = o->has_plants || slice_is(word, "--plants");
        return 1;
    }
    bool is_joined = word.n > 2 && slice_has_prefix(word, slice_text("-j"));
    value = is_joined ? name + 2 : value;
    if (value == NULL) {
        return 0;
    }
    if (slice_is(word, "--plant")) {
        o->plant = sim_plant_find(slice_text(value));
        return o->plant < PLANT_END ? 2 : 0;
    }
    if (slice_is(word, "--seeds")) {
        return range(value, o) ? 2 : 0;
    }
    bool ok = number(&value, &n) && *value == '\0' && n > 0;
    if ((is_joined || slice_is(word, "-j")) && ok && n <= JOBS_MAX) {
        o->n_jobs = (unsigned)n;
        return is_joined ? 1 : 2;
    }
    o->is_one = true;
    o->first = o->last = n;
    return slice_is(word, "--seed") && ok ? 2 : 0;
}

int main(int argc, char **argv)
{
    struct order o = {.n_jobs = 1};
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(say_seed);
    }
    for (int i = 1, took; i < argc; i += took) {
        took = option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (took == 0) {
            return usage();
        }
    }
    sim_plant_set(o.plant);
    if (o.first == 0 || (o.has_plants && o.is_one)) {
        return usage();
    }
    if (o.is_one) {
        bool passed = run_seed(o.first, true, o.is_tracing, NULL);
        printf("%d passed, %d failed\n", passed, !passed);
        return passed ? 0 : 1;
    }
    return run_jobs(&o);
}
