#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/fleet.h"
#include "base/scope.h"
#include "core/principal.h"

#define JOB_FILE ".sallyport-run"

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

static enum err failed(struct why *why, const char *path, int e)
{
    why_set(why, "%s: %s", path, strerror(e));
    return e == ENOSPC ? ERR_SPACE : ERR_IO;
}

/* DIR/a or DIR/.part-a; false: too long. */
static bool path_of(const struct fleet_job *j, const char *before, const char *name,
                    char dst[PATH_MAX])
{
    int n = snprintf(dst, PATH_MAX, "%s/%s%s", j->dir, before, name);
    return n > 0 && n < PATH_MAX;
}

static enum err write_file(const struct fleet_job *j, const char *what, struct why *why)
{
    char path[PATH_MAX], part[PATH_MAX];
    if (!path_of(j, "", JOB_FILE, path) || !path_of(j, JOB_FILE, ".new", part)) {
        return failed(why, j->dir, ENAMETOOLONG);
    }
    AUTO(json_release)
    json_t *json = json_pack("{s:s,s:I,s:b}", "run", what, "since", (json_int_t)j->since_wall_ms,
                             "done", j->is_done ? 1 : 0);
    AUTO(close_fd)
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (json == NULL || fd < 0 || json_dumpfd(json, fd, JSON_COMPACT) != 0 || fsync(fd) != 0 ||
        rename(part, path) != 0) {
        return failed(why, path, errno);
    }
    return OK;
}

static enum err read_file(const char *what, struct fleet_job *j, struct why *why)
{
    char path[PATH_MAX];
    if (!path_of(j, "", JOB_FILE, path)) {
        return failed(why, j->dir, ENAMETOOLONG);
    }
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return ERR_NOT_FOUND;
    }
    AUTO(json_release) json_t *json = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
    const char *run = NULL;
    json_int_t since = 0;
    int is_done = 0;
    if (json_unpack(json, "{s:s,s:I,s:b}", "run", &run, "since", &since, "done", &is_done) != 0) {
        why_set(why, "%s does not read; choose another directory with --out", path);
        return ERR_EXISTS;
    }
    if (strcmp(run, what) != 0) {
        why_set(why, "%s belongs to another run (%.120s); choose another directory with --out",
                j->dir, run);
        return ERR_EXISTS;
    }
    j->since_wall_ms = since;
    j->is_done = is_done != 0;
    return OK;
}

enum err fleet_job_open(const char *dir, const char *what, int64_t now_wall_ms,
                        struct fleet_job *ret, struct why *why)
{
    struct fleet_job j = {.since_wall_ms = now_wall_ms};
    if (!device_absolute(dir, j.dir)) {
        return failed(why, dir, ENAMETOOLONG);
    }
    if (mkdir(j.dir, 0700) != 0 && errno != EEXIST) {
        return failed(why, j.dir, errno);
    }
    enum err e = read_file(what, &j, why);
    if (e == ERR_NOT_FOUND) {
        if (!device_place_is_free(j.dir)) {
            why_set(why,
                    "%s is not empty, and no run of this command began there; choose another "
                    "directory with --out",
                    j.dir);
            return ERR_EXISTS;
        }
        e = write_file(&j, what, why);
    }
    TRY(e);
    *ret = j;
    return OK;
}

bool fleet_job_has(const struct fleet_job *j, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return path_of(j, "", name, path) && lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What a run that was cut short has left; only files of ours are in it. */
static void remove_part(const char *part)
{
    AUTO(close_fd) int fd = open(part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (int f = 0; fd >= 0 && f < BUNDLE_FILES; f++) {
        (void)unlinkat(fd, bundle_file_name((enum bundle_file)f), 0);
    }
    (void)rmdir(part);
}

static enum err save_part(const struct fleet_job *j, const json_t *item, struct why *why)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    char part[PATH_MAX];
    AUTO(bundle_done) struct bundle bundle = {0};
    if (name == NULL || !principal_name_ok(slice_text(name)) || name[0] == '.' ||
        bundle_from_json(json_object_get(item, "bundle"), &bundle) != OK) {
        why_set(why, "the daemon's bundle does not read; are both the same version?");
        return ERR_MALFORMED;
    }
    if (!path_of(j, ".part-", name, part)) {
        return failed(why, name, ENAMETOOLONG);
    }
    remove_part(part);
    return bundle_save_unsynced(&bundle, part, why);
}

static enum err sync_parts(const struct fleet_job *j, struct why *why)
{
    AUTO(close_fd) int fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && syncfs(fd) == 0 ? OK : failed(why, j->dir, errno);
}

enum err fleet_job_save(const struct fleet_job *j, const json_t *bundles, struct why *why)
{
    if (json_array_size(bundles) == 0) {
        return OK;
    }
    for (size_t i = 0; i < json_array_size(bundles); i++) {
        TRY(save_part(j, json_array_get(bundles, i), why));
    }
    TRY(sync_parts(j, why));
    for (size_t i = 0; i < json_array_size(bundles); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(bundles, i), "name"));
        char part[PATH_MAX], path[PATH_MAX];
        if (!path_of(j, ".part-", name, part) || !path_of(j, "", name, path)) {
            return failed(why, name, ENAMETOOLONG);
        }
        if (rename(part, path) != 0) {
            return failed(why, path, errno);
        }
    }
    return OK;
}

enum err fleet_job_finish(const struct fleet_job *j, const char *what, struct why *why)
{
    struct fleet_job done = *j;
    done.is_done = true;
    return write_file(&done, what, why);
}
