/* respond list, start, undo */
#include "app/cli/commands.h"
#include "service/directory/settings.h"

static int start(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    static const struct setting row = {"--for", SETTING_DURATION, 60, 30 * 86400, "", 0, 8};
    const char *period = cli_value(a, "--for"), *reason = cli_value(a, "--reason");
    char why[SETTING_WHY_BYTES];
    uint64_t seconds = 0;
    bool is_revoke = strcmp(a->words[2], "revoke") == 0;
    if (reason == NULL || (period == NULL && !is_revoke)) {
        return cli_usage(cli, self,
                         "respond start needs --reason and --for (revoke may go "
                         "without --for: until it is undone)");
    }
    if (period != NULL && setting_parse(&row, slice_text(period), 0, why, &seconds) != OK) {
        return cli_usage(cli, self, "%s", why);
    }
    json_t *args = json_pack("{s:s,s:s,s:I,s:s}", "name", a->words[1], "answer", a->words[2],
                             "for_s", (json_int_t)seconds, "reason", reason);
    if (args == NULL) {
        return cli_fail(cli, "an argument is not text");
    }
    return cli_call(cli, "respond.start", args, NULL, NULL);
}

int cmd_respond(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--for", NULL, CLI_VALUE},
                                                {"--reason", NULL, CLI_VALUE},
                                                {"--dry-run", NULL, CLI_FLAG},
                                                {"--all", NULL, CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    if (strcmp(verb, "list") == 0 && a.n_words == 1) {
        return cli_call(cli, "respond.list",
                        json_pack("{s:b}", "dry_run", cli_has(&a, "--dry-run")), NULL, NULL);
    }
    if (strcmp(verb, "start") == 0 && a.n_words == 3) {
        return start(cli, self, &a);
    }
    bool is_all = cli_has(&a, "--all");
    if (strcmp(verb, "undo") == 0 && a.n_words == (is_all ? 1 : 2)) {
        json_t *args = is_all ? json_pack("{s:b}", "all", 1) : json_pack("{s:s}", "id", a.words[1]);
        return cli_call(cli, "respond.undo", args, NULL, NULL);
    }
    return cli_usage(cli, self, "respond does: list, start NAME ANSWER, undo ID (or --all)");
}
