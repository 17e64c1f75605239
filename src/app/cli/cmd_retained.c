/* retained list, purge, undo */
#include <stdlib.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "base/mem.h"
#include "core/topic.h"

static bool is_filter(const char *text)
{
    const struct topic_limits limits = {.bytes = 65535, .levels = 65535};
    return topic_filter_check(slice_text(text), &limits) == OK;
}

static int no_filter(struct cli *cli, const struct cli_command *self, const char *text)
{
    return cli_usage(cli, self,
                     "\"%s\" is no topic filter: + and # stand alone in their level, # last", text);
}

/* ---- list --by principal ---- */

struct share {
    const char *name; /* borrows from the sums */
    json_int_t n, bytes;
};

static json_int_t number_of(const json_t *line, const char *name)
{
    return json_integer_value(json_object_get(line, name));
}

static void more(json_t *sums, const char *name, json_int_t by)
{
    json_t *v = json_object_get(sums, name);
    if (v == NULL) {
        json_object_set_new(sums, name, json_integer(by));
    } else {
        json_integer_set(v, json_integer_value(v) + by);
    }
}

/* ctx: {"n": {NAME: messages}, "bytes": {NAME: bytes}} */
static int add_up(struct cli *cli, void *ctx, const json_t *line)
{
    const char *name = json_string_value(json_object_get(line, "principal"));
    (void)cli;
    if (name != NULL) {
        more(json_object_get(ctx, "n"), name, 1);
        more(json_object_get(ctx, "bytes"), name, number_of(line, "bytes"));
    }
    return CLI_DONE;
}

static int larger_first(const void *a, const void *b)
{
    const struct share *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? 1 : -1) : strcmp(x->name, y->name);
}

static void print_shares(struct cli *cli, const struct share *shares, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (cli->json) {
            json_t *line = json_pack("{s:s,s:I,s:I}", "principal", shares[i].name, "messages",
                                     shares[i].n, "bytes", shares[i].bytes);
            json_dumpf(line, cli->out, JSON_COMPACT);
            json_decref(line);
            fprintf(cli->out, "\n");
        } else {
            fprintf(cli->out, "%s  %lld messages  %lld bytes\n", shares[i].name,
                    (long long)shares[i].n, (long long)shares[i].bytes);
        }
    }
}

static int list_by_principal(struct cli *cli, json_t *args)
{
    json_t *sums = json_pack("{s:{},s:{}}", "n", "bytes");
    int code = cli_call(cli, "retained.list", args, add_up, sums);
    json_t *counts = json_object_get(sums, "n");
    size_t n = 0, cap = json_object_size(counts);
    struct share *shares = cap > 0 ? mem_array(cap, sizeof *shares) : NULL;
    const char *name;
    json_t *value;
    json_object_foreach(counts, name, value)
    {
        if (shares != NULL && n < cap) {
            shares[n++] = (struct share){name, json_integer_value(value),
                                         number_of(json_object_get(sums, "bytes"), name)};
        }
    }
    if (code == CLI_DONE && n > 0) {
        qsort(shares, n, sizeof *shares, larger_first);
        print_shares(cli, shares, n);
    }
    mem_free(shares);
    json_decref(sums);
    return code;
}

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *by = cli_value(a, "--by");
    const char *filter = a->n_words > 1 ? a->words[1] : "#";
    if (!is_filter(filter)) {
        return no_filter(cli, self, filter);
    }
    json_t *args = json_pack("{s:s}", "filter", filter);
    bool is_by_topic = by == NULL || strcmp(by, "topic") == 0;
    if (args != NULL && (is_by_topic || strcmp(by, "principal") == 0)) {
        return is_by_topic ? cli_call_or(cli, "no retained message matches", "retained.list", args)
                           : list_by_principal(cli, args);
    }
    json_decref(args);
    return cli_usage(cli, self, "%s",
                     args == NULL ? "FILTER is not text" : "--by takes topic or principal");
}

/* ---- purge, undo ---- */

static int take_sum(struct cli *cli, void *ctx, const json_t *line)
{
    json_int_t *sum = ctx;
    (void)cli;
    sum[0] = number_of(line, "messages");
    sum[1] = number_of(line, "bytes");
    return CLI_DONE;
}

/* Nothing is purged unless a person has seen how much it is. */
static int confirm(struct cli *cli, const struct cli_command *self, const char *filter)
{
    json_int_t sum[2] = {0};
    char line[16] = {0};
    if (!isatty(STDIN_FILENO)) {
        return cli_usage(cli, self, "purge asks first; without a terminal it needs --yes");
    }
    json_t *args = json_pack("{s:s,s:b}", "filter", filter, "sum", 1);
    int code = cli_call(cli, "retained.list", args, take_sum, sum);
    if (code != CLI_DONE) {
        return code;
    }
    fprintf(cli->err, "%lld retained messages (%lld bytes) match %s. Purge them? [y/N] ",
            (long long)sum[0], (long long)sum[1], filter);
    fflush(cli->err);
    bool is_yes = fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
    return is_yes ? CLI_DONE : cli_fail(cli, "nothing was purged");
}

static int purge(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    if (!is_filter(a->words[1])) {
        return no_filter(cli, self, a->words[1]);
    }
    int code = cli_has(a, "--yes") ? CLI_DONE : confirm(cli, self, a->words[1]);
    if (code != CLI_DONE) {
        return code;
    }
    json_t *args = json_pack("{s:s}", "filter", a->words[1]);
    return args != NULL ? cli_call(cli, "retained.purge", args, NULL, NULL)
                        : cli_fail(cli, "FILTER is not text");
}

static int undo(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t id;
    if (!cli_digits(a->words[1], INT64_MAX, &id)) {
        return cli_usage(cli, self, "ID is the number that `retained purge` printed");
    }
    return cli_call(cli, "retained.undo", json_pack("{s:I}", "id", (json_int_t)id), NULL, NULL);
}

int cmd_retained(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--by", NULL, CLI_VALUE}, {"--yes", NULL, CLI_FLAG}, {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb verbs[] = {{"list", "[FILTER]", "--by", list},
                                            {"purge", "FILTER", "--yes", purge},
                                            {"undo", "ID", "", undo},
                                            {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}
