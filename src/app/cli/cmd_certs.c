/* certs list, plan, renew */
#include "app/cli/commands.h"
#include "base/scope.h"

static bool is_state(const char *text)
{
    static const char *const states[] = {"fine", "due", "aged", "unconfirmed", "expired"};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        if (strcmp(text, states[i]) == 0) {
            return true;
        }
    }
    return false;
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
        return cli_usage(cli, self,
                         "--state fine, due, aged, unconfirmed or expired belongs to certs list");
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
