/* enrol_join - a device's own part: from a claim token to a bundle, in one command. */
#ifndef APP_CLI_ENROL_JOIN_H
#define APP_CLI_ENROL_JOIN_H

#include "app/cli/commands.h"

/* enrol_join - `enrol join --server HOST:PORT --token T --ca-sha256 FP --name NAME [--out DIR]`.
 * Returns the exit code. */
int enrol_join(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

#endif
