/* policy check, apply, explain */
#include <fcntl.h>

#include "app/cli/commands.h"
#include "app/daemon/config.h"
#include "service/directory/policy_yaml.h"

static void policy_release(const struct policy **p)
{
    (void)policy_unref(*p);
}

/* FILE, read and found right; its text in *ret. */
static int read_checked(struct cli *cli, const char *file, struct buf *ret)
{
    AUTO(policy_release) const struct policy *policy = NULL;
    struct yaml_complaint complaint;
    enum err e = config_read_file(AT_FDCWD, file, file, &complaint, ret);
    if (e == OK) {
        e = policy_yaml_read(buf_slice(ret), file, NULL, &complaint, &policy);
    }
    return e == OK ? CLI_DONE : cli_fail(cli, "%s", complaint.text);
}

/* The daemon judges: so a refusal is in its audit trail too, and roles start with its limits. */
static int apply(struct cli *cli, const char *file)
{
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint;
    if (config_read_file(AT_FDCWD, file, file, &complaint, &text) != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    json_t *args = json_pack("{s:s%,s:s}", "text", (const char *)text.p, text.n, "file", file);
    return args != NULL ? cli_call(cli, "policy.apply", args, NULL, NULL)
                        : cli_fail(cli, "%s holds something that is not text", file);
}

int cmd_policy(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    if (strcmp(verb, "check") == 0 && a.n_words == 2) {
        AUTO(buf_done) struct buf text = {0};
        int code = read_checked(cli, a.words[1], &text);
        if (code == CLI_DONE) {
            fputs(cli->json ? "{\"ok\":true}\n" : "the policy is right\n", cli->out);
        }
        return code;
    }
    if (strcmp(verb, "apply") == 0 && a.n_words == 2) {
        return apply(cli, a.words[1]);
    }
    if (strcmp(verb, "explain") == 0 && a.n_words == 4) {
        return cli_call(cli, "policy.explain",
                        json_pack("{s:s,s:s,s:s}", "name", a.words[1], "action", a.words[2],
                                  "topic", a.words[3]),
                        NULL, NULL);
    }
    if (strcmp(verb, "test") == 0 || strcmp(verb, "diff") == 0 || strcmp(verb, "learn") == 0) {
        return cli_fail(cli, "policy %s is not there yet: it comes with the policy tools", verb);
    }
    return cli_usage(cli, self, "policy does: check FILE, apply FILE, explain NAME ACTION TOPIC");
}
