/* enrol_batch - many devices out of one file, each with its bundle; once, however often it runs. */
#ifndef APP_CLI_ENROL_BATCH_H
#define APP_CLI_ENROL_BATCH_H

#include "app/cli/commands.h"

/* enrol_batch - `enrol batch FILE --out DIR`. A row: NAME ROLE [KEY=VALUE ...]. A device whose
 * bundle is in DIR is done; DIR/NAME.part is one that was begun. Returns the exit code. */
int enrol_batch(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

#endif
