/* exception add, list, end */
#include "app/cli/commands.h"
#include "service/directory/settings.h"

static int add(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    static const struct setting row = {"--for", SETTING_DURATION, 1, 7 * 86400, "", 0, 8};
    const char *listener = cli_value(a, "--listener");
    const char *allow = cli_value(a, "--allow");
    const char *period = cli_value(a, "--for");
    const char *reason = cli_value(a, "--reason");
    const char *role = cli_value(a, "--role");
    if (listener == NULL || allow == NULL || period == NULL || reason == NULL) {
        return cli_usage(cli, self, "exception add needs --listener, --allow, --for and --reason");
    }
    char why[SETTING_WHY_BYTES];
    uint64_t seconds;
    if (setting_parse(&row, slice_text(period), 0, why, &seconds) != OK) {
        return cli_usage(cli, self, "%s", why);
    }
    json_t *allowed = json_array();
    struct slice rest = slice_text(allow);
    for (bool more = true; more;) {
        struct slice word = slice_cut(&rest, ',', &more);
        if (!slice_is(word, "plaintext") && !slice_is(word, "anonymous")) {
            json_decref(allowed);
            return cli_usage(cli, self, "--allow takes plaintext, anonymous or both with a comma");
        }
        json_array_append_new(allowed, json_stringn((const char *)word.p, word.n));
    }
    json_t *args = json_pack("{s:s,s:o,s:I,s:s,s:s*}", "listener", listener, "allow", allowed,
                             "for_s", (json_int_t)seconds, "reason", reason, "role", role);
    if (args == NULL) {
        return cli_fail(cli, "an argument is not text");
    }
    return cli_call(cli, "exception.add", args, NULL, NULL);
}

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    (void)a;
    return cli_call_or(cli, "no exception is in force", "exception.list", NULL);
}

static int end(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t id;
    if (!cli_digits(a->words[1], UINT64_MAX, &id)) {
        return cli_usage(cli, self, "exception end %s: ID is a number of `exception list`",
                         a->words[1]);
    }
    return cli_call(cli, "exception.end", json_pack("{s:s}", "id", a->words[1]), NULL, NULL);
}

int cmd_exception(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--listener", NULL, CLI_VALUE}, {"--allow", NULL, CLI_VALUE}, {"--for", NULL, CLI_VALUE},
        {"--reason", NULL, CLI_VALUE},   {"--role", NULL, CLI_VALUE},  {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {
        {"add", "", "--listener --allow --role --for --reason", add},
        {"list", "", "", list},
        {"end", "ID", "", end},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}
