/* certs list, plan, renew */
#include "app/cli/commands.h"

static bool is_state(const char *text)
{
    return strcmp(text, "fine") == 0 || strcmp(text, "due") == 0 || strcmp(text, "expired") == 0;
}

int cmd_certs(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--state", NULL, CLI_VALUE},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words == 1 ? a.words[0] : "";
    const char *state = cli_value(&a, "--state");
    bool is_list = strcmp(verb, "list") == 0;
    if (state != NULL && (!is_list || !is_state(state))) {
        return cli_usage(cli, self, "--state fine, due or expired belongs to certs list");
    }
    if (is_list) {
        return cli_call(cli, "certs.list", json_pack("{s:s*}", "state", state), NULL, NULL);
    }
    if (strcmp(verb, "plan") == 0 || strcmp(verb, "renew") == 0) {
        return cli_call(cli, strcmp(verb, "plan") == 0 ? "certs.plan" : "certs.renew", NULL, NULL,
                        NULL);
    }
    return cli_usage(cli, self, "certs does: list, plan, renew");
}
