/* enrol token, tokens, cancel, list, approve, reject, batch, join */
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/client_signer.h"
#include "app/cli/enrol_batch.h"
#include "app/cli/enrol_join.h"
#include "app/cli/enrol_tokens.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/network.h"
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

struct terms {
    char ca_hex[DIGEST_HEX_BYTES], host[256];
    unsigned port;
    FILE *out; /* NULL: to the terminal */
};

static int take_terms(struct cli *cli, void *ctx, const json_t *line)
{
    struct terms *t = ctx;
    (void)cli;
    (void)slice_to_text(slice_text(json_string_value(json_object_get(line, "ca_sha256"))),
                        t->ca_hex, sizeof t->ca_hex);
    (void)slice_to_text(slice_text(json_string_value(json_object_get(line, "host"))), t->host,
                        sizeof t->host);
    t->port = (unsigned)json_integer_value(json_object_get(line, "port"));
    return CLI_DONE;
}

static void json_release(json_t **v)
{
    json_decref(*v);
}

static void say_token(struct cli *cli, const struct terms *t, const char *token, const char *name)
{
    if (t->out != NULL) {
        fprintf(t->out, "%s\n", token);
    } else if (cli->json) {
        AUTO(json_release)
        json_t *line = json_pack("{s:s,s:s,s:s,s:I}", "token", token, "ca_sha256", t->ca_hex,
                                 "host", t->host, "port", (json_int_t)t->port);
        json_dumpf(line, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    } else if (t->port != 0) {
        fprintf(cli->out,
                "%s\n  sallyport enrol join --server %s:%u --token %s --ca-sha256 %s --name %s\n",
                token, t->host, t->port, token, t->ca_hex, name != NULL ? name : "NAME");
    } else {
        fprintf(cli->out,
                "%s\n  no listener takes it yet: sallyport.yaml needs one with door: enrol\n",
                token);
    }
}

/* By the operator's own channel: the broker makes none. */
static int ask_signer(struct cli *cli, const struct authority_claim *claim, uint64_t count,
                      const struct terms *t)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    struct clock clock = clock_system();
    char name[AUTHORITY_TOKEN_BYTES * 4] = "";
    int code = client_signer(cli, &a);
    (void)slice_to_text(claim->name, name, sizeof name);
    for (uint64_t i = 0; code == CLI_DONE && i < count; i++) {
        char token[AUTHORITY_TOKEN_BYTES];
        struct why why = {{0}};
        enum err err = authority_token_make(a, claim, clock.wall_ms(clock.ctx), token, &why);
        if (err != OK) {
            return cli_fail(cli, "no token was made: %s",
                            why.text[0] != '\0' ? why.text : err_name(err));
        }
        say_token(cli, t, token, name[0] != '\0' ? name : NULL);
        mem_wipe(token, sizeof token);
    }
    return code;
}

static int make_tokens(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t for_s, uses, count;
    struct terms t = {.out = NULL};
    char attrs_text[2048] = "{}";
    const char *out = cli_value(a, "--out"), *name = cli_value(a, "--name");
    const char *pattern = cli_value(a, "--pattern"), *role = cli_value(a, "--role");
    struct clock clock = clock_system();
    if (role == NULL) {
        return cli_usage(cli, self,
                         "enrol token needs --role; the default policy has sensor, "
                         "actuator and console");
    }
    if (name != NULL && !cli_name_ok(cli, self, name)) {
        return CLI_USAGE;
    }
    if (name != NULL && pattern != NULL) {
        return cli_usage(cli, self, "a token is for one --name or for a --pattern of names");
    }
    if (!number(cli, self, a, "--for", SETTING_DURATION, 30 * 86400, 3600, &for_s) ||
        !number(cli, self, a, "--uses", SETTING_COUNT, 100000, 1, &uses) ||
        !number(cli, self, a, "-n", SETTING_COUNT, 1000, 1, &count)) {
        return CLI_USAGE;
    }
    AUTO(json_release) json_t *attrs = cli_attrs(cli, self, a);
    if (attrs == NULL) {
        return CLI_USAGE;
    }
    size_t n = json_dumpb(attrs, attrs_text, sizeof attrs_text - 1, JSON_COMPACT);
    if (n == 0 || n >= sizeof attrs_text) {
        return cli_fail(cli, "these attributes are too long");
    }
    attrs_text[n] = '\0';
    int code = cli_call(cli, "enrol.terms",
                        json_pack("{s:s,s:O,s:I,s:I}", "role", role, "attrs", attrs, "for_s",
                                  (json_int_t)for_s, "count", (json_int_t)count),
                        take_terms, &t);
    if (code != CLI_DONE) {
        return code;
    }
    if (out != NULL && (t.out = new_file(out)) == NULL) {
        return cli_fail(cli, "%s cannot be made: it must not be there yet", out);
    }
    const struct authority_claim claim = {
        .name = slice_text(name),
        .pattern = name == NULL ? slice_text(pattern != NULL ? pattern : "*") : (struct slice){0},
        .role = slice_text(role),
        .attrs_json = slice_text(attrs_text),
        .expires_wall_ms = clock.wall_ms(clock.ctx) + (int64_t)for_s * 1000,
        .uses = (unsigned)uses};
    code = ask_signer(cli, &claim, count, &t);
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

/* Which rows are meant: one id, or all that wait and match. */
struct choice {
    json_int_t id;     /* 0: all */
    struct slice name; /* a pattern; empty: any */
    struct net_network from;
    bool has_from;
    json_t *rows; /* those, as enrol.list gave them */
};

static bool is_chosen(const struct choice *c, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *state = json_string_value(json_object_get(row, "state"));
    const char *peer = json_string_value(json_object_get(row, "peer"));
    struct net_peer from;
    if (c->id != 0) {
        return json_integer_value(json_object_get(row, "id")) == c->id;
    }
    return name != NULL && state != NULL && strcmp(state, "waits") == 0 &&
           (c->name.n == 0 || authority_pattern_matches(c->name, slice_text(name))) &&
           (!c->has_from || (net_peer_parse(slice_text(peer), &from) == OK &&
                             net_network_contains(&c->from, &from)));
}

static int take_row(struct cli *cli, void *ctx, const json_t *line)
{
    struct choice *c = ctx;
    if (is_chosen(c, line) && json_array_append(c->rows, (json_t *)(uintptr_t)line) != 0) {
        return cli_fail(cli, "no memory");
    }
    return CLI_DONE;
}

static bool read_where(const struct cli_args *a, struct choice *ret)
{
    const char *const *where;
    size_t n = cli_values(a, "--where", &where);
    bool is_exact = true;
    for (size_t i = 0; i < n; i++) {
        struct slice value = slice_text(where[i]);
        bool more;
        struct slice key = slice_cut(&value, '=', &more);
        if (slice_is(key, "name") && value.n > 0) {
            ret->name = value;
        } else if (slice_is(key, "from") && net_network_parse(value, &is_exact, &ret->from) == OK &&
                   is_exact) {
            ret->has_from = true;
        } else {
            return false;
        }
    }
    return true;
}

/* Checked first, said to the signer, then done: cut short, the key may have a certificate, and
 * there is no device that it would be for. */
static int approve_one(struct cli *cli, const char *role, json_t *attrs, const json_t *row)
{
    AUTO(authority_autofree) struct authority *a = NULL;
    const char *name = json_string_value(json_object_get(row, "name"));
    json_int_t id = json_integer_value(json_object_get(row, "id"));
    struct digest spki;
    struct why why = {{0}};
    struct clock clock = clock_system();
    const char *hex = json_string_value(json_object_get(row, "key_sha256"));
    if (name == NULL || digest_from_hex(slice_text(hex), &spki) != OK) {
        return cli_fail(cli, "the daemon's answer does not read; are both the same version?");
    }
    int code = cli_call(cli, "enrol.approve",
                        json_pack("{s:I,s:s,s:s,s:O,s:b}", "id", id, "name", name, "role", role,
                                  "attrs", attrs, "check", 1),
                        NULL, NULL);
    code = code == CLI_DONE ? client_signer(cli, &a) : code;
    if (code != CLI_DONE) {
        return code;
    }
    enum err err = authority_enrol(a, slice_text(name), &spki, clock.wall_ms(clock.ctx), &why);
    if (err != OK) {
        return cli_fail(cli, "%s", why.text[0] != '\0' ? why.text : err_name(err));
    }
    return cli_call(
        cli, "enrol.approve",
        json_pack("{s:I,s:s,s:s,s:O}", "id", id, "name", name, "role", role, "attrs", attrs), NULL,
        NULL);
}

static int approve(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    AUTO(json_release) json_t *rows = json_array();
    struct choice c = {.rows = rows};
    const char *role = cli_value(a, "--role");
    const json_t *row;
    size_t i;
    if (!read_id(a, &c.id) || cli_has(a, "--all") == (c.id != 0) || role == NULL ||
        !read_where(a, &c) || (c.id != 0 && cli_has(a, "--where"))) {
        return cli_usage(cli, self,
                         "enrol approve needs --role, and an ID or --all (with --where "
                         "name=PATTERN or from=NETWORK)");
    }
    AUTO(json_release) json_t *attrs = cli_attrs(cli, self, a);
    if (attrs == NULL) {
        return CLI_USAGE;
    }
    int code = cli_call(cli, "enrol.list", NULL, take_row, &c);
    if (code == CLI_DONE && json_array_size(rows) == 0) {
        return cli_fail(cli, "no such request waits; see `sallyport enrol list`");
    }
    json_array_foreach(rows, i, row)
    {
        code = code == CLI_DONE ? approve_one(cli, role, attrs, row) : code;
    }
    return code;
}

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    (void)self;
    (void)a;
    return cli_call_or(cli, "nobody asks to be enrolled", "enrol.list", NULL);
}

static int reject(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    json_int_t id;
    return read_id(a, &id) ? cli_call(cli, "enrol.reject", json_pack("{s:I}", "id", id), NULL, NULL)
                           : cli_usage(cli, self, "enrol reject %s: ID is a number of `enrol list`",
                                       a->words[1]);
}

int cmd_enrol(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"token", "", "--role --name --pattern --attr --for --uses -n --out", make_tokens},
        {"tokens", "", "", enrol_tokens},
        {"cancel", "ID|TOKEN", "", enrol_cancel},
        {"list", "", "", list},
        {"approve", "[ID]", "--role --attr --all --where", approve},
        {"reject", "ID", "", reject},
        {"batch", "FILE", "--out --credential", enrol_batch},
        {"join", "", "--server --token --ca-sha256 --name --out", enrol_join},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a) ? cli_verbs(cli, self, verbs, &a)
                                                         : CLI_USAGE;
}
