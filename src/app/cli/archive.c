#include "app/cli/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/config.h"
#include "app/daemon/places.h"
#include "base/mem.h"
#include "service/pki/master_key.h"

enum { KEYRING_BYTES_MAX = 256 * 1024 * 1024, MIB = 1 << 20 };

/* ---- places ---- */

enum err archive_dir(const char *dir, struct disk **ret, struct why *why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        why_set(why, "%s: %s", dir, strerror(errno));
        return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
    }
    return disk_system(fd, ret);
}

enum err archive_place_open(const char *path, struct archive_place *ret, struct why *why)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char folder[ARCHIVE_PATH_BYTES];
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    struct slice text = slash == NULL ? slice_text(".") : slice_of(path, n);
    if (name[0] == '\0' || !slice_to_text(text, folder, sizeof folder) ||
        !slice_to_text(slice_text(name), ret->name, sizeof ret->name)) {
        why_set(why, "%.200s is not the name of a file", path);
        return ERR_TOO_LARGE;
    }
    return archive_dir(folder, &ret->disk, why);
}

void archive_place_done(struct archive_place *p)
{
    if (p->disk != NULL) {
        p->disk = p->disk->ops->free(p->disk);
    }
}

bool archive_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

enum err archive_key_path(const char *dir, char ret[ARCHIVE_PATH_BYTES])
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') {
        n--;
    }
    int written = snprintf(ret, ARCHIVE_PATH_BYTES, "%.*s.key", (int)n, dir);
    return written > 0 && written < ARCHIVE_PATH_BYTES ? OK : ERR_TOO_LARGE;
}

enum err archive_whole_path(const char *path, char ret[ARCHIVE_PATH_BYTES])
{
    char here[ARCHIVE_PATH_BYTES] = "";
    if (path[0] != '/' && getcwd(here, sizeof here) == NULL) {
        return ERR_IO;
    }
    int written =
        snprintf(ret, ARCHIVE_PATH_BYTES, "%s%s%s", here, path[0] != '/' ? "/" : "", path);
    return written > 0 && written < ARCHIVE_PATH_BYTES ? OK : ERR_TOO_LARGE;
}

/* ---- keys ---- */

void archive_keys_done(struct archive_keys *k)
{
    k->keyring = keyring_free(k->keyring);
    k->master = secret_free(k->master);
    buf_wipe(&k->file);
    if (k->memory != NULL) {
        k->memory = k->memory->ops->free(k->memory);
    }
}

static enum err load_keyring(const char *path, struct buf *ret, struct why *why)
{
    AUTO(archive_place_done) struct archive_place place = {0};
    TRY(archive_place_open(path, &place, why));
    enum err err = disk_load(place.disk, place.name, KEYRING_BYTES_MAX, ret);
    if (err == ERR_NOT_FOUND) {
        why_set(why, "the keyring %s is not there; name it with --keyring FILE", path);
    } else if (err != OK) {
        why_set(why, "the keyring %s cannot be read: %s", path, err_name(err));
    }
    return err;
}

enum err archive_keys_open(struct secret *master, const char *master_path, const char *keyring_path,
                           struct archive_keys *ret, struct why *why)
{
    ret->master = master;
    if (ret->master == NULL) {
        TRY(master_key_open(master_path, &ret->master, why));
    }
    TRY(load_keyring(keyring_path, &ret->file, why));
    TRY(backup_disk(NULL, &ret->memory));
    TRY(disk_save(ret->memory, KEYRING_FILE, buf_slice(&ret->file)));
    struct keyring_setup setup = {
        .disk = ret->memory, .master = secret_bytes(ret->master), .random = random_system()};
    enum err err = keyring_open(&setup, &ret->keyring);
    if (err == ERR_CRYPTO) {
        why_set(why,
                "the master key %s does not open the keyring %s: it is another one, or the keyring "
                "was changed. --master-key and --keyring name others",
                master_path, keyring_path);
    } else if (err != OK) {
        why_set(why, "the keyring %s cannot be opened: %s", keyring_path, err_name(err));
    }
    return err;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static void close_key(struct places_key *k)
{
    close_fd(&k->fd);
    close_fd(&k->spare_fd);
}

static enum err configured_key(const char *dir, char *ret, size_t cap, struct why *why)
{
    AUTO(close_fd) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {0};
    struct config config;
    if (dir_fd < 0 || config_load(dir_fd, dir, &machine, &complaint, &config) != OK) {
        why_set(why, "%.300s", dir_fd < 0 ? "the data directory cannot be opened" : complaint.text);
        return ERR_CONFIG;
    }
    return slice_to_text(slice_text(config.master_key), ret, cap) ? OK : ERR_TOO_LARGE;
}

enum err archive_keys_find(const char *dir, const char *option, const char *keyring,
                           char ret_path[ARCHIVE_PATH_BYTES], struct archive_keys *ret,
                           struct why *why)
{
    char text[CONFIG_HOST_BYTES];
    AUTO(close_key) struct places_key key = {.fd = -1, .spare_fd = -1};
    TRY(configured_key(dir, text, sizeof text, why));
    const char *wanted = option != NULL ? option : text;
    TRY(places_key(dir, wanted, &key, why));
    TRY(wanted[0] != '\0' ? archive_whole_path(wanted, ret_path) : archive_key_path(dir, ret_path));
    const struct key_source *source = key_source_at(key.source);
    if (source->prefix[0] != '\0') {
        (void)slice_to_text(slice_text(wanted), ret_path, ARCHIVE_PATH_BYTES); /* no path */
    }
    int fds[] = {key.fd, key.spare_fd};
    enum err err = OK;
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        struct why other = {{0}};
        struct secret *master = NULL;
        err = master_key_read(fds[i], ret_path, source->group_may_read, &master,
                              i == 0 ? why : &other);
        if (err == OK) {
            archive_keys_done(ret);
            err = archive_keys_open(master, ret_path, keyring, ret, i == 0 ? why : &other);
        }
        if (err == OK) {
            return OK;
        }
    }
    return err;
}

void archive_house_release(struct archive_house **h)
{
    if (*h == NULL) {
        return;
    }
    archive_keys_done(&(*h)->keys);
    if ((*h)->disk != NULL) {
        (*h)->disk = (*h)->disk->ops->free((*h)->disk);
    }
    *h = mem_free(*h);
}

static enum err open_house(const char *dir, const char *master_key, const char *keyring,
                           struct archive_house *h, struct why *why)
{
    char beside[ARCHIVE_PATH_BYTES + sizeof "/" KEYRING_FILE];
    TRY(archive_whole_path(dir, h->dir));
    (void)snprintf(beside, sizeof beside, "%s/" KEYRING_FILE, h->dir);
    TRY(archive_dir(h->dir, &h->disk, why));
    return archive_keys_find(h->dir, master_key, keyring != NULL ? keyring : beside, h->key_path,
                             &h->keys, why);
}

int archive_house_open(struct cli *cli, const char *master_key, const char *keyring,
                       struct archive_house **ret)
{
    struct why why = {{0}};
    AUTO(archive_house_release) struct archive_house *h = mem_zalloc(sizeof *h);
    enum err err = h == NULL ? ERR_NOMEM : open_house(cli->dir, master_key, keyring, h, &why);
    if (err != OK) {
        return cli_fail(cli, "%s", why.text[0] != '\0' ? why.text : err_name(err));
    }
    *ret = TAKE(h);
    return CLI_DONE;
}

/* ---- progress ---- */

void archive_progress_begin(struct cli *cli, const char *what, struct archive_progress *ret)
{
    *ret = (struct archive_progress){
        .cli = cli, .what = what, .is_shown = isatty(fileno(cli->err)) == 1 && !cli->json};
}

void archive_progress_show(void *ctx, uint64_t bytes, uint64_t all)
{
    struct archive_progress *p = ctx;
    unsigned mib = (unsigned)(bytes / MIB);
    if (!p->is_shown || mib == p->last) {
        return;
    }
    p->last = mib;
    if (all > 0) {
        fprintf(p->cli->err, "\r%s %u of %llu MiB", p->what, mib, (unsigned long long)(all / MIB));
    } else {
        fprintf(p->cli->err, "\r%s %u MiB", p->what, mib);
    }
}

void archive_progress_end(struct archive_progress *p)
{
    if (p->is_shown && p->last > 0) {
        fputc('\n', p->cli->err);
    }
}
