#include "app/cli/enrol_tokens.h"

#include "app/cli/client_signer.h"
#include "base/clock.h"

static void json_release(json_t **v)
{
    json_decref(*v);
}

static int refused(struct cli *cli, enum err err, const struct why *why)
{
    return cli_fail(cli, "%s", why->text[0] != '\0' ? why->text : err_name(err));
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *v = json_string_value(json_object_get(line, key));
    return v != NULL ? v : "";
}

static int print(struct cli *cli, struct slice line)
{
    char ends[CLOCK_ISO8601_BYTES];
    AUTO(json_release) json_t *v = json_loadb((const char *)line.p, line.n, 0, NULL);
    if (!json_is_object(v)) {
        return cli_fail(cli, "the signer's answer does not read; are both the same version?");
    }
    if (cli->json) {
        fprintf(cli->out, "%.*s\n", SLICE_ARG(line));
        return CLI_DONE;
    }
    const char *name = text_of(v, "name");
    clock_iso8601(json_integer_value(json_object_get(v, "expires")), ends);
    fprintf(cli->out, "%s  %s%s  role %s  for %lld more  until %s\n", text_of(v, "id"),
            name[0] != '\0' ? "" : "names like ", name[0] != '\0' ? name : text_of(v, "pattern"),
            text_of(v, "role"), (long long)json_integer_value(json_object_get(v, "uses")), ends);
    return CLI_DONE;
}

int enrol_tokens(struct cli *cli, const struct cli_command *self, const struct cli_args *args)
{
    (void)self;
    (void)args;
    AUTO(authority_autofree) struct authority *a = NULL;
    AUTO(buf_done) struct buf lines = {0};
    struct clock clock = clock_system();
    struct why why = {{0}};
    int code = client_signer(cli, &a);
    if (code != CLI_DONE) {
        return code;
    }
    enum err err = authority_tokens(a, clock.wall_ms(clock.ctx), &lines);
    if (err != OK) {
        return refused(cli, err, &why);
    }
    struct slice rest = buf_slice(&lines);
    bool more = rest.n > 0;
    if (!more && !cli->json) {
        fprintf(cli->out, "no claim token is in force\n");
    }
    while (code == CLI_DONE && more) {
        struct slice line = slice_cut(&rest, '\n', &more);
        code = line.n > 0 ? print(cli, line) : CLI_DONE;
    }
    return code;
}

int enrol_cancel(struct cli *cli, const struct cli_command *self, const struct cli_args *args)
{
    (void)self;
    AUTO(authority_autofree) struct authority *a = NULL;
    char id[AUTHORITY_TOKEN_ID_BYTES];
    struct clock clock = clock_system();
    struct why why = {{0}};
    int code = client_signer(cli, &a);
    if (code != CLI_DONE) {
        return code;
    }
    enum err err =
        authority_token_cancel(a, slice_text(args->words[1]), clock.wall_ms(clock.ctx), id, &why);
    if (err != OK) {
        return refused(cli, err, &why);
    }
    if (cli->json) {
        fprintf(cli->out, "{\"cancelled\":\"%s\"}\n", id);
    } else {
        fprintf(cli->out, "%s is cancelled: nobody enrols by it any more\n", id);
    }
    return CLI_DONE;
}
