/*
 * fleet - `device` for many: by selector (--where) or out of a list (--from), in pieces, and again
 * where it was cut short.
 */
#ifndef APP_CLI_FLEET_H
#define APP_CLI_FLEET_H

#include <limits.h>

#include "app/cli/cli.h"
#include "service/pki/bundle.h"

/* fleet_is_meant - --where, --from or --dry-run is given. */
bool fleet_is_meant(const struct cli_args *a);
/* device_where_ok - is each --where KEY=VALUE, and status one that there is? false after a usage
 * message. */
bool device_where_ok(struct cli *cli, const struct cli_command *self, const struct cli_args *a);
int cmd_fleet(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

/* ---- what cmd_device.c has for both; NULL, false and other codes after a message ---- */

json_t *device_credentials(struct cli *cli, const struct cli_command *self,
                           const struct cli_args *a);
json_t *device_where(const struct cli_args *a);
int device_overlap(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   uint64_t *ret_s);
bool device_absolute(const char *dir, char dst[PATH_MAX]);
bool device_place_is_free(const char *dir);

/* ---- the directory of a run (fleet_job.c) ----
 * DIR/NAME is a bundle, whole and on disk, or not there. DIR/.sallyport-run says what the run is
 * and when it began, so that the same command goes on with it. */

struct fleet_job {
    char dir[PATH_MAX]; /* absolute */
    int64_t since_wall_ms;
    bool is_done; /* all of it was done before: nothing is made anew */
};

/* fleet_job_open - what: "rotate site=b1". Makes DIR and its file, or finds them. ERR_EXISTS with
 * *why: DIR holds something else; ERR_IO. */
MUST_USE enum err fleet_job_open(const char *dir, const char *what, int64_t now_wall_ms,
                                 struct fleet_job *ret, struct why *why);
/* fleet_job_has - the bundle of this device is there. */
bool fleet_job_has(const struct fleet_job *j, const char *name);
/* fleet_job_save - bundles is the array of an answer: all on disk before one of them is in its
 * place. ERR_MALFORMED, ERR_IO, ERR_SPACE with *why. */
MUST_USE enum err fleet_job_save(const struct fleet_job *j, const json_t *bundles, struct why *why);
/* fleet_job_finish - it is done. */
MUST_USE enum err fleet_job_finish(const struct fleet_job *j, const char *what, struct why *why);

#endif
