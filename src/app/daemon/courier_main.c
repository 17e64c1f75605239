#include "app/daemon/courier_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "app/daemon/sandbox.h"
#include "base/log.h"
#include "base/mem.h"
#include "security/crypto/prepare.h"
#include "service/courier/courier_message.h"
#include "service/pki/key_source.h"
#include "service/pki/master_key.h"
#include "service/watch/trail.h"
#include "store/keyring.h"

enum { TURN_MS = 1000, FILES_OF_SINK = 4, FILES_MAX = FILES_OF_SINK * COURIER_SINKS_MAX };

/* One that `export` names, as it was when the sandbox was closed. */
struct named {
    const char *name;
    dev_t dev;
    ino_t ino; /* 0: it was not there */
};

struct office {
    const struct boot *boot;
    struct clock clock;
    struct disk *disk;
    struct config_export sinks;
    char host[SHIPMENT_HOST_BYTES];
    int dial_fds[COURIER_SINKS_MAX], watch_fds[COURIER_SINKS_MAX];
    struct named named[FILES_MAX];
    size_t n_named;
    struct courier *courier;
    int wake_fd; /* a thread has something to say */
    /* what the broker did not take yet */
    struct courier_message unsent;
    bool has_unsent;
    uint64_t second_ms; /* of the next look at everything */
    bool is_over;
};

/* ---- to the supervisor ---- */

static void say(const struct message *m)
{
    if (message_send(LINK_FD, m) != OK) {
        log_line(LOG_ERROR, "the supervisor has gone");
    }
}

static void report_denials(void)
{
    struct sandbox_denial denials[8];
    size_t n = sandbox_denials(denials, COUNT_OF(denials));
    for (size_t i = 0; i < n; i++) {
        struct message m = {
            .type = MESSAGE_EVENT, .category = EVENT_exposure, .severity = SEVERITY_ALERT};
        (void)snprintf(m.text, sizeof m.text,
                       "the sandbox refused the courier %s: it never needs it, so somebody may "
                       "have taken it over. Restart the server and keep the audit trail",
                       sandbox_call_name(denials[i].call));
        say(&m);
    }
}

/* ---- to the broker ---- */

/* false: its channel is full, and the same is to be tried again. */
static bool tell(const struct office *o, const struct courier_message *m)
{
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX];
    size_t n;
    if (courier_message_encode(m, bytes, sizeof bytes, &n) != OK) {
        return true;
    }
    return send(o->boot->courier_fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ||
           (errno != EAGAIN && errno != EINTR && errno != ENOBUFS);
}

static struct courier_message about(const struct office *o, size_t i,
                                    enum courier_message_type type)
{
    struct courier_message m = {.type = type, .edition = o->boot->generation};
    (void)slice_to_text(slice_text(o->sinks.sinks[i].name), m.sink, sizeof m.sink);
    return m;
}

static bool tell_reports(struct office *o, size_t i)
{
    struct courier_report r;
    if (o->has_unsent && !tell(o, &o->unsent)) {
        return false;
    }
    o->has_unsent = false;
    while (courier_take(o->courier, i, &r)) {
        struct courier_message m = about(o, i, COURIER_REPORT);
        m.news = r.news;
        m.n = r.n;
        memcpy(m.text, r.text, sizeof m.text);
        if (!tell(o, &m)) {
            o->unsent = m;
            o->has_unsent = true;
            return false;
        }
    }
    return true;
}

/* The numbers are from before the reports, and go behind them: whoever sees one counted has heard
 * of it. */
static void tell_all(struct office *o)
{
    for (size_t i = 0; i < courier_count(o->courier); i++) {
        struct courier_message m = about(o, i, COURIER_STATE);
        m.numbers = courier_numbers(o->courier, i);
        courier_trouble(o->courier, i, m.text);
        if (tell_reports(o, i)) {
            (void)tell(o, &m); /* the next one says the same */
        }
    }
}

static void notify(void *ctx)
{
    const struct office *o = ctx;
    (void)eventfd_write(o->wake_fd, 1);
}

/* ---- files ---- */

static void note_named(struct office *o, const char *name)
{
    struct stat about_it;
    if (name[0] == '\0') {
        return;
    }
    bool is_there = fstatat(o->boot->dir_fd, name, &about_it, AT_SYMLINK_NOFOLLOW) == 0;
    o->named[o->n_named++] = (struct named){
        .name = name, .dev = is_there ? about_it.st_dev : 0, .ino = is_there ? about_it.st_ino : 0};
}

/* A file in the place of another is not one that the sandbox lets us open. */
static bool has_new_file(const struct office *o)
{
    bool has = false;
    for (size_t i = 0; !has && i < o->n_named; i++) {
        const struct named *n = &o->named[i];
        struct stat now;
        bool is_there = fstatat(o->boot->dir_fd, n->name, &now, AT_SYMLINK_NOFOLLOW) == 0;
        has = is_there && (now.st_ino != n->ino || now.st_dev != n->dev);
    }
    return has;
}

/* ---- opening ---- */

static enum err try_key(const struct office *o, int fd, const char *name, uint8_t *ret_root,
                        struct why *why)
{
    AUTO(secret_autofree) struct secret *master = NULL;
    AUTO(keyring_autofree) struct keyring *keyring = NULL;
    bool group_may_read = key_source_at(o->boot->key_source)->group_may_read;
    TRY(master_key_read(fd, name, group_may_read, &master, why));
    const struct keyring_setup setup = {
        .disk = o->disk, .master = secret_bytes(master), .random = random_system()};
    enum err err = keyring_open(&setup, &keyring);
    if (err != OK) {
        why_set(why, "DIR/" KEYRING_FILE " does not open with %s: %s", name, err_name(err));
        return err;
    }
    struct slice root = keyring_root(keyring);
    if (root.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    memcpy(ret_root, root.p, TRAIL_ROOT_BYTES);
    return OK;
}

/* The keyring is closed again: of all its keys only the one that the trail is read by stays. */
static enum err read_key(const struct office *o, uint8_t *ret_root, struct why *why)
{
    enum err err = try_key(o, o->boot->key_fd, "the master key", ret_root, why);
    return err == OK
               ? OK
               : try_key(o, o->boot->spare_key_fd, "the master key's FILE.new", ret_root, why);
}

static enum err read_config(struct office *o, struct why *why)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {{0}};
    struct config *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    enum err err = config_load(o->boot->dir_fd, o->boot->dir, &machine, &complaint, c);
    if (err != OK) {
        why_set(why, "%.300s", complaint.text);
    } else if (c->sinks.n != o->boot->n_sinks) {
        why_set(why, "sallyport.yaml has other sinks than the supervisor read: it is read again");
        err = ERR_CONFIG;
    } else {
        o->sinks = c->sinks;
        (void)slice_to_text(slice_text(c->n_hosts > 0 ? c->hosts[0] : "-"), o->host,
                            sizeof o->host);
    }
    mem_free(c);
    return err;
}

/* By these a thread hears at once that the trail grew; without them it looks often. */
static void watch_trail(struct office *o)
{
    int folder = openat(o->boot->dir_fd, TRAIL_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", folder);
    for (size_t i = 0; i < o->sinks.n; i++) {
        int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (fd >= 0 && (folder < 0 || inotify_add_watch(fd, path, IN_MODIFY | IN_CREATE) < 0)) {
            (void)close(fd);
            fd = -1;
        }
        o->watch_fds[i] = fd;
    }
    if (folder >= 0) {
        (void)close(folder);
    }
}

static void places_done(const struct sandbox_place *places, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (places[i].fd >= 0) {
            (void)close(places[i].fd);
        }
    }
}

static enum err close_in(struct office *o, struct sandbox_report *ret, struct why *why)
{
    enum { FOLDER = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
    struct sandbox_place places[3 + FILES_MAX] = {
        {.fd = openat(o->boot->dir_fd, ".", FOLDER), .use = SANDBOX_WALK},
        {.fd = openat(o->boot->dir_fd, TRAIL_DIR, FOLDER), .use = SANDBOX_READ},
        {.fd = openat(o->boot->dir_fd, COURIER_DIR, FOLDER), .use = SANDBOX_WRITE}};
    size_t n = 3;
    for (size_t i = 0; i < o->n_named; i++) {
        int fd = openat(o->boot->dir_fd, o->named[i].name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            places[n++] = (struct sandbox_place){.fd = fd, .use = SANDBOX_READ};
        }
    }
    bool is_whole = places[0].fd >= 0 && places[1].fd >= 0 && places[2].fd >= 0;
    enum err err = is_whole ? sandbox_apply_places(places, n, false, ret) : ERR_NOT_FOUND;
    places_done(places, n);
    (void)close(o->boot->key_fd);
    (void)close(o->boot->spare_key_fd);
    if (err != OK) {
        why_set(why, "the courier's sandbox does not apply: %s", err_name(err));
    }
    return err;
}

static enum err open_disk(struct office *o)
{
    int fd = fcntl(o->boot->dir_fd, F_DUPFD_CLOEXEC, 3);
    return fd >= 0 ? disk_system(fd, &o->disk) : ERR_IO;
}

static enum err open_courier(struct office *o, const uint8_t *root)
{
    for (size_t i = 0; i < o->sinks.n; i++) {
        o->dial_fds[i] = o->boot->first_sink_fd + (int)i;
    }
    const struct courier_setup s = {.disk = o->disk,
                                    .clock = o->clock,
                                    .root = slice_of(root, TRAIL_ROOT_BYTES),
                                    .host = o->host,
                                    .sinks = o->sinks.sinks,
                                    .dial_fds = o->dial_fds,
                                    .watch_fds = o->watch_fds,
                                    .n = o->sinks.n,
                                    .ctx = o,
                                    .notify = notify};
    return courier_open(&s, &o->courier);
}

static enum err open_with(struct office *o, const uint8_t *root, struct why *why)
{
    struct sandbox_report sandbox;
    for (size_t i = 0; i < o->sinks.n; i++) {
        const struct courier_sink *s = &o->sinks.sinks[i];
        note_named(o, s->ca);
        note_named(o, s->cert);
        note_named(o, s->key);
        note_named(o, s->secret);
    }
    watch_trail(o);
    TRY(close_in(o, &sandbox, why));
    log_line(sandbox.landlock_abi > 0 && sandbox.seccomp ? LOG_INFO : LOG_WARN,
             "courier: Landlock %d, seccomp %s", sandbox.landlock_abi,
             sandbox.seccomp ? "on" : "off (a build for tests with sanitizers)");
    return open_courier(o, root);
}

static enum err open_all(struct office *o, struct why *why)
{
    uint8_t root[TRAIL_ROOT_BYTES] = {0};
    TRY(open_disk(o));
    TRY(read_config(o, why));
    o->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->wake_fd < 0) {
        return ERR_IO;
    }
    enum err err = read_key(o, root, why);
    err = err == OK ? open_with(o, root, why) : err;
    mem_wipe(root, sizeof root);
    return err;
}

static void office_close(struct office *o)
{
    o->courier = courier_free(o->courier);
    if (o->disk != NULL) {
        o->disk = o->disk->ops->free(o->disk);
    }
}

/* ---- life ---- */

static void on_link(struct office *o)
{
    struct message m;
    enum err err = message_receive(LINK_FD, &m);
    o->is_over = o->is_over || err == ERR_CLOSED || (err == OK && m.type == MESSAGE_STOP);
}

static void on_second(struct office *o, uint64_t now_ms)
{
    const struct message alive = {.type = MESSAGE_ALIVE};
    tell_all(o);
    if (courier_is_alive(o->courier, now_ms)) {
        say(&alive);
    }
    if (has_new_file(o)) {
        log_line(LOG_NOTICE, "courier: a file that export names was replaced");
        o->is_over = true;
    }
}

static enum err turn(struct office *o)
{
    eventfd_t ignored;
    struct pollfd polled[] = {{.fd = LINK_FD, .events = POLLIN},
                              {.fd = o->wake_fd, .events = POLLIN}};
    int n = poll(polled, COUNT_OF(polled), TURN_MS);
    if (n < 0 && errno != EINTR) {
        return ERR_IO;
    }
    if (n > 0 && polled[0].revents != 0) {
        on_link(o);
    }
    if (n > 0 && polled[1].revents != 0 && eventfd_read(o->wake_fd, &ignored) == 0) {
        tell_all(o);
    }
    uint64_t now_ms = o->clock.mono_ms(o->clock.ctx);
    if (now_ms >= o->second_ms) {
        o->second_ms = now_ms + TURN_MS;
        on_second(o, now_ms);
    }
    report_denials();
    return OK;
}

static enum err run(struct office *o)
{
    struct why why = {{0}};
    struct message m = {.type = MESSAGE_READY};
    enum err err = open_all(o, &why);
    if (err != OK) {
        m.type = MESSAGE_FAILED;
        (void)snprintf(m.text, sizeof m.text, "%.250s",
                       why.text[0] != '\0' ? why.text : err_name(err));
    }
    say(&m);
    while (err == OK && !o->is_over) {
        err = turn(o);
    }
    return err;
}

int courier_main(void)
{
    struct message m;
    enum err err = message_await_boot(&m);
    if (err != OK) {
        log_line(LOG_ERROR, "%s is started by `sallyport serve` only (%s)", "--courier",
                 err_name(err));
        return 1;
    }
    json_object_seed(0); /* from /dev/urandom, which is closed later */
    tzset();             /* certificate times ask for it, and /etc is closed then */
    struct office *o = mem_zalloc(sizeof *o);
    if (o == NULL || crypto_prepare() != OK) {
        log_line(LOG_ERROR, "the courier cannot prepare itself");
        mem_free(o);
        return 1;
    }
    o->boot = &m.boot;
    o->clock = clock_system();
    err = run(o);
    office_close(o);
    mem_free(o);
    return err == OK ? 0 : 1;
}
