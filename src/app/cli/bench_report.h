/* bench_report - what `bench` found, as text, as one JSON object, or as a plot. */
#ifndef APP_CLI_BENCH_REPORT_H
#define APP_CLI_BENCH_REPORT_H

#include "app/cli/bench_watch.h"

/* bench_shape_name - as --scenario takes it; NULL behind the last one. */
const char *bench_shape_name(size_t shape);
/* bench_unit - what is counted: "deliveries". Static. */
const char *bench_unit(enum load_shape shape);
/* bench_filling - of what is put there before the measured time; NULL: nothing. */
const char *bench_filling(enum load_shape shape);

/* bench_report - prints; gives the exit code: CLI_FAILED after a message when the server did
 * anything wrong, or a process was not there. */
int bench_report(struct cli *cli, const struct load_order *o, const struct bench_watch *w,
                 const struct load_result *r);
/* bench_plot_check - can this file be written later? Leaves things as they are. CLI_DONE, or the
 * exit code after a message. */
int bench_plot_check(struct cli *cli, const char *path);
/* bench_plot - writes the run to a file. CLI_DONE, or the exit code after a message. */
int bench_plot(struct cli *cli, const char *path, const struct load_order *o,
               const struct bench_watch *w);

#endif
