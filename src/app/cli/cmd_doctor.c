/* doctor: the posture of an installation, and what somebody has decided to live with. */
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/archive.h"
#include "app/cli/commands.h"
#include "app/cli/doctor_facts.h"
#include "app/cli/doctor_report.h"
#include "base/clock.h"
#include "service/doctor/hocon_conf.h"
#include "service/doctor/mosquitto_conf.h"

static const struct cli_option options[] = {
    {"--profile", NULL, CLI_VALUE},   {"--only", NULL, CLI_MANY},
    {"--waive", NULL, CLI_VALUE},     {"--until", NULL, CLI_VALUE},
    {"--reason", NULL, CLI_VALUE},    {"--rules", NULL, CLI_FLAG},
    {"--mosquitto", NULL, CLI_VALUE}, {"--emqx", NULL, CLI_VALUE},
    {"--nanomq", NULL, CLI_VALUE},    {NULL, NULL, CLI_FLAG}};

/* What is looked at. */
struct target {
    enum facts_product product;
    const char *path; /* NULL: the data directory */
};

static void disk_release(struct disk **d)
{
    if (*d != NULL) {
        *d = (*d)->ops->free(*d);
    }
}

static int64_t wall_ms(void)
{
    struct clock c = clock_system();
    return c.wall_ms(c.ctx);
}

/* Nothing was judged: neither clean nor found. */
static int not_done(struct cli *cli, const char *what)
{
    (void)cli_fail(cli, "%s", what);
    return CLI_USAGE;
}

/* ---- waivers ---- */

/* Without a directory, or one that nobody waived anything in, there are none. */
static enum err load_waivers(const char *dir, struct disk **ret_disk, struct waivers *ret,
                             struct why *why)
{
    AUTO(buf_done) struct buf text = {0};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        why_set(why, "%s: there is no such data directory for waivers; name one by -C DIR", dir);
        return ERR_NOT_FOUND;
    }
    TRY(disk_system(fd, ret_disk));
    enum err e = disk_load(*ret_disk, WAIVERS_FILE, WAIVERS_BYTES_MAX, &text);
    if (e == OK) {
        return waivers_read(buf_slice(&text), ret, why);
    }
    if (e != ERR_NOT_FOUND) {
        why_set(why, "%s/%s cannot be read", dir, WAIVERS_FILE);
        return e;
    }
    return OK;
}

/* The daemon's user reads it, for the audit trail; who serves may be another than who waives. */
static void let_daemon_read(const char *dir)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool may = fd >= 0 && fstat(fd, &st) == 0 &&
               fchownat(fd, WAIVERS_FILE, (uid_t)-1, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0 &&
               fchmodat(fd, WAIVERS_FILE, 0640, 0) == 0;
    (void)may; /* the waiver counts all the same, and the daemon says that it cannot read it */
    if (fd >= 0) {
        (void)close(fd);
    }
}

static enum err save_waivers(const char *dir, struct disk *disk, const struct waivers *w)
{
    AUTO(buf_done) struct buf text = {0};
    TRY(waivers_write(w, wall_ms(), &text));
    TRY(disk_save(disk, WAIVERS_FILE, buf_slice(&text)));
    let_daemon_read(dir);
    return OK;
}

/* Whoever typed it: the account, not what somebody says to be. */
static void name_of_user(char dst[WAIVER_NAME_BYTES])
{
    char room[1024];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(getuid(), &entry, room, sizeof room, &found) == 0 && found != NULL) {
        (void)snprintf(dst, WAIVER_NAME_BYTES, "%.60s", found->pw_name);
    } else {
        (void)snprintf(dst, WAIVER_NAME_BYTES, "uid %u", (unsigned)getuid());
    }
}

/* "plaintext" or "plaintext=1883": the finding of one object. */
static bool fill_waiver(const struct cli_args *a, struct target t, struct waiver *ret)
{
    struct slice rest = slice_text(cli_value(a, "--waive"));
    bool more;
    struct slice rule = slice_cut(&rest, '=', &more);
    *ret = (struct waiver){.product = t.product, .made_wall_ms = wall_ms()};
    name_of_user(ret->by);
    facts_shown(ret->object, sizeof ret->object, rest);
    return slice_to_text(rule, ret->rule, sizeof ret->rule) &&
           slice_to_text(slice_text(cli_value(a, "--reason")), ret->reason, sizeof ret->reason);
}

static int waive(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                 struct target t)
{
    AUTO(waivers_done) struct waivers all = {0};
    AUTO(disk_release) struct disk *disk = NULL;
    struct waiver w;
    struct why why = {"memory is out"};
    uint32_t id;
    if (cli_value(a, "--until") == NULL || cli_value(a, "--reason") == NULL) {
        return cli_usage(cli, self, "--waive needs --until DATE (like 2027-01-31) and --reason");
    }
    if (!fill_waiver(a, t, &w)) {
        return cli_usage(cli, self, "--waive and --reason take at most %d bytes",
                         WAIVER_REASON_BYTES - 1);
    }
    if (waiver_date(slice_text(cli_value(a, "--until")), &w.ends_wall_ms) != OK) {
        return cli_usage(cli, self, "--until takes a day, like 2027-01-31");
    }
    if (load_waivers(cli->dir, &disk, &all, &why) != OK || waivers_add(&all, &w, &id, &why) != OK) {
        return not_done(cli, why.text);
    }
    if (save_waivers(cli->dir, disk, &all) != OK) {
        return not_done(cli, "the waiver could not be saved; nothing is waived");
    }
    return cli->json ? (fprintf(cli->out, "{\"id\":%u}\n", id), CLI_DONE)
                     : (fprintf(cli->out, "waiver %u: %s until the end of %s\n", id, w.rule,
                                cli_value(a, "--until")),
                        CLI_DONE);
}

static int end_waiver(struct cli *cli, const struct cli_command *self, const char *text)
{
    AUTO(waivers_done) struct waivers all = {0};
    AUTO(disk_release) struct disk *disk = NULL;
    struct why why = {"memory is out"};
    char *end;
    unsigned long id = strtoul(text, &end, 10);
    if (*end != '\0' || id == 0 || id > UINT32_MAX) {
        return cli_usage(cli, self, "waiver end takes the number that `waiver list` shows");
    }
    if (load_waivers(cli->dir, &disk, &all, &why) != OK) {
        return not_done(cli, why.text);
    }
    if (waivers_end(&all, (uint32_t)id, wall_ms()) != OK) {
        return not_done(cli, "there is no waiver of this number in force; `doctor waiver list`");
    }
    return save_waivers(cli->dir, disk, &all) == OK
               ? CLI_DONE
               : not_done(cli, "it could not be saved; the waiver is still in force");
}

static int waiver_words(struct cli *cli, const struct cli_command *self, const struct cli_args *a)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        if (a->n_values[i] > 0) {
            return cli_usage(cli, self, "%s is not for doctor waiver", options[i].name);
        }
    }
    if (a->n_words == 3 && strcmp(a->words[1], "end") == 0) {
        return end_waiver(cli, self, a->words[2]);
    }
    if (a->n_words != 2 || strcmp(a->words[1], "list") != 0) {
        return cli_usage(cli, self, "doctor waiver does: list, end ID");
    }
    AUTO(waivers_done) struct waivers all = {0};
    AUTO(disk_release) struct disk *disk = NULL;
    struct why why = {"memory is out"};
    return load_waivers(cli->dir, &disk, &all, &why) == OK
               ? doctor_waivers_print(cli, &all, wall_ms())
               : not_done(cli, why.text);
}

/* ---- looking ---- */

static enum err look(const struct cli *cli, struct target t, struct facts *f, struct why *why)
{
    enum err e = OK;
    switch (t.product) {
    case FACTS_SALLYPORT:
        TRY(doctor_fortress_read(cli->dir, f, why));
        TRY(doctor_machine_read(f));
        return doctor_daemon_ask(cli, f);
    case FACTS_MOSQUITTO:
        e = mosquitto_conf_read(doctor_source(), t.path, f);
        break;
    case FACTS_EMQX:
        e = emqx_conf_read(doctor_source(), t.path, f);
        break;
    case FACTS_NANOMQ:
        e = nanomq_conf_read(doctor_source(), t.path, f);
        break;
    case FACTS_PRODUCTS:
        return ERR_UNSUPPORTED;
    }
    if (e != OK) {
        why_set(why, "%s: %s", t.path,
                e == ERR_NOT_FOUND   ? "there is no such file"
                : e == ERR_DENIED    ? "not permitted; run it as a user who may read it"
                : e == ERR_TOO_LARGE ? "too large for a configuration"
                                     : err_name(e));
    }
    return e;
}

static int judge(struct cli *cli, const struct cli_args *a, struct target t,
                 struct doctor_report *report)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings found = {0};
    AUTO(waivers_done) struct waivers all = {0};
    AUTO(disk_release) struct disk *disk = NULL;
    struct why why = {"memory is out, or the crypto library refused"};
    int64_t now = wall_ms();
    if (facts_new(t.product, now, &f) != OK || look(cli, t, f, &why) != OK ||
        rules_judge(f, &found) != OK) {
        return not_done(cli, why.text);
    }
    enum err e = load_waivers(cli->dir, &disk, &all, &why);
    if (e != OK && !(t.path != NULL && e == ERR_NOT_FOUND)) {
        return not_done(cli, why.text);
    }
    waivers_apply(&all, t.product, now, &found);
    report->target = t.path != NULL ? t.path : cli->dir;
    report->facts = f;
    report->findings = &found;
    report->waivers = &all;
    report->n_only = cli_values(a, "--only", &report->only);
    return doctor_report_print(cli, report);
}

/* The one thing to look at; false after a usage message. */
static bool choose(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   struct target *ret)
{
    static const char *const names[FACTS_PRODUCTS] = {NULL, "--mosquitto", "--emqx", "--nanomq"};
    *ret = (struct target){FACTS_SALLYPORT, NULL};
    for (size_t i = 1; i < FACTS_PRODUCTS; i++) {
        const char *path = cli_value(a, names[i]);
        if (path != NULL && ret->path != NULL) {
            (void)cli_usage(cli, self, "one configuration at a time");
            return false;
        }
        if (path != NULL) {
            *ret = (struct target){(enum facts_product)i, path};
        }
    }
    return true;
}

int cmd_doctor(struct cli *cli, const struct cli_command *self, int argc, char **argv)
{
    struct cli_args a;
    struct target t;
    struct doctor_report report = {0};
    if (!cli_parse(cli, self, options, argc, argv, &a) || !choose(cli, self, &a, &t)) {
        return CLI_USAGE;
    }
    if (a.n_words > 0) {
        return strcmp(a.words[0], "waiver") == 0
                   ? waiver_words(cli, self, &a)
                   : cli_usage(cli, self, "doctor takes options, or: waiver list, waiver end ID");
    }
    const char *profile = cli_value(&a, "--profile");
    const char *const *only;
    report.has_profile = profile != NULL;
    if (profile != NULL && !profile_find(profile, &report.profile)) {
        return cli_usage(cli, self, "--profile takes cra, etsi303645, nist8259a or owasp");
    }
    for (size_t i = 0; i < cli_values(&a, "--only", &only); i++) {
        if (rules_find(slice_text(only[i])) == NULL) {
            return cli_usage(cli, self, "there is no rule %s; --rules lists them", only[i]);
        }
    }
    if (cli_has(&a, "--rules")) {
        return doctor_rules_print(cli);
    }
    if (cli_has(&a, "--waive")) {
        return waive(cli, self, &a, t);
    }
    if (cli_has(&a, "--until") || cli_has(&a, "--reason")) {
        return cli_usage(cli, self, "--until and --reason belong to --waive");
    }
    return judge(cli, &a, t, &report);
}
