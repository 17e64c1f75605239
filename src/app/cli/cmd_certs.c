/* certs renew */
#include "app/cli/commands.h"

int cmd_certs(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1 || strcmp(a.words[0], "renew") != 0) {
        return cli_usage(cli, self, "certs does: renew");
    }
    return cli_call(cli, "certs.renew", NULL, NULL, NULL);
}
