/* What happened, line by line, and the first broken rule. */
#include <stdarg.h>

#include "sim.h"

static void keep_line(struct sim *s, const char *actor, const char *format, va_list args)
{
    char *line = s->lines[s->n_lines++ % SIM_TRACE_LINES];
    int n = snprintf(line, SIM_TRACE_BYTES, "%6llu %6llu ms  %-10s ", (unsigned long long)s->tick,
                     (unsigned long long)s->now_ms, actor);
    if (n > 0 && n < SIM_TRACE_BYTES) {
        (void)vsnprintf(line + n, SIM_TRACE_BYTES - (size_t)n, format, args);
    }
    if (s->is_printing) {
        printf("%s\n", line);
    }
}

void sim_say(struct sim *s, const char *actor, const char *format, ...)
{
    s->tick++;
    if (!s->is_tracing) {
        return;
    }
    va_list args;
    va_start(args, format);
    keep_line(s, actor, format, args);
    va_end(args);
}

void sim_fail(struct sim *s, const char *rule, const char *format, ...)
{
    if (s->has_failed) {
        return;
    }
    s->has_failed = true;
    va_list args;
    va_start(args, format);
    (void)snprintf(s->rule, sizeof(s->rule), "%s", rule);
    (void)vsnprintf(s->failure, sizeof(s->failure), format, args);
    va_end(args);
}

void sim_print_trace(const struct sim *s)
{
    size_t n = s->n_lines < SIM_TRACE_LINES ? s->n_lines : SIM_TRACE_LINES;
    for (size_t i = s->n_lines - n; i < s->n_lines; i++) {
        printf("    %s\n", s->lines[i % SIM_TRACE_LINES]);
    }
}

unsigned sim_below(struct sim *s, unsigned n)
{
    return (unsigned)random_below(&s->random, n);
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_below(s, 100) < percent;
}
