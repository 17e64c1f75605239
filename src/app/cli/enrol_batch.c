#include "app/cli/enrol_batch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/client_signer.h"
#include "base/scope.h"
#include "core/principal.h"
#include "service/admin/provision.h"
#include "service/pki/bundle.h"

enum { LINE_MAX_BYTES = 4096, ROWS_MAX = 100000 };

struct batch {
    const char *out;
    json_t *credentials;
    size_t n_new, n_there, n_failed;
    char place[PATH_MAX], part[PATH_MAX]; /* of the row under way */
    bool is_saved;
};

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* What a run before has left half: its files are of credentials that are replaced now. */
static void empty(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL) {
        return;
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (e->d_name[0] != '.') {
            (void)unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    closedir(d);
}

static int save(struct cli *cli, void *ctx, const json_t *line)
{
    struct batch *b = ctx;
    const json_t *files = json_object_get(line, "bundle");
    AUTO(bundle_done) struct bundle bundle = {0};
    struct why why = {{0}};
    if (files == NULL) {
        return CLI_DONE;
    }
    if (bundle_from_json(files, &bundle) != OK || bundle_save(&bundle, b->part, &why) != OK) {
        return cli_fail(cli, "%s: its bundle could not be saved: %s", b->part, why.text);
    }
    /* Whole or not there: who finds the directory finds all of it. */
    if (rename(b->part, b->place) != 0) {
        return cli_fail(cli, "%s cannot be named %s: %s", b->part, b->place, strerror(errno));
    }
    b->is_saved = true;
    return CLI_DONE;
}

/* "KEY=VALUE" words as an object; NULL: one is none. */
static json_t *attrs_of(char *words)
{
    json_t *attrs = json_object();
    char *state = NULL;
    for (char *w = strtok_r(words, " \t", &state); attrs != NULL && w != NULL;
         w = strtok_r(NULL, " \t", &state)) {
        char *equal = strchr(w, '=');
        if (equal != NULL) {
            *equal = '\0';
        }
        if (equal == NULL || !principal_name_ok(slice_text(w)) ||
            json_object_set_new(attrs, w, json_string(equal + 1)) != 0) {
            json_decref(attrs);
            return NULL;
        }
    }
    return attrs;
}

/* A certificate needs an operator's word, said to the signer; not for a device of somebody else's.
 */
static int allow(struct cli *cli, const struct batch *b, const char *name, bool again)
{
    bool wants = json_array_size(b->credentials) == 0;
    for (size_t i = 0; i < json_array_size(b->credentials); i++) {
        const char *kind = json_string_value(json_array_get(b->credentials, i));
        wants = wants || (kind != NULL && strcmp(kind, "x509") == 0);
    }
    int code = cli_call(cli, "enrol.row",
                        json_pack("{s:s,s:b,s:b}", "name", name, "again", (int)again, "check", 1),
                        NULL, NULL);
    return code == CLI_DONE && wants ? client_signer_enrol(cli, name) : code;
}

static int ask(struct cli *cli, struct batch *b, const char *name, const char *role, char *rest)
{
    bool again = is_there(b->part);
    char whole[PATH_MAX];
    json_t *attrs = attrs_of(rest);
    if (attrs == NULL) {
        return cli_fail(cli, "%s: attributes are KEY=VALUE with KEY of [A-Za-z0-9._-]", name);
    }
    if (again) {
        empty(b->part);
    } else if (mkdir(b->part, 0700) != 0) { /* begun: said before anything is registered */
        json_decref(attrs);
        return cli_fail(cli, "%s cannot be made: %s", b->part, strerror(errno));
    }
    (void)snprintf(whole, sizeof whole, "%.*s", PATH_MAX - 1, b->place);
    b->is_saved = false;
    int code = allow(cli, b, name, again);
    if (code != CLI_DONE) {
        json_decref(attrs);
        if (!again) {
            (void)rmdir(b->part);
        }
        return code;
    }
    code =
        cli_call(cli, "enrol.row",
                 json_pack("{s:s,s:s,s:o,s:O,s:s,s:b}", "name", name, "role", role, "attrs", attrs,
                           "credentials", b->credentials, "save_dir", whole, "again", (int)again),
                 save, b);
    /* Without an answer nobody knows whether it is registered: what was begun stays so. */
    return b->is_saved ? CLI_DONE : code;
}

static int row(struct cli *cli, struct batch *b, unsigned number, char *line)
{
    char *state = NULL;
    const char *name = strtok_r(line, " \t", &state);
    const char *role = strtok_r(NULL, " \t", &state);
    if (name == NULL || name[0] == '#') {
        return CLI_DONE;
    }
    if (role == NULL || !principal_name_ok(slice_text(name)) ||
        !principal_name_ok(slice_text(role))) {
        b->n_failed++;
        return cli_fail(cli, "line %u: a row is NAME ROLE [KEY=VALUE ...]", number);
    }
    int n = snprintf(b->place, sizeof b->place, "%s/%s", b->out, name);
    int m = snprintf(b->part, sizeof b->part, "%s/%s.part", b->out, name);
    if (n < 0 || m < 0 || (size_t)m >= sizeof b->part) {
        return cli_fail(cli, "%s: this path is too long", b->out);
    }
    if (is_there(b->place)) {
        b->n_there++;
        return CLI_DONE;
    }
    int code = ask(cli, b, name, role, state);
    b->n_new += code == CLI_DONE;
    b->n_failed += code != CLI_DONE;
    return code;
}

static bool read_row(FILE *f, char line[LINE_MAX_BYTES], bool *ret_too_long)
{
    if (fgets(line, LINE_MAX_BYTES, f) == NULL) {
        return false;
    }
    size_t n = strlen(line);
    *ret_too_long = n == LINE_MAX_BYTES - 1 && line[n - 1] != '\n';
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
        line[--n] = '\0';
    }
    return true;
}

static void batch_done(struct batch *b)
{
    json_decref(b->credentials);
}

int enrol_batch(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    AUTO(batch_done) struct batch b = {.out = cli_value(a, "--out"), .credentials = json_array()};
    const char *const *given;
    size_t n = cli_values(a, "--credential", &given);
    char line[LINE_MAX_BYTES];
    bool is_too_long = false;
    if (b.out == NULL) {
        return cli_usage(cli, self, "enrol batch needs --out DIR, where the bundles go");
    }
    for (size_t i = 0; i < n; i++) {
        if (provision_credential_find(slice_text(given[i])) == 0) {
            return cli_usage(cli, self,
                             "--credential %s: kinds are x509, password, scram, psk, "
                             "oscore",
                             given[i]);
        }
        (void)json_array_append_new(b.credentials, json_string(given[i]));
    }
    FILE *f = fopen(a->words[1], "re");
    if (f == NULL) {
        return cli_fail(cli, "%s cannot be read: %s", a->words[1], strerror(errno));
    }
    if (mkdir(b.out, 0700) != 0 && errno != EEXIST) {
        (void)fclose(f);
        return cli_fail(cli, "%s cannot be made: %s", b.out, strerror(errno));
    }
    for (unsigned i = 1; i <= ROWS_MAX && read_row(f, line, &is_too_long); i++) {
        if (is_too_long) {
            b.n_failed++;
            (void)cli_fail(cli, "line %u is longer than %d bytes", i, LINE_MAX_BYTES - 2);
            break;
        }
        (void)row(cli, &b, i, line);
    }
    (void)fclose(f);
    fprintf(cli->out,
            cli->json ? "{\"made\":%zu,\"there\":%zu,\"failed\":%zu}\n"
                      : "%zu devices made, %zu were there already, %zu failed\n",
            b.n_new, b.n_there, b.n_failed);
    return b.n_failed == 0 ? CLI_DONE : CLI_FAILED;
}
