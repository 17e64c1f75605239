/* restore */
#include <errno.h>
#include <sys/stat.h>

#include "app/cli/archive.h"
#include "app/cli/commands.h"
#include "base/clock.h"
#include "base/mem.h"
#include "service/admin/admin.h"
#include "service/pki/master_key.h"
#include "service/watch/trail.h"
#include "store/log.h"

enum { VERIFY_EVENTS_MAX = 20 };

static const char *const folders[] = {"pki", TRAIL_DIR, TRAIL_OWN_DIR, STORE_DIR};
/* Without it nobody serves the place: it comes last. */
static const char last_file[] = "sallyport.yaml";

struct job {
    const char *file;
    struct archive_place from;
    /* What the backup's clear head says; empty: nothing. */
    char made[CLOCK_ISO8601_BYTES];
    char made_dir[ARCHIVE_PATH_BYTES], made_key[ARCHIVE_PATH_BYTES];
    char made_keyring[ARCHIVE_PATH_BYTES];
    char key[ARCHIVE_PATH_BYTES], keyring[ARCHIVE_PATH_BYTES]; /* where they are */
    struct archive_keys keys;
    struct backup *backup;
};

static void job_release(struct job **p)
{
    struct job *j = *p;
    if (j != NULL) {
        j->backup = backup_free(j->backup);
        archive_keys_done(&j->keys);
        archive_place_done(&j->from);
        mem_free(j);
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void disk_release(struct disk **d)
{
    if (*d != NULL) {
        *d = (*d)->ops->free(*d);
    }
}

/* ---- finding and opening ---- */

static void text_of(const json_t *clear, const char *name, char *dst, size_t cap)
{
    const char *text = json_string_value(json_object_get(clear, name));
    (void)slice_to_text(slice_text(text), dst, cap);
}

static enum err read_clear(struct job *j, struct why *why)
{
    AUTO(buf_done) struct buf text = {0};
    TRY(backup_clear(j->from.disk, j->from.name, &text, why));
    AUTO(json_release) json_t *clear = json_loadb((const char *)text.p, text.n, 0, NULL);
    text_of(clear, "made", j->made, sizeof j->made);
    text_of(clear, "dir", j->made_dir, sizeof j->made_dir);
    text_of(clear, "master_key", j->made_key, sizeof j->made_key);
    text_of(clear, "keyring", j->made_keyring, sizeof j->made_keyring);
    return OK;
}

/* The option, else the place beside DIR, else where it was when the backup was made. */
static enum err choose(const char *option, const char *beside, const char *was, const char *what,
                       const char *flag, char ret[ARCHIVE_PATH_BYTES], struct why *why)
{
    const char *found = option;
    if (found == NULL && archive_exists(beside)) {
        found = beside;
    }
    if (found == NULL && was[0] == '/' && archive_exists(was)) {
        found = was;
    }
    if (found == NULL) {
        why_set(why, "the %s is neither %.100s nor, where it was, %.100s: name it with %s FILE",
                what, beside, was[0] != '\0' ? was : "(unknown)", flag);
        return ERR_NOT_FOUND;
    }
    return slice_to_text(slice_text(found), ret, ARCHIVE_PATH_BYTES) ? OK : ERR_TOO_LARGE;
}

static enum err open_keys(const struct cli *cli, const struct cli_args *a, struct job *j,
                          struct why *why)
{
    char beside_key[ARCHIVE_PATH_BYTES];
    char beside_keyring[ARCHIVE_PATH_BYTES];
    TRY(archive_key_path(cli->dir, beside_key));
    int n = snprintf(beside_keyring, sizeof beside_keyring, "%s/" KEYRING_FILE, cli->dir);
    if (n < 0 || (size_t)n >= sizeof beside_keyring) {
        return ERR_TOO_LARGE;
    }
    TRY(choose(cli_value(a, "--master-key"), beside_key, j->made_key, "master key", "--master-key",
               j->key, why));
    TRY(choose(cli_value(a, "--keyring"), beside_keyring, j->made_keyring, "keyring", "--keyring",
               j->keyring, why));
    return archive_keys_open(NULL, j->key, j->keyring, &j->keys, why);
}

static int open_all(struct cli *cli, const struct cli_args *a, struct job *j)
{
    struct why why = {{0}};
    struct archive_progress progress;
    j->file = a->words[0];
    enum err err = archive_place_open(j->file, &j->from, &why);
    if (err == OK) {
        err = read_clear(j, &why);
        if (err == ERR_NOT_FOUND) {
            return cli_fail(cli, "%s: there is no such file", j->file);
        }
    }
    if (err == OK) {
        err = open_keys(cli, a, j, &why);
    }
    if (err == OK) {
        archive_progress_begin(cli, "read", &progress);
        err = backup_open(j->from.disk, j->from.name, keyring_root(j->keys.keyring),
                          archive_progress_show, &progress, &j->backup, &why);
        archive_progress_end(&progress);
    }
    return err == OK ? CLI_DONE
                     : cli_fail(cli, "%s", why.text[0] != '\0' ? why.text : err_name(err));
}

/* ---- verify: as a daemon would open it, in memory ---- */

struct inventory {
    struct cli *cli;
    uint64_t sessions, subscriptions, queued, retained, set_aside, devices;
    uint64_t lost; /* deliveries whose body is not there */
    unsigned said;
    struct log_report log;
    struct trail_report trail;
};

static enum err on_session(void *ctx, const struct journal_session *s)
{
    (void)s;
    ((struct inventory *)ctx)->sessions++;
    return OK;
}

static enum err on_sub(void *ctx, const struct journal_sub *s)
{
    (void)s;
    ((struct inventory *)ctx)->subscriptions++;
    return OK;
}

static enum err on_will(void *ctx, const struct journal_will *w)
{
    (void)ctx;
    (void)w;
    return OK;
}

static enum err on_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    (void)ctx;
    (void)session;
    (void)packet_id;
    return OK;
}

static enum err on_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                            uint64_t body_id)
{
    struct inventory *v = ctx;
    (void)ids;
    v->queued++;
    v->lost += body_id == 0 && !d->is_received;
    return OK;
}

static enum err on_body(void *ctx, const struct journal_body *b, bool is_retained)
{
    (void)b;
    ((struct inventory *)ctx)->retained += is_retained;
    return OK;
}

static enum err on_unanswered(void *ctx, uint64_t body_id, const uint64_t *sessions, size_t n)
{
    (void)ctx;
    (void)body_id;
    (void)sessions;
    (void)n;
    return OK;
}

static enum err on_set_aside(void *ctx, const struct journal_set_aside *s)
{
    (void)s;
    ((struct inventory *)ctx)->set_aside++;
    return OK;
}

static enum err on_principal(void *ctx, uint64_t id, struct slice content)
{
    (void)id;
    (void)content;
    ((struct inventory *)ctx)->devices++;
    return OK;
}

static void on_event(void *ctx, const struct event *e)
{
    struct inventory *v = ctx;
    if (e->category != EVENT_store_integrity) {
        return; /* that a copy was not closed in order says nothing */
    }
    if (v->said++ < VERIFY_EVENTS_MAX) {
        fprintf(v->cli->err, "%s: %s\n", e->target, e->reason);
    }
}

static enum err take_stock(struct job *j, struct inventory *v, struct why *why)
{
    AUTO(disk_release) struct disk *view = NULL;
    AUTO(log_autofree) struct log *log = NULL;
    struct trail_sink none = {0};
    TRY(backup_disk(j->backup, &view));
    TRY(trail_read(view, keyring_root(j->keys.keyring), 0, &none, &v->trail));
    struct log_setup setup = {.disk = view,
                              .keyring = j->keys.keyring,
                              .random = random_system(),
                              .clock = clock_system(),
                              .n_writers = 1,
                              .segment_bytes = SEGMENT_BYTES_MIN,
                              .ctx = v,
                              .event = on_event};
    TRY(log_open(&setup, &log, &v->log, why));
    struct log_sink sink = {v,           on_session, on_sub,        on_will,     on_inbound,
                            on_delivery, on_body,    on_unanswered, on_set_aside};
    TRY(log_restore(log, &sink));
    return log_entries(log, JOURNAL_TABLE_PRINCIPAL, on_principal, v);
}

static void print_stock(struct cli *cli, const struct job *j, const struct inventory *v)
{
    uint64_t damaged = v->log.damaged + v->trail.damages;
    if (cli->json) {
        json_t *line = json_pack(
            "{s:s,s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "backup", j->file,
            "made", j->made, "dir", j->made_dir, "ok",
            damaged == 0 && v->log.missing == 0 && v->lost == 0, "devices", (json_int_t)v->devices,
            "sessions", (json_int_t)v->sessions, "subscriptions", (json_int_t)v->subscriptions,
            "queued", (json_int_t)v->queued, "retained", (json_int_t)v->retained, "set_aside",
            (json_int_t)v->set_aside, "records", (json_int_t)v->log.records, "erased",
            (json_int_t)v->log.erased, "damaged", (json_int_t)damaged, "missing",
            (json_int_t)v->log.missing, "audit_lines", (json_int_t)v->trail.lines);
        json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', cli->out);
        json_decref(line);
        return;
    }
    fprintf(cli->out,
            "%s, of %s, made %s: every byte verified, nothing was written.\n"
            "  %llu devices, %llu sessions with %llu subscriptions\n"
            "  %llu queued messages, %llu retained, %llu set aside\n"
            "  %llu lines of the audit trail\n"
            "  %llu records of the store; %llu of devices that were removed since (erased), %llu "
            "places damaged, %u segments missing\n",
            j->file, j->made_dir, j->made, (unsigned long long)v->devices,
            (unsigned long long)v->sessions, (unsigned long long)v->subscriptions,
            (unsigned long long)v->queued, (unsigned long long)v->retained,
            (unsigned long long)v->set_aside, (unsigned long long)v->trail.lines,
            (unsigned long long)v->log.records, (unsigned long long)v->log.erased,
            (unsigned long long)damaged, v->log.missing);
}

static int verify(struct cli *cli, struct job *j)
{
    struct inventory v = {.cli = cli};
    struct why why = {{0}};
    enum err err = take_stock(j, &v, &why);
    if (err != OK) {
        return cli_fail(cli, "the store in %s cannot be opened: %s", j->file,
                        why.text[0] != '\0' ? why.text : err_name(err));
    }
    print_stock(cli, j, &v);
    bool is_whole = v.log.damaged + v.trail.damages + v.log.missing + v.lost == 0;
    return is_whole ? CLI_DONE
                    : cli_fail(cli, "parts of it were damaged before the backup was made; the rest "
                                    "can be restored");
}

/* ---- restore ---- */

struct found {
    bool other, keyring;
};

static void look(void *ctx, const char *name)
{
    struct found *f = ctx;
    if (strcmp(name, KEYRING_FILE) == 0) {
        f->keyring = true;
    } else {
        f->other = true;
    }
}

static int make_place(struct cli *cli, struct disk **ret)
{
    struct why why = {{0}};
    struct found found = {0};
    if (mkdir(cli->dir, 0700) != 0 && errno != EEXIST) {
        return cli_fail(cli, "cannot make %s: %s", cli->dir, strerror(errno));
    }
    if (archive_dir(cli->dir, ret, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    enum err err = (*ret)->ops->list(*ret, "", look, &found);
    for (size_t i = 0; i < COUNT_OF(folders) && err == OK && !found.other; i++) {
        char path[ARCHIVE_PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", cli->dir, folders[i]);
        found.other = archive_exists(path);
    }
    if (err != OK || found.other) {
        return cli_fail(cli, "%s %s; restore only works in a new place", cli->dir,
                        err != OK ? err_name(err) : "is not empty");
    }
    if (chmod(cli->dir, 0700) != 0) {
        return cli_fail(cli, "cannot make %s private: %s", cli->dir, strerror(errno));
    }
    for (size_t i = 0; i < COUNT_OF(folders) && err == OK; i++) {
        err = (*ret)->ops->make_dir(*ret, folders[i]);
    }
    return err == OK ? CLI_DONE
                     : cli_fail(cli, "cannot make folders in %s: %s", cli->dir, err_name(err));
}

/* Into the folders that a data directory has, and no other. */
static bool is_expected(const char *name)
{
    struct slice all = slice_text(name);
    bool has_folder;
    struct slice rest = all;
    struct slice folder = slice_cut(&rest, '/', &has_folder);
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        if (has_folder && slice_is(folder, folders[i]) && slice_find(rest, '/') == rest.n) {
            return true;
        }
    }
    return !has_folder && strcmp(name, KEYRING_FILE) != 0;
}

static int copy_files(struct cli *cli, struct job *j, struct disk *to)
{
    size_t n = backup_count(j->backup);
    for (int last = 0; last < 2; last++) {
        for (size_t i = 0; i < n; i++) {
            const char *name = backup_name(j->backup, i);
            if ((strcmp(name, last_file) == 0) != (last == 1) || !is_expected(name)) {
                continue;
            }
            enum err err = backup_copy(j->backup, i, to);
            if (err != OK) {
                return cli_fail(cli, "%s/%s cannot be written (%s): %s is not whole, remove it",
                                cli->dir, name, err_name(err), cli->dir);
            }
        }
    }
    return CLI_DONE;
}

/* Before the files: a copy without its keys would be of no use. */
static int put_keys(struct cli *cli, struct job *j, struct disk *to, char key[ARCHIVE_PATH_BYTES])
{
    struct why why = {{0}};
    struct buf mark = {0};
    if (archive_key_path(cli->dir, key) != OK) {
        return cli_fail(cli, "%s is too long a path", cli->dir);
    }
    if (strcmp(key, j->key) != 0 && master_key_copy(key, j->keys.master, &why) != OK) {
        return cli_fail(cli, "%s", why.text);
    }
    enum err err = disk_save(to, KEYRING_FILE, buf_slice(&j->keys.file));
    if (err == OK) {
        err = buf_append(&mark, slice_text(j->made), SIZE_MAX);
    }
    if (err == OK) {
        err = buf_append(&mark, slice_text("\n"), SIZE_MAX);
    }
    if (err == OK) {
        err = disk_save(to, ADMIN_RESTORED_FILE, buf_slice(&mark));
    }
    buf_done(&mark);
    return err == OK ? CLI_DONE
                     : cli_fail(cli, "%s cannot be written: %s", cli->dir, err_name(err));
}

static int restore(struct cli *cli, struct job *j)
{
    AUTO(disk_release) struct disk *to = NULL;
    char key[ARCHIVE_PATH_BYTES];
    int code = make_place(cli, &to);
    if (code == CLI_DONE) {
        code = put_keys(cli, j, to, key);
    }
    if (code == CLI_DONE) {
        code = copy_files(cli, j, to);
    }
    if (code != CLI_DONE) {
        return code;
    }
    if (cli->json) {
        json_t *line = json_pack("{s:s,s:s,s:s,s:i}", "dir", cli->dir, "made", j->made,
                                 "master_key", key, "files", (int)backup_count(j->backup));
        json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', cli->out);
        json_decref(line);
        return CLI_DONE;
    }
    fprintf(cli->out,
            "%s is what %s was at %s: %zu files and the keyring; master key in %s.\n"
            "Never let both serve: devices would find two different pasts. Next:\n"
            "  %s serve %s --master-key %s\n",
            cli->dir, j->made_dir, j->made, backup_count(j->backup), key, cli->program, cli->dir,
            key);
    return CLI_DONE;
}

int cmd_restore(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    static const struct cli_option options[] = {{"--master-key", NULL, CLI_VALUE},
                                                {"--keyring", NULL, CLI_VALUE},
                                                {"--verify", NULL, CLI_FLAG},
                                                {NULL, NULL, CLI_FLAG}};
    struct cli_args a;
    if (!cli_parse(cli, self, options, argc, argv, &a)) {
        return CLI_USAGE;
    }
    if (a.n_words != 1) {
        return cli_usage(cli, self, "restore needs one FILE");
    }
    AUTO(job_release) struct job *j = mem_zalloc(sizeof *j);
    if (j == NULL) {
        return cli_fail(cli, "memory is out");
    }
    int code = open_all(cli, &a, j);
    if (code != CLI_DONE) {
        return code;
    }
    return cli_has(&a, "--verify") ? verify(cli, j) : restore(cli, j);
}
