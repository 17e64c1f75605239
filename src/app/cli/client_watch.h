/* client_watch - `sub -w`: one line of the terminal for each topic, the newest message on it. */
#ifndef APP_CLI_CLIENT_WATCH_H
#define APP_CLI_CLIENT_WATCH_H

#include "app/cli/client_format.h"
#include "base/buf.h"

enum { CLIENT_WATCH_ROWS = 500 };

/* { 0 } is empty. */
struct client_watch {
    struct buf topics[CLIENT_WATCH_ROWS]; /* the row of each is its index */
    size_t n;
    size_t n_hidden; /* messages of topics that have no row any more */
};

/* client_watch_print - on the row of its topic. ERR_MALFORMED as client_format_print; ERR_NOMEM. */
MUST_USE enum err client_watch_print(struct client_watch *w, FILE *to,
                                     const struct client_print *how, const struct mqtt_publish *m,
                                     int64_t wall_ms);
/* client_watch_end - the cursor goes below the last row. */
void client_watch_end(struct client_watch *w, FILE *to);
void client_watch_done(struct client_watch *w);

#endif
