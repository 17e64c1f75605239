/* enrol_tokens - the claim tokens that somebody could still use: listed, and taken back. Both are
 * asked of the signer, by the operator's own channel. */
#ifndef APP_CLI_ENROL_TOKENS_H
#define APP_CLI_ENROL_TOKENS_H

#include "app/cli/cli.h"

/* enrol_tokens - `enrol tokens`; enrol_cancel - `enrol cancel`, of a token or its id. CLI_DONE, or
 * the exit code after a message. */
int enrol_tokens(struct cli *cli, const struct cli_command *self, const struct cli_args *args);
int enrol_cancel(struct cli *cli, const struct cli_command *self, const struct cli_args *args);

#endif
