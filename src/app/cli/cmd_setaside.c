/* setaside list, replay, drop */
#include <stdint.h>
#include <stdlib.h>

#include "app/cli/commands.h"

/* The daemon answers a page; the last line says from where to go on. */
struct pages {
    char after[24];
    bool has_more;
    uint64_t left; /* rows to print; UINT64_MAX: all */
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
    if (limit != NULL) {
        char *rest;
        p.left = strtoull(limit, &rest, 10);
        if (limit[0] < '0' || limit[0] > '9' || *rest != '\0' || p.left == 0) {
            return cli_usage(cli, self, "--limit is a number above 0");
        }
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
    return code;
}

int cmd_setaside(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--device", NULL, CLI_VALUE}, {"--payload", NULL, CLI_FLAG}, {"--limit", NULL, CLI_VALUE},
        {"--after", NULL, CLI_VALUE},  {NULL, NULL, CLI_FLAG},
    };
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    bool is_listing = cli_has(&a, "--payload") || cli_has(&a, "--limit") || cli_has(&a, "--after");
    const char *device = cli_value(&a, "--device");
    if (strcmp(verb, "list") == 0 && a.n_words == 1) {
        return list(cli, self, &a);
    }
    bool is_replay = strcmp(verb, "replay") == 0;
    if ((is_replay || strcmp(verb, "drop") == 0) && a.n_words == 2 && !is_listing) {
        if (device != NULL && strcmp(a.words[1], "all") != 0) {
            return cli_usage(cli, self, "--device goes with all: an id names one message already");
        }
        json_t *args = json_pack("{s:s}", "id", a.words[1]);
        if (device != NULL) {
            (void)json_object_set_new(args, "device", json_string(device));
        }
        return cli_call(cli, is_replay ? "setaside.replay" : "setaside.drop", args, NULL, NULL);
    }
    return cli_usage(cli, self, "setaside does: list, replay ID|all, drop ID|all");
}
