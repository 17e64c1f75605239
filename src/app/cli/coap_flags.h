/*
 * coap_flags - the options of `coap`, in one table: what is parsed, what --help says, and what is
 * told to those who type an option that is not there.
 *
 * The names are those of libcoap's coap-client; the few that differ say so.
 */
#ifndef APP_CLI_COAP_FLAGS_H
#define APP_CLI_COAP_FLAGS_H

#include "app/cli/cli.h"

/* coap_flags_table - the rows for cli_parse, ended by a NULL name; those that are refused are among
 * them, so that their values are not taken for words. */
void coap_flags_table(struct cli_option ret[CLI_OPTIONS_MAX]);

/* coap_flags_refuse - CLI_DONE when no option was given that is not there; else CLI_USAGE after a
 * message with the reason and what to do instead. */
int coap_flags_refuse(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

/* coap_flags_help - the options, when the command is `coap`; nothing for other commands. */
void coap_flags_help(FILE *to, const char *command);

#endif
