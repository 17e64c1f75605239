/* sim --seeds A-B | --seed S [--trace] */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "sim.h"

/* The seed that runs, for the moment when a sanitizer or an assert ends the process. */
static uint64_t running_seed;

static void say_seed(void)
{
    char line[96];
    int n = snprintf(line, sizeof(line), "the process died in seed %llu: replay with --seed %llu --trace\n",
                     (unsigned long long)running_seed, (unsigned long long)running_seed);
    ssize_t ignored = n > 0 ? write(STDERR_FILENO, line, (size_t)n) : 0;
    (void)ignored;
}

/* Only in sanitized builds. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static bool run_seed(uint64_t seed, bool is_tracing, bool is_printing)
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
        printf("seed %llu breaks rule %s of docs/ORDER.md: %s\n", (unsigned long long)seed, s->rule,
               s->failure);
        if (!is_printing) {
            sim_print_trace(s);
        }
        printf("replay: sim --seed %llu --trace\n", (unsigned long long)seed);
    }
    mem_free(s);
    return passed;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim --seeds A-B | --seed S [--trace]\n");
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

static int run_all(uint64_t first, uint64_t last)
{
    enum { FAILURES_SHOWN = 1000 };
    unsigned long long n_passed = 0, n_failed = 0;
    for (uint64_t seed = first; seed <= last; seed++) {
        if (run_seed(seed, false, false)) {
            n_passed++;
        } else if (n_failed++ < FAILURES_SHOWN) {
            (void)run_seed(seed, true, false); /* again, now with its trace */
        } else {
            printf("seed %llu fails\n", (unsigned long long)seed);
        }
        if ((seed - first + 1) % 50 == 0) {
            printf("%llu seeds, %llu failed\n", (unsigned long long)(seed - first + 1), n_failed);
            fflush(stdout);
        }
    }
    printf("%llu passed, %llu failed\n", n_passed, n_failed);
    return n_failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t first = 0, last = 0;
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(say_seed);
    }
    if (argc < 3) {
        return usage();
    }
    const char *text = argv[2];
    if (slice_is(slice_text(argv[1]), "--seeds") && argc == 3) {
        if (!number(&text, &first) || *text++ != '-' || !number(&text, &last) || *text != '\0') {
            return usage();
        }
        return run_all(first, last);
    }
    bool is_printing = argc == 4 && slice_is(slice_text(argv[3]), "--trace");
    if (!slice_is(slice_text(argv[1]), "--seed") || !number(&text, &first) || *text != '\0' ||
        (argc == 4 && !is_printing)) {
        return usage();
    }
    bool passed = run_seed(first, true, is_printing);
    printf("%d passed, %d failed\n", passed, !passed);
    return passed ? 0 : 1;
}
