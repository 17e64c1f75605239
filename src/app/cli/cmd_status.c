/* status, metrics, alerts, audit: what the daemon says of itself. */
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
    return cli_call(cli, self->name, NULL, NULL, NULL);
}

int cmd_audit(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--lines", "-n", CLI_VALUE}, {"--follow", "-f", CLI_FLAG}, {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words == 1 ? a.words[0] : "";
    if (strcmp(verb, "verify") == 0 || strcmp(verb, "export") == 0) {
        return cli_fail(cli, "audit %s is not there yet: it comes with the audit chain", verb);
    }
    if (strcmp(verb, "tail") != 0) {
        return cli_usage(cli, self, "audit does: tail");
    }
    const char *lines = cli_value(&a, "--lines");
    char *end = NULL;
    long n = lines != NULL ? strtol(lines, &end, 10) : 100;
    if (n < 0 || n > 1000000 || (end != NULL && (*end != '\0' || end == lines))) {
        return cli_usage(cli, self, "-n takes a number of events");
    }
    json_t *args = json_pack("{s:i,s:b}", "n", (int)n, "follow", cli_has(&a, "--follow") ? 1 : 0);
    return cli_call(cli, "audit.tail", args, NULL, NULL);
}
