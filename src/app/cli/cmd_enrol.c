/* enrol token, list, approve, reject, batch, join */
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/enrol_batch.h"
#include "app/cli/enrol_join.h"
#include "service/directory/settings.h"

static const struct cli_option options[] = {{"--role", NULL, CLI_VALUE},
                                            {"--name", NULL, CLI_VALUE},
                                            {"--pattern", NULL, CLI_VALUE},
                                            {"--attr", NULL, CLI_MANY},
                                            {"--for", NULL, CLI_VALUE},
                                            {"--uses", NULL, CLI_VALUE},
                                            {"-n", NULL, CLI_VALUE},
                                            {"--out", NULL, CLI_VALUE},
                                            {"--all", NULL, CLI_FLAG},
                                            {"--where", NULL, CLI_MANY},
                                            {"--server", NULL, CLI_VALUE},
                                            {"--token", NULL, CLI_VALUE},
                                            {"--ca-sha256", NULL, CLI_VALUE},
                                            {"--credential", NULL, CLI_MANY},
                                            {NULL, NULL, CLI_FLAG}};

static bool number(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   const char *option, enum setting_type type, uint64_t most, uint64_t preset,
                   uint64_t *ret)
{
    struct setting row = {option, type, 1, most, "", 0, 8};
    char why[SETTING_WHY_BYTES];
    const char *given = cli_value(a, option);
    *ret = preset;
    if (given != NULL && setting_parse(&row, slice_text(given), 0, why, ret) != OK) {
        (void)cli_usage(cli, self, "%s", why);
        return false;
    }
    return true;
}

/* ---- token ---- */

/* For its owner's eyes, and never over another. */
static FILE *new_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && f == NULL) {
        close(fd);
    }
    return f;
}

struct tokens {
    FILE *out; /* NULL: to the terminal */
};

static int token_line(struct cli *cli, void *ctx, const json_t *line)
{
    const struct tokens *t = ctx;
    const char *token = json_string_value(json_object_get(line, "token"));
    if (token == NULL) {
        return CLI_DONE;
    }
    if (t->out != NULL) {
        fprintf(t->out, "%s\n", token);
    } else if (cli->json) {
        json_dumpf(line, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    } else {
        fprintf(cli->out, "%s\n", json_string_value(json_object_get(line, "text")));
    }
    return CLI_DONE;
}

static int make_tokens(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t for_s, uses, count;
    struct tokens t = {.out = NULL};
    const char *out = cli_value(a, "--out");
    if (cli_value(a, "--role") == NULL) {
        return cli_usage(cli, self,
                         "enrol token needs --role; the default policy has sensor, "
                         "actuator and console");
    }
    if (cli_has(a, "--name") && cli_has(a, "--pattern")) {
        return cli_usage(cli, self, "a token is for one --name or for a --pattern of names");
    }
    if (!number(cli, self, a, "--for", SETTING_DURATION, 30 * 86400, 3600, &for_s) ||
        !number(cli, self, a, "--uses", SETTING_COUNT, 100000, 1, &uses) ||
        !number(cli, self, a, "-n", SETTING_COUNT, 1000, 1, &count)) {
        return CLI_USAGE;
    }
    json_t *attrs = cli_attrs(cli, self, a);
    if (attrs == NULL) {
        return CLI_USAGE;
    }
    if (out != NULL && (t.out = new_file(out)) == NULL) {
        json_decref(attrs);
        return cli_fail(cli, "%s cannot be made: it must not be there yet", out);
    }
    int code = cli_call(
        cli, "enrol.token",
        json_pack("{s:s,s:s*,s:s*,s:o,s:I,s:I,s:I}", "role", cli_value(a, "--role"), "name",
                  cli_value(a, "--name"), "pattern", cli_value(a, "--pattern"), "attrs", attrs,
                  "for_s", (json_int_t)for_s, "uses", (json_int_t)uses, "count", (json_int_t)count),
        token_line, &t);
    if (t.out != NULL && fclose(t.out) != 0 && code == CLI_DONE) {
        return cli_fail(cli, "%s could not be written whole", out);
    }
    return code;
}

/* ---- the queue ---- */

static bool read_id(const struct cli_args *a, json_int_t *ret)
{
    struct setting row = {"id", SETTING_COUNT, 1, INT32_MAX, "", 0, 8};
    char why[SETTING_WHY_BYTES];
    uint64_t v = 0;
    *ret = 0;
    if (a->n_words != 2) {
        return a->n_words == 1;
    }
    bool good = setting_parse(&row, slice_text(a->words[1]), 0, why, &v) == OK;
    *ret = (json_int_t)v;
    return good;
}

static int approve(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    json_int_t id;
    const char *const *where;
    size_t n = cli_values(a, "--where", &where);
    bool all = cli_has(a, "--all");
    if (!read_id(a, &id) || all == (id != 0) || cli_value(a, "--role") == NULL || (!all && n > 0)) {
        return cli_usage(cli, self,
                         "enrol approve needs --role, and an ID or --all (with --where "
                         "name=PATTERN or from=NETWORK)");
    }
    json_t *attrs = cli_attrs(cli, self, a);
    if (attrs == NULL) {
        return CLI_USAGE;
    }
    json_t *args = json_pack("{s:I,s:b,s:s,s:o}", "id", id, "all", (int)all, "role",
                             cli_value(a, "--role"), "attrs", attrs);
    for (size_t i = 0; args != NULL && i < n; i++) {
        struct slice value = slice_text(where[i]);
        bool more;
        struct slice key = slice_cut(&value, '=', &more);
        const char *name = slice_is(key, "name") ? "name" : slice_is(key, "from") ? "from" : NULL;
        if (name == NULL || value.n == 0 ||
            json_object_set_new(args, name, json_stringn((const char *)value.p, value.n)) != 0) {
            json_decref(args);
            return cli_usage(cli, self, "--where is name=PATTERN or from=NETWORK");
        }
    }
    return cli_call(cli, "enrol.approve", args, NULL, NULL);
}

int cmd_enrol(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    struct cli_args a;
    json_int_t id;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    if (strcmp(verb, "token") == 0 && a.n_words == 1) {
        return make_tokens(cli, self, &a);
    }
    if (strcmp(verb, "list") == 0 && a.n_words == 1) {
        return cli_call(cli, "enrol.list", NULL, NULL, NULL);
    }
    if (strcmp(verb, "approve") == 0) {
        return approve(cli, self, &a);
    }
    if (strcmp(verb, "reject") == 0 && a.n_words == 2 && read_id(&a, &id)) {
        return cli_call(cli, "enrol.reject", json_pack("{s:I}", "id", id), NULL, NULL);
    }
    if (strcmp(verb, "batch") == 0 && a.n_words == 2) {
        return enrol_batch(cli, self, &a);
    }
    if (strcmp(verb, "join") == 0 && a.n_words == 1) {
        return enrol_join(cli, self, &a);
    }
    return cli_usage(cli, self, "enrol does: token, list, approve ID, reject ID, batch FILE, join");
}
