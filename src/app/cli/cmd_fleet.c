/* device ... --where, device add --from: many devices by one command. The daemon changes them in
 * pieces, each one save; what is so already is left as it is, so the same command again goes on
 * where it was cut short. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/client_signer.h"
#include "app/cli/commands.h"
#include "app/cli/fleet.h"
#include "app/cli/fleet_file.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "service/admin/provision.h"

enum { SHOWN = 5, TOLD_EVERY_MS = 1000, WHAT_BYTES = 1024, READ_BYTES = 1 << 16 };

static const struct fleet_verb {
    const char *name, *past;
    size_t n_words; /* of the command */
    bool has_bundles;
} VERBS[] = {
    {"disable", "disabled", 1, false},     {"enable", "enabled", 1, false},
    {"revoke", "revoked", 1, false},       {"remove", "removed", 1, false},
    {"role", "of another role", 2, false}, {"assign", "assigned", 1, false},
    {"rotate", "rotated", 1, true},        {"add", "added", 1, true},
};

struct fleet {
    struct cli *cli;
    const struct cli_args *args;
    const struct fleet_verb *verb;
    json_t *items; /* owned: names, or rows of the list */
    size_t at;     /* of items: done so far */
    size_t n_changed, n_already, n_refused;
    uint64_t told_at_ms;
    bool has_told;
    struct fleet_job job;
    int64_t next_page; /* of a selection */
};

static void fleet_done(struct fleet *f)
{
    json_decref(f->items);
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

bool fleet_is_meant(const struct cli_args *a)
{
    return cli_has(a, "--where") || cli_has(a, "--from") || cli_has(a, "--dry-run");
}

static uint64_t now_ms(void)
{
    struct clock c = clock_system();
    return c.mono_ms(c.ctx);
}

static int64_t wall_ms(void)
{
    struct clock c = clock_system();
    return c.wall_ms(c.ctx);
}

/* ---- telling ---- */

static void tell(struct fleet *f, bool is_last)
{
    uint64_t now = now_ms();
    bool is_terminal = isatty(fileno(f->cli->err)) == 1;
    if (is_last ? f->has_told : now >= f->told_at_ms + TOLD_EVERY_MS) {
        fprintf(f->cli->err, "%s%s: %zu of %zu%s", is_terminal ? "\r" : "", f->verb->name, f->at,
                json_array_size(f->items), is_terminal && !is_last ? "" : "\n");
        (void)fflush(f->cli->err);
        f->told_at_ms = now;
        f->has_told = true;
    }
}

static const char *name_of(const json_t *item)
{
    const char *row = json_string_value(json_object_get(item, "name"));
    return row != NULL ? row : json_string_value(item);
}

static int summary(struct fleet *f)
{
    size_t n = json_array_size(f->items);
    if (f->cli->json) {
        AUTO(json_release)
        json_t *line = json_pack("{s:s,s:I,s:I,s:I,s:I}", "command", f->verb->name, "matched",
                                 (json_int_t)n, "changed", (json_int_t)f->n_changed, "already",
                                 (json_int_t)f->n_already, "refused", (json_int_t)f->n_refused);
        (void)json_dumpf(line, f->cli->out, JSON_COMPACT);
        fputc('\n', f->cli->out);
    } else {
        fprintf(f->cli->out, "%zu devices %s, %zu were so already, %zu refused\n", f->n_changed,
                f->verb->past, f->n_already, f->n_refused);
    }
    return f->n_refused > 0 ? CLI_FAILED : CLI_DONE;
}

static int dry_run(const struct fleet *f)
{
    size_t n = json_array_size(f->items);
    AUTO(json_release) json_t *first = json_array();
    for (size_t i = 0; i < n && i < SHOWN; i++) {
        (void)json_array_append_new(first, json_string(name_of(json_array_get(f->items, i))));
    }
    if (f->cli->json) {
        AUTO(json_release)
        json_t *line = json_pack("{s:b,s:s,s:I,s:O}", "dry_run", 1, "command", f->verb->name,
                                 "matched", (json_int_t)n, "first", first);
        (void)json_dumpf(line, f->cli->out, JSON_COMPACT);
        fputc('\n', f->cli->out);
        return CLI_DONE;
    }
    fprintf(f->cli->out, "%s would be for %zu devices", f->verb->name, n);
    for (size_t i = 0; i < json_array_size(first); i++) {
        fprintf(f->cli->out, "%s%s", i == 0 ? ": " : ", ",
                json_string_value(json_array_get(first, i)));
    }
    fprintf(f->cli->out, "%s\nnothing was changed\n", n > SHOWN ? ", ..." : "");
    return CLI_DONE;
}

/* ---- pieces ---- */

static int take_answer(struct cli *cli, void *ctx, const json_t *line)
{
    struct fleet *f = ctx;
    const json_t *refused = json_object_get(line, "refused");
    struct why why = {{0}};
    if (f->verb->has_bundles &&
        fleet_job_save(&f->job, json_object_get(line, "bundles"), &why) != OK) {
        return cli_fail(cli, "%s; the same command again goes on from here", why.text);
    }
    f->n_changed += (size_t)json_integer_value(json_object_get(line, "changed"));
    f->n_already += (size_t)json_integer_value(json_object_get(line, "already"));
    f->n_refused += json_array_size(refused);
    for (size_t i = 0; i < json_array_size(refused); i++) {
        json_t *one = json_array_get(refused, i);
        if (cli->json) {
            (void)json_dumpf(one, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
            fputc('\n', cli->out);
        } else {
            fprintf(cli->err, "%s: %s\n", json_string_value(json_object_get(one, "name")),
                    json_string_value(json_object_get(one, "why")));
        }
    }
    return CLI_DONE;
}

/* The arguments that all pieces have. */
static json_t *common(struct cli *cli, const struct cli_command *self, const struct fleet *f)
{
    const struct cli_args *a = f->args;
    uint64_t overlap_s = 0;
    if (!f->verb->has_bundles) {
        return json_pack("{s:s,s:s*,s:s*,s:s*}", "change", f->verb->name, "reason",
                         cli_value(a, "--reason"), "gateway", cli_value(a, "--gateway"), "role",
                         f->verb->n_words == 2 ? a->words[1] : NULL);
    }
    json_t *credentials = device_credentials(cli, self, a);
    if (credentials == NULL || device_overlap(cli, self, a, &overlap_s) != CLI_DONE) {
        json_decref(credentials);
        return NULL;
    }
    /* Of a run that is done nothing is made anew: its bundles may be with their devices by now. */
    return json_pack("{s:o,s:I,s:s,s:I}", "credentials", credentials, "overlap_s",
                     (json_int_t)overlap_s, "save_dir", f->job.dir, "since",
                     f->job.is_done ? (json_int_t)0 : (json_int_t)f->job.since_wall_ms);
}

/* The next piece of items, as the daemon takes it. */
static json_t *next_piece(struct fleet *f, size_t most)
{
    AUTO(json_release) json_t *piece = json_array();
    for (size_t n = 0; n < most && f->at < json_array_size(f->items); f->at++) {
        json_t *item = json_array_get(f->items, f->at);
        bool has = f->verb->has_bundles && fleet_job_has(&f->job, name_of(item));
        if (f->verb->has_bundles && name_of(item)[0] == '.') {
            fprintf(f->cli->err,
                    "%s: a name with a dot in front makes no directory here; "
                    "`device rotate %s --out BUNDLE`\n",
                    name_of(item), name_of(item));
            f->n_refused++;
            continue;
        }
        if (json_is_object(item)) {
            (void)json_object_set_new(item, "has_bundle", json_boolean(has));
        } else if (has) { /* rotated by this run */
            f->n_already++;
            continue;
        }
        if (json_array_append(piece, item) != 0) {
            return NULL;
        }
        n++;
    }
    return TAKE(piece);
}

static bool has_certificate(const json_t *credentials)
{
    for (size_t i = 0; i < json_array_size(credentials); i++) {
        if (strcmp(json_string_value(json_array_get(credentials, i)), "x509") == 0) {
            return true;
        }
    }
    return json_array_size(credentials) == 0; /* the default, or what each has */
}

/* Who may have a certificate, and who not any more, is an operator's word: it is said to the signer
 * first, as for one device (cmd_device.c). */
static int tell_signer(struct cli *cli, const struct fleet *f, const json_t *piece,
                       const json_t *credentials)
{
    const char *names[FLEET_CHANGES_MAX];
    size_t n = 0;
    bool is_removal = strcmp(f->verb->name, "remove") == 0;
    if (!is_removal && !f->verb->has_bundles) {
        return CLI_DONE;
    }
    for (size_t i = 0; i < json_array_size(piece) && n < FLEET_CHANGES_MAX; i++) {
        json_t *item = json_array_get(piece, i);
        const json_t *own = json_is_object(item) ? json_object_get(item, "credentials") : NULL;
        if (is_removal || has_certificate(own != NULL ? own : credentials)) {
            names[n++] = name_of(item);
        }
    }
    enum client_signer_word word = is_removal                          ? CLIENT_SIGNER_FORGET
                                   : strcmp(f->verb->name, "add") == 0 ? CLIENT_SIGNER_ENROL
                                                                       : CLIENT_SIGNER_ALLOW;
    return client_signer_each(cli, word, names, n);
}

static int do_pieces(struct cli *cli, const struct cli_command *self, struct fleet *f)
{
    bool is_add = strcmp(f->verb->name, "add") == 0;
    const char *verb = is_add                 ? "fleet.add"
                       : f->verb->has_bundles ? "fleet.rotate"
                                              : "fleet.change";
    size_t most = f->verb->has_bundles ? FLEET_BUNDLES_MAX : FLEET_CHANGES_MAX;
    AUTO(json_release) json_t *shared = common(cli, self, f);
    if (shared == NULL) {
        return CLI_USAGE;
    }
    f->told_at_ms = now_ms();
    while (f->at < json_array_size(f->items)) {
        size_t begin = f->at;
        AUTO(json_release) json_t *args = json_copy(shared);
        json_t *piece = next_piece(f, most);
        if (json_array_size(piece) == 0) {
            json_decref(piece);
            continue;
        }
        if (json_object_set_new(args, is_add ? "rows" : "names", piece) != 0) {
            return cli_fail(cli, "memory is out");
        }
        int code = tell_signer(cli, f, piece, json_object_get(args, "credentials"));
        code = code == CLI_DONE ? cli_call(cli, verb, TAKE(args), take_answer, f) : code;
        if (code != CLI_DONE) {
            return cli_fail(cli, "%zu of %zu were done; the same command again goes on from there",
                            begin, json_array_size(f->items));
        }
        tell(f, false);
    }
    tell(f, true);
    return CLI_DONE;
}

/* ---- selecting ---- */

static int take_names(struct cli *cli, void *ctx, const json_t *line)
{
    struct fleet *f = ctx;
    f->next_page = json_integer_value(json_object_get(line, "page"));
    return json_array_extend(f->items, json_object_get(line, "names")) == 0
               ? CLI_DONE
               : cli_fail(cli, "the daemon's answer does not read; are both the same version?");
}

static int by_text(const void *a, const void *b)
{
    const json_t *const *x = a;
    const json_t *const *y = b;
    return strcmp(json_string_value(*x), json_string_value(*y));
}

static void array_release(json_t ***array)
{
    *array = mem_free(*array);
}

/* In the order of their names: what a person expects, and the same in the next run. */
static int sort_names(struct fleet *f)
{
    size_t n = json_array_size(f->items);
    AUTO(array_release) json_t **all = mem_array(n + 1, sizeof(json_t *));
    AUTO(json_release) json_t *sorted = json_array();
    if (all == NULL || sorted == NULL) {
        return cli_fail(f->cli, "memory is out");
    }
    for (size_t i = 0; i < n; i++) {
        all[i] = json_array_get(f->items, i);
    }
    qsort(all, n, sizeof(json_t *), by_text);
    for (size_t i = 0; i < n; i++) {
        if (json_array_append(sorted, all[i]) != 0) {
            return cli_fail(f->cli, "memory is out");
        }
    }
    json_decref(f->items);
    f->items = TAKE(sorted);
    return CLI_DONE;
}

static int select_names(struct cli *cli, struct fleet *f)
{
    while (f->next_page >= 0) {
        int code = cli_call(cli, "fleet.select",
                            json_pack("{s:o,s:I}", "where", device_where(f->args), "page",
                                      (json_int_t)f->next_page),
                            take_names, f);
        if (code != CLI_DONE) {
            return code;
        }
    }
    return sort_names(f);
}

/* ---- the list ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static int read_list(struct cli *cli, const char *path, struct buf *ret)
{
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (;;) {
        uint8_t *room;
        if (fd >= 0 && buf_room(ret, READ_BYTES, FLEET_FILE_BYTES_MAX, &room) != OK) {
            return cli_fail(cli, "%s: over %d bytes; cut the list in two", path,
                            FLEET_FILE_BYTES_MAX);
        }
        ssize_t n = fd >= 0 ? read(fd, room, READ_BYTES) : -1;
        if (n == 0) {
            return CLI_DONE;
        }
        if (n < 0 && (fd < 0 || errno != EINTR)) {
            return cli_fail(cli, "%s: %s", path, strerror(errno));
        }
        ret->n += n > 0 ? (size_t)n : 0;
    }
}

/* What a row leaves out is as the command says. */
static int complete_rows(struct cli *cli, const struct cli_command *self, struct fleet *f)
{
    const char *role = cli_value(f->args, "--role"), *gateway = cli_value(f->args, "--gateway");
    AUTO(json_release) json_t *credentials = device_credentials(cli, self, f->args);
    AUTO(json_release) json_t *attrs = cli_attrs(cli, self, f->args);
    if (credentials == NULL || attrs == NULL) {
        return CLI_USAGE;
    }
    for (size_t i = 0; i < json_array_size(f->items); i++) {
        json_t *row = json_array_get(f->items, i);
        if (json_object_get(row, "role") == NULL) {
            if (role == NULL) {
                return cli_usage(cli, self,
                                 "%s has no role in the list: give --role for all that "
                                 "have none",
                                 name_of(row));
            }
            (void)json_object_set_new(row, "role", json_string(role));
        }
        if (gateway != NULL && json_object_get(row, "gateway") == NULL) {
            (void)json_object_set_new(row, "gateway", json_string(gateway));
        }
        if (json_object_get(row, "credentials") == NULL) {
            (void)json_object_set(row, "credentials", credentials);
        }
        (void)json_object_update_missing(json_object_get(row, "attrs"), attrs);
    }
    return CLI_DONE;
}

static int list_rows(struct cli *cli, const struct cli_command *self, struct fleet *f)
{
    AUTO(buf_wipe) struct buf text = {0};
    struct why why = {{0}};
    const char *path = cli_value(f->args, "--from");
    int code = read_list(cli, path, &text);
    if (code != CLI_DONE) {
        return code;
    }
    json_decref(f->items);
    f->items = NULL;
    enum err e = fleet_file_read(buf_slice(&text), &f->items, &why);
    if (e != OK) {
        return cli_fail(cli, "%s: %s", path, why.text[0] != '\0' ? why.text : err_name(e));
    }
    return complete_rows(cli, self, f);
}

/* ---- the command ---- */

/* "rotate site=b1 role=sensor": what a run in a directory is. */
static void describe(const struct fleet *f, char dst[WHAT_BYTES])
{
    const char *const *given;
    size_t n = cli_values(f->args, "--where", &given);
    int at = snprintf(dst, WHAT_BYTES, "%s", f->verb->name);
    for (size_t i = 0; i < n && at > 0 && at < WHAT_BYTES; i++) {
        at += snprintf(dst + at, WHAT_BYTES - (size_t)at, " %s", given[i]);
    }
}

static int with_bundles(struct cli *cli, const struct cli_command *self, struct fleet *f)
{
    char what[WHAT_BYTES];
    struct why why = {{0}};
    describe(f, what);
    if (fleet_job_open(cli_value(f->args, "--out"), what, wall_ms(), &f->job, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    if (f->job.is_done && strcmp(f->verb->name, "add") != 0) {
        return cli_fail(cli,
                        "the run in %s is done; for another rotation choose another directory with "
                        "--out",
                        f->job.dir);
    }
    int code = do_pieces(cli, self, f);
    if (code == CLI_DONE && f->n_refused == 0 && fleet_job_finish(&f->job, what, &why) != OK) {
        code = cli_fail(cli, "%s", why.text);
    }
    return code == CLI_DONE ? summary(f) : code;
}

static const struct fleet_verb *verb_of(const struct cli_args *a)
{
    for (size_t i = 0; a->n_words > 0 && i < COUNT_OF(VERBS); i++) {
        if (strcmp(a->words[0], VERBS[i].name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

static int check(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                 const struct fleet_verb *verb)
{
    if (verb == NULL || a->n_words != verb->n_words) {
        return cli_usage(cli, self,
                         "with --where there is no NAME: device list|disable|enable|revoke|remove|"
                         "rotate|assign, or role ROLE; with --from: device add");
    }
    bool is_add = strcmp(verb->name, "add") == 0;
    if (cli_has(a, "--from") != is_add || cli_has(a, "--where") == is_add) {
        return cli_usage(cli, self,
                         is_add ? "device add for many takes --from FILE"
                                : "say which devices with --where KEY=VALUE");
    }
    if (verb->has_bundles && !cli_has(a, "--out") && !cli_has(a, "--dry-run")) {
        return cli_usage(cli, self, "--out DIR: where the bundles go, each in DIR/NAME");
    }
    if (strcmp(verb->name, "assign") == 0 && !cli_has(a, "--gateway")) {
        return cli_usage(cli, self, "device assign needs --gateway: a gateway, or none");
    }
    return CLI_DONE;
}

int cmd_fleet(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    const struct fleet_verb *verb = verb_of(a);
    int code = check(cli, self, a, verb);
    code = code == CLI_DONE && !device_where_ok(cli, self, a) ? CLI_USAGE : code;
    if (code != CLI_DONE) {
        return code;
    }
    AUTO(fleet_done)
    struct fleet f = {.cli = cli, .args = a, .verb = verb, .items = json_array()};
    code = cli_has(a, "--from") ? list_rows(cli, self, &f) : select_names(cli, &f);
    if (code != CLI_DONE) {
        return code;
    }
    if (cli_has(a, "--dry-run")) {
        return dry_run(&f);
    }
    if (verb->has_bundles) {
        return with_bundles(cli, self, &f);
    }
    code = do_pieces(cli, self, &f);
    return code == CLI_DONE ? summary(&f) : code;
}
