/* A data directory as facts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "app/cli/archive.h"
#include "app/cli/doctor_facts.h"
#include "app/cli/moment.h"
#include "app/daemon/config.h"
#include "base/clock.h"
#include "base/mem.h"
#include "security/crypto/crl.h"
#include "service/admin/admin.h"
#include "service/directory/policy_yaml.h"
#include "service/pki/revocation.h"

/* The directory, while it is looked at. */
struct doctor_place {
    const char *dir;
    int fd;
    struct facts *f;
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static void policy_release(const struct policy **p)
{
    (void)policy_unref(*p);
}

static void config_release(struct config **c)
{
    *c = mem_free(*c);
}

/* ---- files ---- */

static enum err add_path(const struct doctor_place *p, const char *path, bool is_secret,
                         uint32_t *ret_file)
{
    struct stat s;
    TRY(facts_add_file(p->f, slice_text(path), ret_file));
    struct facts_file *file = &p->f->files[*ret_file];
    if (stat(path, &s) == 0) {
        facts_seen(file, (uint32_t)s.st_mode, (int64_t)s.st_mtim.tv_sec * 1000);
        file->is_secret = is_secret;
        file->is_directory = S_ISDIR(s.st_mode);
    }
    return OK;
}

static enum err add_inner(const struct doctor_place *p, const char *name, bool is_secret,
                          uint32_t *ret_file)
{
    char path[SOURCE_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    return add_path(p, path, is_secret, ret_file);
}

static enum err read_files(const struct doctor_place *p)
{
    static const char *const secrets[] = {"keyring", "pki", "bundles", "store", "audit", "scribe"};
    uint32_t file;
    TRY(add_path(p, p->dir, true, &file));
    for (size_t i = 0; i < COUNT_OF(secrets); i++) {
        struct stat s;
        if (fstatat(p->fd, secrets[i], &s, AT_SYMLINK_NOFOLLOW) == 0) {
            TRY(add_inner(p, secrets[i], true, &file));
        }
    }
    return OK;
}

/* The master key: where it lies, and who reads it. One of systemd lies nowhere. */
static enum err read_master_key(const struct doctor_place *p, const char *configured)
{
    char path[SOURCE_PATH_BYTES], whole[PATH_MAX], inside[PATH_MAX];
    uint32_t file;
    if (configured[0] != '\0' && configured[0] != '/') {
        return OK;
    }
    (void)snprintf(path, sizeof path, configured[0] != '\0' ? "%s" : "%s.key",
                   configured[0] != '\0' ? configured : p->dir);
    TRY(add_path(p, path, true, &file));
    if (realpath(path, whole) != NULL && realpath(p->dir, inside) != NULL) {
        size_t n = strlen(inside);
        bool is_inside = strncmp(whole, inside, n) == 0 && whole[n] == '/';
        p->f->numbers[FACTS_KEY_INSIDE] = facts_said(is_inside, (struct facts_place){file, 0});
    }
    return OK;
}

static enum err read_disk(const struct doctor_place *p)
{
    struct statvfs disk;
    if (fstatvfs(p->fd, &disk) == 0 && disk.f_blocks > 0) {
        p->f->numbers[FACTS_DISK_FREE_PERCENT] =
            facts_preset((int64_t)(100.0 * (double)disk.f_bavail / (double)disk.f_blocks), 0);
    }
    return OK;
}

/* ---- certificates ---- */

static enum err load(const struct doctor_place *p, const char *name, struct buf *ret)
{
    char path[SOURCE_PATH_BYTES];
    struct source_look look;
    (void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
    return doctor_source()->read(NULL, path, ret, &look);
}

static enum err read_certificate(const struct doctor_place *p, const char *name, const char *shown,
                                 bool is_authority)
{
    AUTO(buf_done) struct buf pem = {0};
    uint32_t file;
    TRY(add_inner(p, name, false, &file));
    enum err e = load(p, name, &pem);
    return e == ERR_NOMEM ? e
           : e != OK      ? facts_unread(p->f, (struct facts_place){file, 0}, slice_text(shown),
                                         "cannot be read")
                          : facts_certificates(p->f, buf_slice(&pem), (struct facts_place){file, 0},
                                               shown, is_authority);
}

static void crl_release(const struct crl_set **s)
{
    (void)crl_set_unref(*s);
}

/* Which of the certificates that we show does this list name? */
static void mark_revoked(struct facts *f, const struct crl_set *set)
{
    for (size_t i = 0; i < f->n_certificates; i++) {
        struct facts_certificate *c = &f->certificates[i];
        c->is_revoked = c->is_revoked || crl_set_lists(set, &c->id);
    }
}

static enum err read_list(const struct doctor_place *p, const char *name, struct slice authorities)
{
    AUTO(buf_done) struct buf lists = {0};
    AUTO(crl_release) const struct crl_set *set = NULL;
    struct why why = {"it cannot be read"};
    struct facts *f = p->f;
    uint32_t file;
    enum err e = load(p, name, &lists);
    if (e == ERR_NOT_FOUND) {
        return OK; /* nobody was revoked yet */
    }
    TRY(add_inner(p, name, false, &file));
    e = e == OK ? crl_set_new(buf_slice(&lists), authorities, f->now_wall_ms, &set, &why) : e;
    if (e != OK) {
        return e == ERR_NOMEM
                   ? e
                   : facts_unread(f, (struct facts_place){file, 0}, slice_text("revocation list"),
                                  why.text[0] != '\0' ? why.text : err_name(e));
    }
    mark_revoked(f, set);
    if (strcmp(name, REVOCATION_FILE) == 0) {
        int64_t left_ms = crl_set_next_update(set) - f->now_wall_ms;
        f->numbers[FACTS_CRL_LEFT_S] = facts_preset(left_ms / 1000, file);
    }
    return OK;
}

/* The authorities are those of the two files that we may read; the sealed ones are not ours. */
static enum err read_revocation(const struct doctor_place *p)
{
    static const char *const lists[] = {REVOCATION_FILE, REVOCATION_ROOT_FILE,
                                        REVOCATION_EXTRA_FILE};
    AUTO(buf_done) struct buf authorities = {0};
    if (load(p, "pki/ca.pem", &authorities) != OK ||
        load(p, "pki/server.pem", &authorities) != OK) {
        return OK; /* said already */
    }
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        TRY(read_list(p, lists[i], buf_slice(&authorities)));
    }
    return OK;
}

/* ---- backups ---- */

/* The time in the first line of a file, unless *newest_ms is later. */
static enum err read_moment(const struct doctor_place *p, const char *name, int64_t *newest_ms)
{
    AUTO(buf_done) struct buf bytes = {0};
    char text[CLOCK_ISO8601_BYTES];
    int64_t made_ms = 0;
    uint32_t file;
    enum err e = load(p, name, &bytes);
    if (e == ERR_NOT_FOUND || e == ERR_NOMEM) {
        return e == ERR_NOMEM ? e : OK;
    }
    struct slice line = slice_head(buf_slice(&bytes), slice_find(buf_slice(&bytes), '\n'));
    if (e != OK || !slice_to_text(line, text, sizeof text) ||
        moment_parse(text, p->f->now_wall_ms, &made_ms) != OK) {
        TRY(add_inner(p, name, false, &file));
        return facts_unread(p->f, (struct facts_place){file, 0}, slice_text("time of a backup"),
                            "does not read");
    }
    *newest_ms = made_ms > *newest_ms ? made_ms : *newest_ms;
    return OK;
}

/* What was restored from a backup has one of that time. */
static enum err read_backups(const struct doctor_place *p)
{
    static const char *const marks[] = {ARCHIVE_MADE_FILE, ADMIN_RESTORED_FILE,
                                        ADMIN_RESTORED_FILE ".seen"};
    int64_t now = p->f->now_wall_ms, newest_ms = INT64_MIN;
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        TRY(read_moment(p, marks[i], &newest_ms));
    }
    if (newest_ms != INT64_MIN) {
        p->f->numbers[FACTS_BACKUP_AGE_S] = facts_preset((now - newest_ms) / 1000, 0);
    }
    return OK;
}

/* A file that was never changed is as old as its directory, or nearly; folders are changed by what
 * comes into them. */
static void read_age(struct facts *f)
{
    int64_t oldest_ms = f->now_wall_ms;
    for (size_t i = 0; i < f->n_files; i++) {
        const struct facts_file *file = &f->files[i];
        if (file->is_found && !file->is_directory && !file->is_secret) {
            oldest_ms = file->changed_wall_ms < oldest_ms ? file->changed_wall_ms : oldest_ms;
        }
    }
    f->numbers[FACTS_PLACE_AGE_S] = facts_preset((f->now_wall_ms - oldest_ms) / 1000, 0);
}

/* ---- sallyport.yaml ---- */

static enum err add_listener(struct facts *f, const struct config_listener *c, uint32_t file)
{
    struct facts_listener *l;
    if (c->plain) {
        return OK; /* closed, until an exception names it */
    }
    TRY(facts_add_listener(f, &l));
    if (l == NULL) {
        return OK;
    }
    facts_text(l->name, slice_text(c->name));
    facts_text(l->bind, slice_text(c->bind));
    l->at = (struct facts_place){file, 0};
    l->door = c->door == CONFIG_DOOR_COAP ? FACTS_COAP
              : c->websocket              ? FACTS_WEBSOCKET
                                          : FACTS_MQTT;
    l->is_tls = true;
    l->is_loopback = facts_is_loopback(slice_text(c->bind));
    l->tls_min = facts_preset(c->tls_min == CONFIG_TLS_1_3 ? 13 : 12, file);
    l->anonymous = facts_preset(0, file);
    l->acl = facts_preset(1, file);
    l->mqtt_3_1 = facts_preset(c->mqtt_3_1, file);
    l->multicast = facts_preset(c->multicast.n_groups > 0, file);
    return OK;
}

static void read_numbers(const struct config *c, struct facts *f, uint32_t file)
{
    const struct secret_ages *ages = &c->settings.secrets;
    int64_t oldest = 0;
    bool is_endless = false;
    for (size_t i = 0; i < SECRET_AGES; i++) {
        /* What opens nothing any more at an age needs no report at it. */
        int64_t refused = ages->refuse_s[i], age = ages->report_s[i];
        age = age == 0 || (refused != 0 && refused < age) ? refused : age;
        is_endless = is_endless || age == 0;
        oldest = age > oldest ? age : oldest;
    }
    f->numbers[FACTS_SECRET_AGE_S] = facts_preset(is_endless ? 0 : oldest, file);
    f->numbers[FACTS_PACKET_BYTES] = facts_preset(c->settings.limits.packet_bytes, file);
    f->numbers[FACTS_DEVICE_LIFE_S] = facts_preset(c->settings.certificate_life_s, file);
    f->numbers[FACTS_QUEUE_MESSAGES] = facts_preset(c->role_limits.queue_messages, file);
    f->numbers[FACTS_RETAINED] = facts_preset((int64_t)c->settings.limits.retained_total, file);
    f->numbers[FACTS_QUEUE_BYTES] = facts_preset((int64_t)c->role_limits.queue_bytes, file);
}

/* ---- policy.yaml: as it stands there, with the lines ---- */

static enum err add_grant(struct facts *f, const struct yaml_node *role, bool is_service,
                          bool is_publish, const struct yaml_node *n, uint32_t file)
{
    const struct yaml_node *topic = n->kind == YAML_MAP ? yaml_find(n, "topic") : n;
    struct facts_grant *g;
    if (topic == NULL) {
        return OK;
    }
    TRY(facts_add_grant(f, &g));
    if (g != NULL) {
        char who[FACTS_TEXT];
        struct slice name = slice_head(role->key, 64);
        (void)snprintf(who, sizeof who, "role %.*s", SLICE_ARG(name));
        facts_text(g->who, slice_text(who));
        facts_text(g->filter, topic->text);
        g->at = (struct facts_place){file, topic->line};
        g->can_publish = is_publish;
        g->can_subscribe = !is_publish;
        g->is_service = is_service;
    }
    return OK;
}

static enum err add_grants(struct facts *f, const struct yaml_node *role, uint32_t file)
{
    static const char *const lists[] = {"subscribe", "publish"};
    const struct yaml_node *kind = yaml_find(role, "kind");
    bool is_service = kind != NULL && slice_is(kind->text, "service");
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const struct yaml_node *list = yaml_find(role, lists[i]);
        for (const struct yaml_node *n = list != NULL ? list->first : NULL; n != NULL;
             n = n->next) {
            TRY(add_grant(f, role, is_service, i == 1, n, file));
        }
    }
    return OK;
}

static enum err complain(struct facts *f, const struct yaml_complaint *c)
{
    if (f->complaint[0] == '\0') {
        (void)snprintf(f->complaint, sizeof f->complaint, "%s", c->text);
    }
    return OK;
}

static enum err read_policy(const struct doctor_place *p, const struct config *c)
{
    AUTO(buf_done) struct buf bytes = {0};
    AUTO(policy_release) const struct policy *policy = NULL;
    AUTO(yaml_doc_autofree) struct yaml_doc *doc = NULL;
    struct yaml_complaint complaint;
    char shown[SOURCE_PATH_BYTES];
    uint32_t file;
    (void)snprintf(shown, sizeof shown, "%s/policy.yaml", p->dir);
    TRY(add_inner(p, "policy.yaml", false, &file));
    enum err e = config_read_file(p->fd, "policy.yaml", shown, &complaint, &bytes);
    e = e == OK ? policy_yaml_read(buf_slice(&bytes), shown, &c->role_limits, &complaint, &policy)
                : e;
    e = e == OK ? yaml_read(buf_slice(&bytes), shown, &complaint, &doc) : e;
    if (e != OK) {
        return e == ERR_NOMEM ? e : complain(p->f, &complaint);
    }
    const struct yaml_node *roles = yaml_find(yaml_root(doc), "roles");
    for (const struct yaml_node *n = roles != NULL ? roles->first : NULL; n != NULL; n = n->next) {
        TRY(add_grants(p->f, n, file));
    }
    return OK;
}

static enum err read_config(const struct doctor_place *p, struct config *c)
{
    struct yaml_complaint complaint;
    struct config_machine machine = config_machine_ask();
    uint32_t file;
    TRY(add_inner(p, "sallyport.yaml", false, &file));
    enum err e = config_load(p->fd, p->dir, &machine, &complaint, c);
    if (e != OK) {
        return e == ERR_NOMEM ? e : complain(p->f, &complaint);
    }
    for (size_t i = 0; i < c->n_listeners; i++) {
        TRY(add_listener(p->f, &c->listeners[i], file));
    }
    read_numbers(c, p->f, file);
    return OK;
}

enum err doctor_fortress_read(const char *dir, struct facts *f, struct why *why)
{
    AUTO(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(config_release) struct config *config = mem_zalloc(sizeof *config);
    struct doctor_place p = {dir, fd, f};
    if (config == NULL) {
        return ERR_NOMEM;
    }
    if (fd < 0) {
        enum err e = errno == EACCES ? ERR_DENIED : ERR_NOT_FOUND;
        why_set(why, "%s: %s", dir,
                e == ERR_DENIED ? "not permitted; run it as the user who serves"
                                : "there is no such data directory; `sallyport init` makes one");
        return e;
    }
    if (faccessat(fd, "sallyport.yaml", F_OK, 0) != 0) {
        why_set(why, "%s is no data directory: it has no sallyport.yaml", dir);
        return ERR_NOT_FOUND;
    }
    TRY(read_files(&p));
    TRY(read_config(&p, config));
    TRY(read_policy(&p, config));
    TRY(read_master_key(&p, config->master_key));
    TRY(read_certificate(&p, "pki/server.pem", "server certificate", false));
    TRY(read_certificate(&p, "pki/ca.pem", "authority", true));
    TRY(read_revocation(&p));
    TRY(read_backups(&p));
    read_age(f);
    return read_disk(&p);
}
