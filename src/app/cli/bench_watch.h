/*
 * bench_watch - the server's processes while `bench` loads it, and how the run goes: CPU and memory
 * at the moments of a load, a curve for the plot, a line a second on a terminal.
 */
#ifndef APP_CLI_BENCH_WATCH_H
#define APP_CLI_BENCH_WATCH_H

#include <stdio.h>
#include <sys/types.h>

#include "app/cli/client_load.h"
#include "app/cli/client_plot.h"

enum { BENCH_PIDS_MAX = 16, BENCH_MOMENTS = LOAD_ENDS + 1 };

struct bench_watch {
    pid_t pids[BENCH_PIDS_MAX];
    size_t n_pids;
    bool is_gone;                      /* one of the processes was not there */
    uint64_t cpu_us[BENCH_MOMENTS];    /* of all of them, at each moment; the newest */
    uint64_t rss_bytes[BENCH_MOMENTS]; /* in memory, at the moments of filling */
    struct client_plot_point *points;
    size_t n_points, points_max;
    uint64_t begin_us, last_us, last_n, last_cpu_us;
    FILE *progress; /* NULL: nobody looks */
    uint64_t told_us, told_n;
    const char *unit, *filling;
};

/* bench_watch_absent - the first of the pids that no process has now, or whose CPU and memory
 * cannot be read; 0: all are there. */
pid_t bench_watch_absent(const struct bench_watch *w);
/* bench_watch_init - behind the pids; points: room for so many; 0: no curve. unit: of what is
 * counted; filling: of what is put there before, NULL: nothing. ERR_NOMEM. */
MUST_USE enum err bench_watch_init(struct bench_watch *w, size_t points, const char *unit,
                                   const char *filling, FILE *progress);
void bench_watch_done(struct bench_watch *w);
/* bench_watch_of - what a load tells; borrows w. */
struct load_watch bench_watch_of(struct bench_watch *w);

/* Of all processes, from one moment to another; 0 where there are none. */
double bench_watch_cpu_us(const struct bench_watch *w, enum load_moment from, enum load_moment to);
/* bench_watch_rss_grown - bytes by which filling made them larger; may be less than 0. */
double bench_watch_rss_grown(const struct bench_watch *w);
/* bench_watch_knows - there are processes, and all were there. */
bool bench_watch_knows(const struct bench_watch *w);

#endif
