/*
 * mqtt_flags - the options of pub, sub and rpc, in one table: what is parsed, what --help says, and
 * what is told to those who type an option that is not there.
 *
 * The names are those of the clients that people know from mosquitto; the few that differ say so.
 */
#ifndef APP_CLI_MQTT_FLAGS_H
#define APP_CLI_MQTT_FLAGS_H

#include "app/cli/cli.h"

enum mqtt_tool { MQTT_TOOL_PUB = 1, MQTT_TOOL_SUB = 2, MQTT_TOOL_RPC = 4 };

/* mqtt_flags_table - the rows for cli_parse, ended by a NULL name; those that are refused are among
 * them, so that their values are not taken for words. */
void mqtt_flags_table(enum mqtt_tool tool, struct cli_option ret[CLI_OPTIONS_MAX]);

/* mqtt_flags_refuse - CLI_DONE when no option was given that is not there; else CLI_USAGE after a
 * message with the reason and what to do instead. */
int mqtt_flags_refuse(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

/* mqtt_flags_help - the options of the command with this name, nothing for other commands. */
void mqtt_flags_help(FILE *to, const char *command);

#endif
