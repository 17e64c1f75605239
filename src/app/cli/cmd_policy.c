/* policy check, apply, explain, and the way to the tools */
#include <fcntl.h>

#include "app/cli/commands.h"
#include "app/cli/policy_tools.h"
#include "app/daemon/config.h"
#include "service/directory/policy_yaml.h"
#include "service/review/ask.h"

int policy_file_read(struct cli *cli, const char *file, struct buf *text, const struct policy **ret)
{
    AUTO(buf_done) struct buf own = {0};
    struct yaml_complaint complaint;
    struct buf *into = text != NULL ? text : &own;
    enum err e = config_read_file(AT_FDCWD, file, file, &complaint, into);
    if (e == OK) {
        e = policy_yaml_read(buf_slice(into), file, NULL, &complaint, ret);
    }
    return e == OK ? CLI_DONE : cli_fail(cli, "%s", complaint.text);
}

static int check(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    AUTO(policy_release) const struct policy *read = NULL;
    (void)self;
    int code = policy_file_read(cli, a->words[1], NULL, &read);
    if (code == CLI_DONE) {
        fputs(cli->json ? "{\"ok\":true}\n" : "the policy is right\n", cli->out);
    }
    return code;
}

static int test(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    return policy_test(cli, a->words[1], cli_value(a, "--policy"));
}

static int diff(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    return policy_diff(cli, a->words[1]);
}

/* The daemon judges: so a refusal is in its audit trail too, and roles start with its limits. */
static int apply(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint;
    const char *file = a->words[1];
    if (cli_has(a, "--dry-run")) {
        return diff(cli, self, a);
    }
    if (config_read_file(AT_FDCWD, file, file, &complaint, &text) != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    json_t *args = json_pack("{s:s%,s:s}", "text", (const char *)text.p, text.n, "file", file);
    return args != NULL ? cli_call(cli, "policy.apply", args, NULL, NULL)
                        : cli_fail(cli, "%s holds something that is not text", file);
}

/* The daemon answers, who knows the device; by a policy that is not in force when there is one. */
static int explain(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    AUTO(buf_done) struct buf text = {0};
    const char *policy = cli_value(a, "--policy");
    const struct review_question q = {.action = slice_text(a->words[2]),
                                      .what = slice_text(a->words[3])};
    struct why why = {{0}};
    if (review_check(&q, &why) != OK) {
        return cli_usage(cli, self, "policy explain %s %s: %s", a->words[2], a->words[3], why.text);
    }
    if (!cli_name_ok(cli, self, a->words[1])) {
        return CLI_USAGE;
    }
    json_t *args = json_pack("{s:s,s:s,s:s}", "name", a->words[1], "action", a->words[2], "topic",
                             a->words[3]);
    if (policy != NULL) {
        struct yaml_complaint complaint;
        if (config_read_file(AT_FDCWD, policy, policy, &complaint, &text) != OK) {
            json_decref(args);
            return cli_fail(cli, "%s", complaint.text);
        }
        if (json_object_set_new(args, "file", json_string(policy)) != 0 ||
            json_object_set_new(args, "text", json_stringn((const char *)text.p, text.n)) != 0) {
            json_decref(args); /* asked without it, the answer would be another's */
            return cli_fail(cli, "%s holds something that is not text", policy);
        }
    }
    return args != NULL ? cli_call(cli, "policy.explain", args, NULL, NULL)
                        : cli_fail(cli, "an argument is not text");
}

int cmd_policy(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--policy", NULL, CLI_VALUE}, {"--dry-run", NULL, CLI_FLAG}, {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {
        {"check", "FILE", "", check},
        {"test", "FILE", "--policy", test},
        {"diff", "FILE", "", diff},
        {"apply", "FILE", "--dry-run", apply},
        {"explain", "NAME ACTION TOPIC|PATH", "--policy", explain},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words > 0 && strcmp(a.words[0], "learn") == 0) {
        return cli_fail(cli, "policy learn is not there yet");
    }
    return cli_verbs(cli, self, verbs, &a);
}
