/* device add, list, show, disable, enable, revoke, rotate, remove */
#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "app/cli/commands.h"
#include "service/admin/provision.h"
#include "service/directory/settings.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

/* "K=V" options as an object; NULL after a usage message. */
json_t *cli_attrs(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *const *given;
    size_t n = cli_values(a, "--attr", &given);
    AUTO(json_release) json_t *attrs = json_object();
    for (size_t i = 0; i < n; i++) {
        struct slice value = slice_text(given[i]);
        bool more;
        struct slice key = slice_cut(&value, '=', &more);
        char name[PRINCIPAL_NAME_MAX + 1];
        if (!more || !principal_name_ok(key) || !slice_to_text(key, name, sizeof name)) {
            (void)cli_usage(cli, self, "--attr %s is not KEY=VALUE with KEY of [A-Za-z0-9._-]",
                            given[i]);
            return NULL;
        }
        json_t *text = json_stringn((const char *)value.p, value.n);
        if (value.n == 0) {
            text = json_string("");
        }
        if (json_object_set_new(attrs, name, text) != 0) {
            (void)cli_usage(cli, self, "--attr %s is not text", given[i]);
            return NULL;
        }
    }
    return TAKE(attrs);
}

static json_t *credentials_of(struct cli *cli, const struct cli_command *self,
                              const struct cli_args *a)
{
    const char *const *given;
    size_t n = cli_values(a, "--credential", &given);
    AUTO(json_release) json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        if (provision_credential_find(slice_text(given[i])) == 0) {
            (void)cli_usage(cli, self,
                            "--credential %s: kinds are x509, password, scram, psk, oscore",
                            given[i]);
            return NULL;
        }
        json_array_append_new(list, json_string(given[i]));
    }
    return TAKE(list);
}

/* howto.txt names the bundle's place, and its lines are pasted anywhere. */
static bool absolute(const char *dir, char dst[PATH_MAX])
{
    char here[PATH_MAX] = "";
    if (dir[0] != '/' && getcwd(here, sizeof here) == NULL) {
        return false;
    }
    int n = snprintf(dst, PATH_MAX, "%s%s%s", here, dir[0] != '/' ? "/" : "", dir);
    return n > 0 && n < PATH_MAX;
}

/* Nothing is registered before there is a place for the bundle. */
static bool place_is_free(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        return true; /* not there, or the saving will say what is wrong */
    }
    size_t n = 0;
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n <= 2;
}

struct saving {
    const char *name, *dir;
};

static int save_line(struct cli *cli, void *ctx, const json_t *line)
{
    const struct saving *s = ctx;
    const json_t *files = json_object_get(line, "bundle");
    if (files == NULL) {
        return CLI_DONE;
    }
    AUTO(bundle_done) struct bundle bundle = {0};
    struct why why = {{0}};
    if (bundle_from_json(files, &bundle) != OK) {
        return cli_fail(cli, "the daemon's bundle does not read; are both the same version?");
    }
    if (bundle_save(&bundle, s->dir, &why) != OK) {
        return cli_fail(cli, "%s; the device is there, `device rotate` makes new credentials",
                        why.text);
    }
    if (cli->json) {
        AUTO(json_release) json_t *done = json_pack("{s:s,s:s}", "name", s->name, "bundle", s->dir);
        json_dumpf(done, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    } else {
        fprintf(cli->out, "%s: its bundle is in %s, how to use it in %s/howto.txt\n", s->name,
                s->dir, s->dir);
    }
    return CLI_DONE;
}

static int make_bundle(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       const char *verb, json_t *args)
{
    AUTO(json_release) json_t *owned = args;
    AUTO(json_release) json_t *credentials = credentials_of(cli, self, a);
    const char *name = a->words[1];
    if (owned == NULL || credentials == NULL) {
        return CLI_USAGE;
    }
    if (!principal_name_ok(slice_text(name))) {
        return cli_usage(cli, self, "a device's name is 1 to 64 of [A-Za-z0-9._-]");
    }
    struct saving saving = {.name = name, .dir = cli_value(a, "--out")};
    if (saving.dir == NULL) {
        saving.dir = name;
    }
    char whole[PATH_MAX];
    if (!absolute(saving.dir, whole)) {
        return cli_fail(cli, "%s: this path is too long", saving.dir);
    }
    if (!place_is_free(saving.dir)) {
        return cli_fail(cli, "%s is not empty; choose another place with --out", saving.dir);
    }
    if (json_object_set_new(owned, "name", json_string(name)) != 0 ||
        json_object_set(owned, "credentials", credentials) != 0 ||
        json_object_set_new(owned, "save_dir", json_string(whole)) != 0) {
        return cli_fail(cli, "an argument is not text");
    }
    return cli_call(cli, verb, TAKE(owned), save_line, &saving);
}

static int add(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *role = cli_value(a, "--role");
    if (role == NULL) {
        return cli_usage(cli, self,
                         "device add needs --role; the default policy has sensor, "
                         "actuator and console");
    }
    json_t *attrs = cli_attrs(cli, self, a);
    if (attrs == NULL) {
        return CLI_USAGE;
    }
    return make_bundle(cli, self, a, "device.add",
                       json_pack("{s:s,s:o}", "role", role, "attrs", attrs));
}

static int rotate(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    static const struct setting row = {"--overlap", SETTING_DURATION, 0, 30 * 86400, "", 0, 8};
    const char *overlap = cli_value(a, "--overlap");
    char why[SETTING_WHY_BYTES];
    uint64_t seconds = 0;
    if (overlap != NULL && setting_parse(&row, slice_text(overlap), 0, why, &seconds) != OK) {
        return cli_usage(cli, self, "%s", why);
    }
    return make_bundle(cli, self, a, "device.rotate",
                       json_pack("{s:I}", "overlap_s", (json_int_t)seconds));
}

int cmd_device(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {
        {"--role", NULL, CLI_VALUE},      {"--attr", NULL, CLI_MANY},
        {"--credential", NULL, CLI_MANY}, {"--out", NULL, CLI_VALUE},
        {"--where", NULL, CLI_VALUE},     {"--reason", NULL, CLI_VALUE},
        {"--overlap", NULL, CLI_VALUE},   {NULL, NULL, CLI_FLAG}};
    static const char *const simple[] = {"show", "disable", "enable", "revoke", "remove"};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    const char *verb = a.n_words > 0 ? a.words[0] : "";
    if (strcmp(verb, "list") == 0 && a.n_words == 1) {
        return cli_call(cli, "device.list", json_pack("{s:s*}", "where", cli_value(&a, "--where")),
                        NULL, NULL);
    }
    if (a.n_words != 2) {
        return cli_usage(cli, self,
                         "device does: add, list, show, disable, enable, revoke, rotate, "
                         "remove, and one NAME");
    }
    if (strcmp(verb, "add") == 0) {
        return add(cli, self, &a);
    }
    if (strcmp(verb, "rotate") == 0) {
        return rotate(cli, self, &a);
    }
    for (size_t i = 0; i < COUNT_OF(simple); i++) {
        if (strcmp(verb, simple[i]) == 0) {
            char full[32];
            snprintf(full, sizeof full, "device.%s", verb);
            return cli_call(
                cli, full,
                json_pack("{s:s,s:s*}", "name", a.words[1], "reason", cli_value(&a, "--reason")),
                NULL, NULL);
        }
    }
    return cli_usage(cli, self, "there is no device %s", verb);
}
