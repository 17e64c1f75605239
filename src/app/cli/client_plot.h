/*
 * client_plot - what a run looked like, as one SVG: a rate over its seconds, and the server's CPU.
 */
#ifndef APP_CLI_CLIENT_PLOT_H
#define APP_CLI_CLIENT_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct client_plot_point {
    double second;  /* since the beginning, ascending: the end of what the other two are about */
    double rate;    /* a second, 0 or more */
    double percent; /* of one core, 0 or more */
};

struct client_plot {
    const char *title, *unit; /* text of anybody's: it is escaped. unit: "deliveries" */
    const struct client_plot_point *points;
    size_t n_points; /* may be 0: an empty frame */
    bool has_cpu;
};

/* client_plot_write - one whole SVG document; look at ferror afterwards. O(n_points). */
void client_plot_write(FILE *to, const struct client_plot *p);
/* client_plot_escape - text as it may stand in XML; bytes that no XML can hold become '?'. */
void client_plot_escape(FILE *to, const char *text);
/* client_plot_ceiling - the end of an axis: the next 1, 2 or 5 times a power of ten; at least 1. */
double client_plot_ceiling(double most);

#endif
