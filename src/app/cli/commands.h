/* commands - one function for each command of the table in cli_main.c. */
#ifndef APP_CLI_COMMANDS_H
#define APP_CLI_COMMANDS_H

#include "app/cli/cli.h"

typedef int cli_run(struct cli *cli, const struct cli_command *self, int argc, char **argv);

cli_run cmd_init, cmd_quickstart, cmd_serve, cmd_check, cmd_device, cmd_policy, cmd_exception,
    cmd_status, cmd_master_key, cmd_certs, cmd_audit, cmd_pub, cmd_sub, cmd_rpc, cmd_coap,
    cmd_bench, cmd_selftest, cmd_backup, cmd_restore, cmd_retained, cmd_setaside, cmd_enrol,
    cmd_agent, cmd_scan, cmd_doctor, cmd_incident, cmd_respond;

/* cli_name_ok - may a device have this name? false after a usage message. */
bool cli_name_ok(struct cli *cli, const struct cli_command *self, const char *name);
/* cli_attrs - --attr "K=V" as an object, for the caller; NULL after a usage message. */
json_t *cli_attrs(struct cli *cli, const struct cli_command *self, const struct cli_args *a);

#endif
