/* setaside list, replay, drop */
#include <stdint.h>
#include <stdlib.h>

#include "app/cli/commands.h"

/* The daemon answers a page; the last line says from where to go on. */
struct pages {
    char after[24];
    bool has_more;
    uint64_t left; /* rows to print; UINT64_MAX: all */
    uint64_t n;    /* rows printed */
};

static int on_row(struct cli *cli, void *ctx, const json_t *line)
{
    struct pages *p = ctx;
    const char *next = json_string_value(json_object_get(line, "next"));
    const char *text = json_string_value(json_object_get(line, "text"));
    if (next != NULL) {
        snprintf(p->after, sizeof p->after, "%s", next);
        p->has_more = true;
        return CLI_DONE;
    }
    p->left -= p->left == UINT64_MAX ? 0 : 1;
    p->n++;
    if (cli->json) {
        (void)json_dumpf(line, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    } else if (text != NULL) {
        fprintf(cli->out, "%s\n", text);
    }
    return CLI_DONE;
}

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    struct pages p = {.left = UINT64_MAX, .has_more = true};
    const char *limit = cli_value(a, "--limit"), *after = cli_value(a, "--after");
    int code = CLI_DONE;
    uint64_t id;
    if (limit != NULL && !cli_digits(limit, UINT64_MAX - 1, &p.left)) {
        return cli_usage(cli, self, "--limit is a number above 0");
    }
    if (after != NULL && !cli_digits(after, UINT64_MAX, &id)) {
        return cli_usage(cli, self, "--after takes an id that `setaside list` shows");
    }
    if (after != NULL) {
        snprintf(p.after, sizeof p.after, "%s", after);
    }
    while (code == CLI_DONE && p.has_more && p.left > 0) {
        json_t *args = json_object();
        p.has_more = false;
        if (cli_value(a, "--device") != NULL) {
            (void)json_object_set_new(args, "device", json_string(cli_value(a, "--device")));
        }
        if (p.after[0] != '\0') {
            (void)json_object_set_new(args, "after", json_string(p.after));
        }
        if (p.left < INT32_MAX) {
            (void)json_object_set_new(args, "limit", json_integer((json_int_t)p.left));
        }
        (void)json_object_set_new(args, "payload", json_boolean(cli_has(a, "--payload")));
        code = cli_call(cli, "setaside.list", args, on_row, &p);
    }
    if (code == CLI_DONE && p.n == 0 && !cli->json) {
        fprintf(cli->err, "no message is set aside\n");
    }
    return code;
}

/* replay, drop */
static int act(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *device = cli_value(a, "--device"), *which = a->words[1];
    bool is_all = strcmp(which, "all") == 0;
    uint64_t id;
    if (device != NULL && !is_all) {
        return cli_usage(cli, self, "--device goes with all: an id names one message already");
    }
    if (!is_all && !cli_digits(which, UINT64_MAX, &id)) {
        return cli_usage(cli, self,
                         "setaside %s %s: a message is named by its number, see `setaside list`; "
                         "or all of them by all",
                         a->words[0], which);
    }
    return cli_call(cli, strcmp(a->words[0], "replay") == 0 ? "setaside.replay" : "setaside.drop",
                    json_pack("{s:s,s:s*}", "id", which, "device", device), NULL, NULL);
}

int cmd_setaside(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--device", NULL, CLI_VALUE}, {"--payload", NULL, CLI_FLAG}, {"--limit", NULL, CLI_VALUE},
        {"--after", NULL, CLI_VALUE},  {NULL, NULL, CLI_FLAG},
    };
    static const struct cli_verb verbs[] = {
        {"list", "", "--device --payload --limit --after", list},
        {"replay", "ID|all", "--device", act},
        {"drop", "ID|all", "--device", act},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}
