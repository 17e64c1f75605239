/* backup */
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/archive.h"
#include "app/cli/commands.h"
#include "app/daemon/places.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/wr.h"
#include "service/watch/anchor.h"
#include "service/watch/trail.h"
#include "service/watch/trail_key.h"
#include "store/segment.h"

/* What of a data directory goes into a backup, when it is there: single files, and folders with all
 * their files. Never the keyring; nor run/ and bundles/, which hold keys of devices in the clear.
 */
static const char *const single_files[] = {"sallyport.yaml", "policy.yaml", "restored.seen",
                                           "waivers.json"};
/* Before the trail, which is never behind its head. */
static const char *const trail_files[] = {ANCHOR_FILE, TRAIL_SECRET_FILE, TRAIL_KEY_FILE};
static const char *const former_files[] = {ANCHOR_FILE_FORMER, TRAIL_KEY_FILE_FORMER};
static const char *const whole_folders[] = {"pki", TRAIL_DIR};

struct job {
    char dir[ARCHIVE_PATH_BYTES]; /* from /, as the next two */
    char key[ARCHIVE_PATH_BYTES];
    char keyring[ARCHIVE_PATH_BYTES + sizeof "/" KEYRING_FILE];
    char made[CLOCK_ISO8601_BYTES];
    struct archive_keys keys;
    struct disk *from;
    struct archive_place to;
    char part[sizeof((struct archive_place){0}.name) + sizeof ".part"];
    struct backup_writer *writer;
    struct archive_progress progress;
    unsigned n_files;
    int code; /* of copying */
};

static void job_done(struct job *j)
{
    j->writer = backup_writer_free(j->writer);
    archive_place_done(&j->to);
    archive_keys_done(&j->keys);
    if (j->from != NULL) {
        j->from = j->from->ops->free(j->from);
    }
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void json_text_release(char **text)
{
    free(*text); /* the library's: jansson made it */
}

/* ---- copying ---- */

static int add_file(struct cli *cli, struct job *j, const char *path, bool may_be_gone)
{
    enum err err = backup_add(j->writer, j->from, path);
    if (err == ERR_NOT_FOUND && may_be_gone) {
        return CLI_DONE;
    }
    if (err != OK) {
        return cli_fail(cli, "%s/%s into %s/%s: %s", j->dir, path, "backup", j->to.name,
                        err_name(err));
    }
    j->n_files++;
    archive_progress_show(&j->progress, backup_written(j->writer), 0);
    return CLI_DONE;
}

struct names {
    struct buf text; /* each with a NUL */
    char folder[32];
    enum err err;
};

static void add_name(void *ctx, const char *name)
{
    struct names *n = ctx;
    char path[512];
    struct slice all = slice_text(name);
    uint32_t number;
    struct wr w = wr_into(path, sizeof path);
    wr_bytes(&w, slice_text(n->folder));
    wr_u8(&w, '/');
    wr_bytes(&w, all);
    wr_u8(&w, 0);
    bool is_new = all.n > 4 && slice_is(slice_from(all, all.n - 4), ".new"); /* half a save */
    bool is_log = !slice_is(slice_text(n->folder), STORE_DIR) || segment_number(name, &number);
    if (n->err == OK && wr_ok(&w) && !is_new && is_log) {
        n->err = buf_append(&n->text, wr_slice(&w), SIZE_MAX);
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files of a folder, in the order of their names. */
static int add_folder(struct cli *cli, struct job *j, const char *folder)
{
    AUTO(buf_done) struct buf order = {0};
    struct names names = {0};
    (void)slice_to_text(slice_text(folder), names.folder, sizeof names.folder);
    enum err err = j->from->ops->list(j->from, folder, add_name, &names);
    err = err == ERR_NOT_FOUND ? OK : err == OK ? names.err : err;
    for (size_t at = 0; err == OK && at < names.text.n;) {
        const char *name = (const char *)names.text.p + at;
        err = buf_append(&order, slice_of(&name, sizeof name), SIZE_MAX);
        at += strlen(name) + 1;
    }
    int code = err == OK
                   ? CLI_DONE
                   : cli_fail(cli, "%s/%s cannot be listed: %s", j->dir, folder, err_name(err));
    const char **sorted = (const char **)(void *)order.p;
    size_t n = sorted != NULL ? order.n / sizeof *sorted : 0;
    if (n > 1) {
        qsort(sorted, n, sizeof *sorted, compare_names);
    }
    for (size_t i = 0; code == CLI_DONE && i < n; i++) {
        code = add_file(cli, j, sorted[i], true);
    }
    buf_done(&names.text);
    return code;
}

static int add_segments(struct cli *cli, struct job *j, const json_t *pinned)
{
    size_t n = json_array_size(pinned);
    for (size_t i = 0; i < n; i++) {
        char name[SEGMENT_NAME_BYTES];
        segment_name((uint32_t)json_integer_value(json_array_get(pinned, i)), name);
        int code = add_file(cli, j, name, false);
        if (code != CLI_DONE) {
            return code;
        }
    }
    return CLI_DONE;
}

/* The clear head: what a restore that has no keys yet must know. Nothing in it is secret. */
static enum err begin(struct job *j, struct why *why)
{
    AUTO(json_release)
    json_t *clear = json_pack("{s:s,s:s,s:s,s:s,s:s}", "version", SALLYPORT_VERSION, "made",
                              j->made, "dir", j->dir, "master_key", j->key, "keyring", j->keyring);
    AUTO(json_release)
    json_t *manifest =
        json_pack("{s:s,s:s,s:s}", "version", SALLYPORT_VERSION, "made", j->made, "dir", j->dir);
    AUTO(json_text_release)
    char *clear_text = json_dumps(clear, JSON_COMPACT | JSON_ENSURE_ASCII);
    AUTO(json_text_release)
    char *manifest_text = json_dumps(manifest, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (clear_text == NULL || manifest_text == NULL) {
        why_set(why, "the paths of the data directory or its keys are not text");
        return ERR_UTF8;
    }
    struct backup_order order = {.to = j->to.disk,
                                 .name = j->part,
                                 .root = keyring_root(j->keys.keyring),
                                 .clear = slice_text(clear_text),
                                 .manifest = slice_text(manifest_text),
                                 .random = random_system()};
    (void)order.to->ops->remove(order.to, j->part) /* of a backup that was killed */;
    enum err err = backup_begin(&order, &j->writer);
    if (err != OK) {
        why_set(why, "%s cannot be made: %s", j->part, err_name(err));
    }
    return err;
}

/* All of it. pinned: segments that the daemon holds; NULL: no daemon runs. */
static int copy_all(struct cli *cli, struct job *j, const json_t *pinned)
{
    struct why why = {{0}};
    if (begin(j, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    int code = CLI_DONE;
    for (size_t i = 0; code == CLI_DONE && i < COUNT_OF(single_files); i++) {
        code = add_file(cli, j, single_files[i], i > 1);
    }
    for (size_t i = 0; code == CLI_DONE && i < COUNT_OF(trail_files); i++) {
        code = add_file(cli, j, trail_files[i], true);
    }
    for (size_t i = 0; code == CLI_DONE && i < COUNT_OF(former_files); i++) {
        code = add_file(cli, j, former_files[i], true);
    }
    for (size_t i = 0; code == CLI_DONE && i < COUNT_OF(whole_folders); i++) {
        code = add_folder(cli, j, whole_folders[i]);
    }
    if (code == CLI_DONE) {
        code = pinned != NULL ? add_segments(cli, j, pinned) : add_folder(cli, j, STORE_DIR);
    }
    if (code == CLI_DONE && (backup_end(j->writer) != OK ||
                             j->to.disk->ops->rename(j->to.disk, j->part, j->to.name) != OK)) {
        code = cli_fail(cli, "%s cannot be finished; look at its disk", j->to.name);
    }
    archive_progress_end(&j->progress);
    return code;
}

/* The daemon holds the segments as long as its answer is open. */
static int on_pinned(struct cli *cli, void *ctx, const json_t *line)
{
    struct job *j = ctx;
    j->code = copy_all(cli, j, json_object_get(line, "segments"));
    return CLI_FAILED; /* nothing more to hear; j->code says how it went */
}

static int copy_online(struct cli *cli, struct job *j)
{
    j->code = -1;
    int code = cli_call(cli, "backup.pin", NULL, on_pinned, j);
    return j->code >= 0 ? j->code : code;
}

/* ---- the command ---- */

static int report(struct cli *cli, const struct job *j, const char *file)
{
    unsigned long long bytes = backup_written(j->writer);
    if (cli->json) {
        json_t *line = json_pack("{s:s,s:I,s:i,s:s,s:s,s:s}", "backup", file, "bytes",
                                 (json_int_t)bytes, "files", (int)j->n_files, "made", j->made,
                                 "master_key", j->key, "keyring", j->keyring);
        json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', cli->out);
        json_decref(line);
        return CLI_DONE;
    }
    fprintf(
        cli->out,
        "%s: %u files, %llu bytes.\n"
        "It opens with two things that are not in it. Keep a copy of both, apart from it:\n"
        "  master key: %s\n"
        "  keyring:    %s   (copy it anew after devices were added; throw old copies away, they\n"
        "              open what removed devices left)\n"
        "Try it: %s restore %s --verify\n",
        file, j->n_files, bytes, j->key, j->keyring, cli->program, file);
    return CLI_DONE;
}

static int prepare(struct cli *cli, const char *file, const char *option, struct job *j)
{
    struct why why = {{0}};
    struct clock clock = clock_system();
    clock_iso8601(clock.wall_ms(clock.ctx), j->made);
    if (archive_whole_path(cli->dir, j->dir) != OK) {
        return cli_fail(cli, "%s is too long a path", cli->dir);
    }
    snprintf(j->keyring, sizeof j->keyring, "%s/" KEYRING_FILE, j->dir);
    if (archive_exists(file)) {
        return cli_fail(cli, "%s is there already; name a new file", file);
    }
    if (archive_place_open(file, &j->to, &why) != OK || archive_dir(j->dir, &j->from, &why) != OK ||
        archive_keys_find(j->dir, option, j->keyring, j->key, &j->keys, &why) != OK) {
        return cli_fail(cli, "%s", why.text[0] != '\0' ? why.text : "memory is out");
    }
    snprintf(j->part, sizeof j->part, "%s.part", j->to.name);
    archive_progress_begin(cli, "copied", &j->progress);
    return CLI_DONE;
}

static void job_release(struct job **j)
{
    if (*j != NULL) {
        job_done(*j);
        mem_free(*j);
    }
}

/* For the doctor. A backup without its mark is a backup all the same. */
static void leave_mark(struct cli *cli, const struct job *j)
{
    char text[CLOCK_ISO8601_BYTES + 1];
    (void)snprintf(text, sizeof text, "%s\n", j->made);
    enum err err = disk_save(j->from, ARCHIVE_MADE_FILE, slice_text(text));
    if (err != OK) {
        fprintf(cli->err,
                "%s: the backup is made, but %s/" ARCHIVE_MADE_FILE
                " cannot be written (%s): doctor will not know of it\n",
                cli->program, j->dir, err_name(err));
    }
}

int cmd_backup(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--master-key", NULL, CLI_VALUE},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1) {
        return cli_usage(cli, self, "backup needs one FILE");
    }
    AUTO(job_release) struct job *j = mem_zalloc(sizeof *j);
    if (j == NULL) {
        return cli_fail(cli, "memory is out");
    }
    int code = prepare(cli, a.words[0], cli_value(&a, "--master-key"), j);
    if (code != CLI_DONE) {
        return code;
    }
    /* Without a daemon we hold its lock, so that none begins meanwhile. */
    AUTO(close_fd) int lock = -1;
    struct why why = {{0}};
    enum err err = places_dir(j->dir, &lock, &why);
    if (err != OK && err != ERR_EXISTS) {
        return cli_fail(cli, "%s", why.text);
    }
    code = err == OK ? copy_all(cli, j, NULL) : copy_online(cli, j);
    if (code != CLI_DONE) {
        return code;
    }
    leave_mark(cli, j);
    return report(cli, j, a.words[0]);
}
