/* respond list, start, undo */
#include "app/cli/commands.h"
#include "service/directory/directory_version.h"
#include "service/directory/settings.h"

static int start(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    static const struct setting row = {"--for", SETTING_DURATION, 60, 30 * 86400, "", 0, 8};
    const char *period = cli_value(a, "--for"), *reason = cli_value(a, "--reason");
    char why[SETTING_WHY_BYTES];
    uint64_t seconds = 0;
    bool is_revoke = strcmp(a->words[2], "revoke") == 0;
    enum answer_kind kind;
    if (!cli_name_ok(cli, self, a->words[1])) {
        return CLI_USAGE;
    }
    if (!answer_find(slice_text(a->words[2]), &kind) || kind == ANSWER_ALERT) {
        return cli_usage(cli, self,
                         "there is no answer \"%s\"; respond start takes throttle, step-up, "
                         "quarantine, disconnect or revoke",
                         a->words[2]);
    }
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

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    return cli_call_or(cli, "no response is in force", "respond.list",
                       json_pack("{s:b}", "dry_run", cli_has(a, "--dry-run")));
}

static int undo(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t id;
    if (cli_has(a, "--all") != (a->n_words == 1)) {
        return cli_usage(cli, self, "respond undo takes one ID, or --all in place of it");
    }
    if (a->n_words == 1) {
        return cli_call(cli, "respond.undo", json_pack("{s:b}", "all", 1), NULL, NULL);
    }
    if (!cli_digits(a->words[1], UINT64_MAX, &id)) {
        return cli_usage(cli, self, "respond undo %s: ID is a number of `respond list`",
                         a->words[1]);
    }
    return cli_call(cli, "respond.undo", json_pack("{s:s}", "id", a->words[1]), NULL, NULL);
}

int cmd_respond(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--for", NULL, CLI_VALUE},
                                                {"--reason", NULL, CLI_VALUE},
                                                {"--dry-run", NULL, CLI_FLAG},
                                                {"--all", NULL, CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {{"list", "", "--dry-run", list},
                                            {"start", "NAME ANSWER", "--for --reason", start},
                                            {"undo", "[ID]", "--all", undo},
                                            {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}
