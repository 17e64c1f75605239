#include "app/cli/bench_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/scope.h"

enum { PROC_BYTES = 4096, STAT_UTIME = 14, STAT_STIME = 15, SECOND_US = 1000000 };

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

/* /proc/PID/NAME; empty when the process is not there. */
static struct slice proc_read(pid_t pid, const char *name, char text[PROC_BYTES])
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, PROC_BYTES - 1) : -1;
    return slice_of(text, n > 0 ? (size_t)n : 0);
}

static uint64_t number_of(struct slice word)
{
    char text[32];
    return slice_to_text(word, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* utime and stime of a process with all its threads. */
static bool cpu_of(pid_t pid, uint64_t *ret_us)
{
    char text[PROC_BYTES];
    struct slice rest = proc_read(pid, "stat", text);
    /* The name in brackets may hold anything: fields are counted from the last one on. */
    for (size_t at = slice_find(rest, ')'); at < rest.n; at = slice_find(rest, ')')) {
        rest = slice_from(rest, at + 1);
    }
    uint64_t ticks = 0;
    bool more = rest.n > 0;
    for (int field = 2; field <= STAT_STIME && more; field++) {
        struct slice word = slice_cut(&rest, ' ', &more);
        ticks += field >= STAT_UTIME ? number_of(word) : 0;
    }
    *ret_us = ticks * SECOND_US / (uint64_t)sysconf(_SC_CLK_TCK);
    return more;
}

/* Pages that are in memory now: the second number. */
static bool rss_of(pid_t pid, uint64_t *ret_bytes)
{
    char text[PROC_BYTES];
    struct slice rest = proc_read(pid, "statm", text);
    bool more = rest.n > 0;
    (void)slice_cut(&rest, ' ', &more);
    *ret_bytes =
        more ? number_of(slice_cut(&rest, ' ', &more)) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    return more;
}

pid_t bench_watch_absent(const struct bench_watch *w)
{
    for (size_t i = 0; i < w->n_pids; i++) {
        uint64_t us, bytes;
        if (!cpu_of(w->pids[i], &us) || !rss_of(w->pids[i], &bytes)) {
            return w->pids[i];
        }
    }
    return 0;
}

enum err bench_watch_init(struct bench_watch *w, size_t points, const char *unit,
                          const char *filling, FILE *progress)
{
    w->filling = filling;
    w->points_max = points;
    w->points = points > 0 ? mem_array(points, sizeof(*w->points)) : NULL;
    w->unit = unit;
    w->progress = progress;
    return points > 0 && w->points == NULL ? ERR_NOMEM : OK;
}

void bench_watch_done(struct bench_watch *w)
{
    w->points = mem_free(w->points);
}

static void look(struct bench_watch *w, enum load_moment m)
{
    bool is_filling = m == LOAD_FILL_BEGINS || m == LOAD_FILL_ENDS;
    w->cpu_us[m] = w->rss_bytes[m] = 0;
    for (size_t i = 0; i < w->n_pids; i++) {
        uint64_t us = 0, bytes = 0;
        w->is_gone = !cpu_of(w->pids[i], &us) || w->is_gone;
        w->is_gone = (is_filling && !rss_of(w->pids[i], &bytes)) || w->is_gone;
        w->cpu_us[m] += us;
        w->rss_bytes[m] += bytes;
    }
}

static void add_point(struct bench_watch *w, enum load_moment m, uint64_t now_us, uint64_t n)
{
    double seconds = (double)(now_us - w->last_us) / SECOND_US;
    if (w->n_points < w->points_max && seconds > 0) {
        double cpu_s = (double)(w->cpu_us[m] - w->last_cpu_us) / SECOND_US;
        w->points[w->n_points++] =
            (struct client_plot_point){(double)(now_us - w->begin_us) / SECOND_US,
                                       (double)(n - w->last_n) / seconds, cpu_s / seconds * 100};
    }
    w->last_us = now_us;
    w->last_n = n;
    w->last_cpu_us = w->cpu_us[m];
}

static void tell_from(struct bench_watch *w, uint64_t now_us, uint64_t n)
{
    w->begin_us = w->told_us = now_us;
    w->told_n = n;
}

static void tell(struct bench_watch *w, const char *unit, uint64_t now_us, uint64_t n)
{
    if (w->progress == NULL || now_us - w->told_us < SECOND_US) {
        return;
    }
    fprintf(w->progress, "\r\x1b[K%.0f s: %llu %s, %.0f/s",
            (double)(now_us - w->begin_us) / SECOND_US, (unsigned long long)n, unit,
            (double)(n - w->told_n) * SECOND_US / (double)(now_us - w->told_us));
    (void)fflush(w->progress);
    w->told_us = now_us;
    w->told_n = n;
}

static void on_moment(void *ctx, enum load_moment m, uint64_t now_us, uint64_t n)
{
    struct bench_watch *w = ctx;
    bool is_end = m == LOAD_FILL_ENDS || m == LOAD_ENDS;
    if (m != LOAD_FILL_TICK && (m != LOAD_TICK || w->points_max > 0)) {
        look(w, m);
    }
    switch (m) {
    case LOAD_FILL_BEGINS:
        tell_from(w, now_us, 0);
        break;
    case LOAD_FILL_TICK:
        tell(w, w->filling, now_us, n);
        break;
    case LOAD_BEGINS:
        tell_from(w, now_us, n);
        w->last_us = now_us;
        w->last_n = n;
        w->last_cpu_us = w->cpu_us[m];
        break;
    case LOAD_TICK:
        add_point(w, m, now_us, n);
        tell(w, w->unit, now_us, n);
        break;
    case LOAD_ENDS:
        add_point(w, m, now_us, n);
        break;
    case LOAD_FILL_ENDS:
        break;
    }
    if (is_end && w->progress != NULL) {
        fputs("\r\x1b[K", w->progress);
        (void)fflush(w->progress);
    }
}

struct load_watch bench_watch_of(struct bench_watch *w)
{
    return (struct load_watch){.ctx = w, .moment = on_moment};
}

double bench_watch_cpu_us(const struct bench_watch *w, enum load_moment from, enum load_moment to)
{
    return (double)w->cpu_us[to] - (double)w->cpu_us[from];
}

double bench_watch_rss_grown(const struct bench_watch *w)
{
    return (double)w->rss_bytes[LOAD_FILL_ENDS] - (double)w->rss_bytes[LOAD_FILL_BEGINS];
}

bool bench_watch_knows(const struct bench_watch *w)
{
    return w->n_pids > 0 && !w->is_gone;
}
