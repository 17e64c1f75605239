/* device: one at a time; many by selector or file are cmd_fleet.c's */
#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "app/cli/client_signer.h"
#include "app/cli/commands.h"
#include "app/cli/fleet.h"
#include "service/admin/provision.h"
#include "service/directory/settings.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

bool cli_name_ok(struct cli *cli, const struct cli_command *self, const char *name)
{
    bool is_good = principal_name_ok(slice_text(name));
    if (!is_good) {
        (void)cli_usage(cli, self, "\"%s\": a device's name is 1 to 64 of [A-Za-z0-9._-]", name);
    }
    return is_good;
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

json_t *device_credentials(struct cli *cli, const struct cli_command *self,
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
bool device_absolute(const char *dir, char dst[PATH_MAX])
{
    char here[PATH_MAX] = "";
    if (dir[0] != '/' && getcwd(here, sizeof here) == NULL) {
        return false;
    }
    int n = snprintf(dst, PATH_MAX, "%s%s%s", here, dir[0] != '/' ? "/" : "", dir);
    return n > 0 && n < PATH_MAX;
}

/* Nothing is registered before there is a place for the bundle. */
bool device_place_is_free(const char *dir)
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
    const char *note = json_string_value(json_object_get(line, "note"));
    if (cli->json) {
        AUTO(json_release)
        json_t *done = json_pack("{s:s,s:s,s:s*}", "name", s->name, "bundle", s->dir, "note", note);
        json_dumpf(done, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    } else {
        fprintf(cli->out, "%s: its bundle is in %s, how to use it in %s/howto.txt\n", s->name,
                s->dir, s->dir);
        if (note != NULL) {
            fprintf(cli->out, "%s: %s\n", s->name, note);
        }
    }
    return CLI_DONE;
}

/* A certificate needs an operator's word, which the broker cannot give: it is said to the signer,
 * first. Cut short between the two, there is a name that may have a certificate and no device. */
static int allow(struct cli *cli, const char *verb, const char *name, const json_t *credentials)
{
    bool is_named = false;
    bool is_add = strcmp(verb, "device.add") == 0;
    for (size_t i = 0; i < json_array_size(credentials); i++) {
        is_named =
            is_named || strcmp(json_string_value(json_array_get(credentials, i)), "x509") == 0;
    }
    if (json_array_size(credentials) == 0) {
        return is_add ? client_signer_enrol(cli, name) : client_signer_allow(cli, name);
    }
    return is_named ? client_signer_enrol(cli, name) : CLI_DONE;
}

static int make_bundle(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       const char *verb, json_t *args)
{
    AUTO(json_release) json_t *owned = args;
    AUTO(json_release) json_t *credentials = device_credentials(cli, self, a);
    const char *name = a->words[1];
    if (owned == NULL || credentials == NULL) {
        return CLI_USAGE;
    }
    if (!cli_name_ok(cli, self, name)) {
        return CLI_USAGE;
    }
    struct saving saving = {.name = name, .dir = cli_value(a, "--out")};
    if (saving.dir == NULL) {
        saving.dir = name;
    }
    char whole[PATH_MAX];
    if (!device_absolute(saving.dir, whole)) {
        return cli_fail(cli, "%s: this path is too long", saving.dir);
    }
    if (!device_place_is_free(saving.dir)) {
        return cli_fail(cli, "%s is not empty; choose another place with --out", saving.dir);
    }
    if (json_object_set_new(owned, "name", json_string(name)) != 0 ||
        json_object_set(owned, "credentials", credentials) != 0 ||
        json_object_set_new(owned, "save_dir", json_string(whole)) != 0) {
        return cli_fail(cli, "an argument is not text");
    }
    int code = allow(cli, verb, name, credentials);
    return code == CLI_DONE ? cli_call(cli, verb, TAKE(owned), save_line, &saving) : code;
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
                       json_pack("{s:s,s:o,s:s*,s:b}", "role", role, "attrs", attrs, "gateway",
                                 cli_value(a, "--gateway"), "opaque", cli_has(a, "--opaque")));
}

/* No bundle is made: what waits is taken back, or put in force. */
static int decide(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                  bool is_abort, bool is_now)
{
    if (is_abort == is_now || cli_value(a, "--overlap") != NULL || cli_value(a, "--out") != NULL ||
        cli_has(a, "--opaque")) {
        return cli_usage(cli, self,
                         "--abort takes a rotation back that waits for its device, --now ends what "
                         "was before it: one of them, with nothing but --credential");
    }
    json_t *credentials = device_credentials(cli, self, a);
    if (credentials == NULL) {
        return CLI_USAGE;
    }
    return cli_call(cli, "device.rotate",
                    json_pack("{s:s,s:o,s:b,s:b}", "name", a->words[1], "credentials", credentials,
                              "abort", is_abort, "now", is_now),
                    NULL, NULL);
}

int device_overlap(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   uint64_t *ret_s)
{
    static const struct setting row = {
        "--overlap", SETTING_DURATION, 0, PROVISION_OVERLAP_MAX_S, "", 0, 8};
    const char *overlap = cli_value(a, "--overlap");
    char why[SETTING_WHY_BYTES];
    *ret_s = 0;
    return overlap != NULL && setting_parse(&row, slice_text(overlap), 0, why, ret_s) != OK
               ? cli_usage(cli, self, "%s", why)
               : CLI_DONE;
}

static int rotate(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    uint64_t seconds = 0;
    int code = device_overlap(cli, self, a, &seconds);
    if (code != CLI_DONE) {
        return code;
    }
    bool is_abort = cli_has(a, "--abort"), is_now = cli_has(a, "--now");
    if (!cli_name_ok(cli, self, a->words[1])) {
        return CLI_USAGE;
    }
    if (is_abort || is_now) {
        return decide(cli, self, a, is_abort, is_now);
    }
    return make_bundle(
        cli, self, a, "device.rotate",
        json_pack("{s:I,s:b}", "overlap_s", (json_int_t)seconds, "opaque", cli_has(a, "--opaque")));
}

bool device_where_ok(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *const *given;
    size_t n = cli_values(a, "--where", &given);
    for (size_t i = 0; i < n; i++) {
        struct slice value = slice_text(given[i]);
        bool more;
        struct slice key = slice_cut(&value, '=', &more);
        if (!more || key.n == 0) {
            (void)cli_usage(cli, self,
                            "--where %s is not KEY=VALUE; KEY is name, role, status, gateway or an "
                            "attribute",
                            given[i]);
            return false;
        }
        if (slice_is(key, "status") && !slice_is(value, "active") && !slice_is(value, "disabled") &&
            !slice_is(value, "revoked")) {
            (void)cli_usage(cli, self, "--where %s: status is active, disabled or revoked",
                            given[i]);
            return false;
        }
    }
    return true;
}

json_t *device_where(const struct cli_args *a)
{
    const char *const *given;
    size_t n = cli_values(a, "--where", &given);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append_new(list, json_string(given[i]));
    }
    return list;
}

/* ---- verbs ---- */

static int list(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    if (!device_where_ok(cli, self, a)) {
        return CLI_USAGE;
    }
    return cli_call_or(
        cli, cli_has(a, "--duplicates") ? "no secret is in two hands" : "no device matches",
        "device.list",
        json_pack("{s:o,s:b}", "where", device_where(a), "duplicates", cli_has(a, "--duplicates")));
}

static int role(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    return cli_name_ok(cli, self, a->words[1])
               ? cli_call(cli, "device.role",
                          json_pack("{s:s,s:s}", "name", a->words[1], "role", a->words[2]), NULL,
                          NULL)
               : CLI_USAGE;
}

/* show, disable, enable, revoke, remove, assign */
static int simple(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const char *verb = a->words[0], *gateway = cli_value(a, "--gateway");
    char full[32];
    if (!cli_name_ok(cli, self, a->words[1])) {
        return CLI_USAGE;
    }
    if (strcmp(verb, "assign") == 0 && gateway == NULL) {
        return cli_usage(cli, self, "device assign needs --gateway: a gateway, or none");
    }
    (void)snprintf(full, sizeof full, "device.%s", verb);
    int code = strcmp(verb, "remove") == 0 ? client_signer_forget(cli, a->words[1]) : CLI_DONE;
    return code == CLI_DONE ? cli_call(cli, full,
                                       json_pack("{s:s,s:s*,s:s*}", "name", a->words[1], "reason",
                                                 cli_value(a, "--reason"), "gateway", gateway),
                                       NULL, NULL)
                            : code;
}

int cmd_device(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--role", NULL, CLI_VALUE},
                                                {"--attr", NULL, CLI_MANY},
                                                {"--credential", NULL, CLI_MANY},
                                                {"--out", NULL, CLI_VALUE},
                                                {"--where", NULL, CLI_MANY},
                                                {"--reason", NULL, CLI_VALUE},
                                                {"--overlap", NULL, CLI_VALUE},
                                                {"--gateway", NULL, CLI_VALUE},
                                                {"--from", NULL, CLI_VALUE},
                                                {"--dry-run", NULL, CLI_FLAG},
                                                {"--opaque", NULL, CLI_FLAG},
                                                {"--abort", NULL, CLI_FLAG},
                                                {"--now", NULL, CLI_FLAG},
                                                {"--duplicates", NULL, CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    static const struct cli_verb one[] = {
        {"add", "NAME", "--role --attr --credential --gateway --opaque --out", add},
        {"list", "", "--where --duplicates", list},
        {"show", "NAME", "", simple},
        {"disable", "NAME", "--reason", simple},
        {"enable", "NAME", "--reason", simple},
        {"revoke", "NAME", "--reason", simple},
        {"rotate", "NAME", "--credential --overlap --opaque --out --abort --now", rotate},
        {"remove", "NAME", "--reason", simple},
        {"role", "NAME ROLE", "", role},
        {"assign", "NAME", "--gateway", simple},
        {NULL, NULL, NULL, NULL}};
    static const struct cli_verb many[] = {
        /* cmd_fleet says that they have no NAME */
        {"add", "[NAME]", "--from --out --role --gateway --attr --credential --dry-run", cmd_fleet},
        {"list", "", "--where --duplicates", list},
        {"disable", "[NAME]", "--where --reason --dry-run", cmd_fleet},
        {"enable", "[NAME]", "--where --reason --dry-run", cmd_fleet},
        {"revoke", "[NAME]", "--where --reason --dry-run", cmd_fleet},
        {"rotate", "[NAME]", "--where --out --credential --overlap --dry-run", cmd_fleet},
        {"remove", "[NAME]", "--where --reason --dry-run", cmd_fleet},
        {"role", "[NAME] [ROLE]", "--where --dry-run", cmd_fleet},
        {"assign", "[NAME]", "--where --gateway --dry-run", cmd_fleet},
        {NULL, NULL, NULL, NULL}};
    struct cli_args a;
    return cli_parse(cli, self, options, argc, argv, &a)
               ? cli_verbs(cli, self, fleet_is_meant(&a) && cli_verb_is(many, &a) ? many : one, &a)
               : CLI_USAGE;
}
