/* status, metrics, alerts: what the daemon says of itself. */
#include "app/cli/commands.h"

int cmd_status(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words > 0) {
        return cli_usage(cli, self, "%s takes no arguments", self->name);
    }
    return cli_call_or(cli, "no alert is open", self->name, NULL); /* the others have lines */
}
