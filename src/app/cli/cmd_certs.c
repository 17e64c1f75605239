/* certs list, plan, renew, revoke, crl */
#include "app/cli/commands.h"

static bool is_state(const char *text)
{
    return strcmp(text, "fine") == 0 || strcmp(text, "due") == 0 || strcmp(text, "expired") == 0 ||
           strcmp(text, "revoked") == 0;
}

int cmd_certs(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--state", NULL, CLI_VALUE},
                                                {"--serial", NULL, CLI_VALUE},
                                                {"--reason", NULL, CLI_VALUE},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    const char *serial = cli_value(&a, "--serial"), *reason = cli_value(&a, "--reason");
    if (strcmp(verb, "revoke") == 0) {
        return a.n_words == 2 ? cli_call(cli, "certs.revoke",
                                         json_pack("{s:s,s:s*,s:s*}", "name", a.words[1], "serial",
                                                   serial, "reason", reason),
                                         NULL, NULL)
                              : cli_usage(cli, self, "certs revoke needs the NAME of one device");
    }
    if (a.n_words != 1 || serial != NULL || reason != NULL) {
        return cli_usage(cli, self, "certs does: list, plan, renew, revoke, crl");
    }
    const char *state = cli_value(&a, "--state");
    bool is_list = strcmp(verb, "list") == 0;
    if (state != NULL && (!is_list || !is_state(state))) {
        return cli_usage(cli, self, "--state fine, due, expired or revoked belongs to certs list");
    }
    if (is_list) {
        return cli_call(cli, "certs.list", json_pack("{s:s*}", "state", state), NULL, NULL);
    }
    if (strcmp(verb, "plan") == 0 || strcmp(verb, "renew") == 0) {
        return cli_call(cli, strcmp(verb, "plan") == 0 ? "certs.plan" : "certs.renew", NULL, NULL,
                        NULL);
    }
    if (strcmp(verb, "crl") == 0) {
        return cli_call(cli, "certs.crl", NULL, NULL, NULL);
    }
    return cli_usage(cli, self, "certs does: list, plan, renew, revoke, crl");
}
