#include "app/daemon/scribe_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "app/daemon/message.h"
#include "app/daemon/sandbox.h"
#include "base/log.h"
#include "base/mem.h"
#include "security/crypto/prepare.h"
#include "service/pki/key_source.h"
#include "service/pki/master_key.h"
#include "service/watch/audit_plain.h"
#include "service/watch/scribe.h"
#include "service/watch/trail_key.h"
#include "store/keyring.h"

enum { TURN_MS = 1000, ASKED_A_TURN = 64, ORPHAN_MS = 10000 };

struct cell {
    const struct boot *boot;
    struct clock clock;
    struct random_source random;
    struct disk *disk;
    struct scribe *scribe;
    uint8_t answer[SCRIBE_DATAGRAM_MAX]; /* waits for room in the socket */
    size_t answer_n;
    bool is_over, is_orphan, has_gone; /* STOP; the supervisor has gone; the broker has gone */
    uint64_t orphan_until_ms;
    uint8_t request[SCRIBE_DATAGRAM_MAX + 1];
};

/* ---- to the supervisor ---- */

static void say(const struct message *m)
{
    if (message_send(LINK_FD, m) != OK) {
        log_line(LOG_ERROR, "the supervisor has gone");
    }
}

static void say_event(const struct event *e)
{
    struct message m = {
        .type = MESSAGE_EVENT, .category = (uint8_t)e->category, .severity = (uint8_t)e->severity};
    (void)slice_to_text(slice_head(slice_text(e->target), sizeof m.name - 1), m.name,
                        sizeof m.name);
    (void)slice_to_text(slice_head(slice_text(e->reason), sizeof m.text - 1), m.text,
                        sizeof m.text);
    say(&m);
}

static void say_events(struct cell *c)
{
    struct event e;
    while (scribe_next_event(c->scribe, &e)) {
        say_event(&e);
    }
}

static void report_denials(void)
{
    struct sandbox_denial denials[8];
    size_t n = sandbox_denials(denials, COUNT_OF(denials));
    for (size_t i = 0; i < n; i++) {
        struct event e = event_make(EVENT_exposure);
        event_reason(&e,
                     "the sandbox refused the scribe %s: it never needs it, so somebody may have "
                     "taken it over. Keep the audit trail, and compare it with your anchors",
                     sandbox_call_name(denials[i].call));
        say_event(&e);
    }
}

/* ---- the broker ---- */

static void flush_answer(struct cell *c)
{
    if (c->answer_n > 0 &&
        send(c->boot->scribe_fd, c->answer, c->answer_n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
        (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->answer_n = 0;
}

static void on_broker(struct cell *c, const struct message *m)
{
    static const char *const how[] = {"ended", "ended by exit code", "ended by signal",
                                      "hung and was ended, code"};
    char text[64];
    (void)snprintf(text, sizeof text, "%s %u", how[m->life.last], m->life.last_code);
    scribe_broker(c->scribe, m->life.generation, text);
}

static void on_link(struct cell *c)
{
    struct message m;
    enum err err = c->is_orphan ? ERR_AGAIN : OK;
    while (err == OK) {
        err = message_receive(LINK_FD, &m);
        if (err == OK && m.type == MESSAGE_BROKER) {
            on_broker(c, &m);
        } else if (err == OK && m.type == MESSAGE_ALIVE) {
            say(&m);
        }
        c->is_over = c->is_over || (err == OK && m.type == MESSAGE_STOP);
    }
    if (err == ERR_CLOSED) {
        c->is_orphan = true;
        c->orphan_until_ms = c->clock.mono_ms(c->clock.ctx) + ORPHAN_MS;
    }
}

/* One request; nothing more is read of the broker before it has taken the answer. What the
 * supervisor said before the broker was started is heard first. */
static bool ask_turn(struct cell *c)
{
    flush_answer(c);
    if (c->answer_n > 0) {
        return false;
    }
    ssize_t n = recv(c->boot->scribe_fd, c->request, sizeof c->request, MSG_DONTWAIT);
    c->has_gone = c->has_gone || n == 0 || (n < 0 && errno == ECONNRESET);
    if (n <= 0) {
        return false;
    }
    on_link(c);
    scribe_ask(c->scribe, slice_of(c->request, (size_t)n), c->answer, &c->answer_n);
    flush_answer(c);
    return true;
}

/* ---- life ---- */

static int timeout_of(const struct cell *c)
{
    uint64_t now = c->clock.mono_ms(c->clock.ctx);
    uint64_t at = scribe_deadline(c->scribe);
    uint64_t left = at > now ? at - now : 0;
    return left < TURN_MS ? (int)left : TURN_MS;
}

static bool is_over(const struct cell *c)
{
    return c->is_over ||
           (c->is_orphan && (c->has_gone || c->clock.mono_ms(c->clock.ctx) >= c->orphan_until_ms));
}

static enum err turn(struct cell *c)
{
    struct pollfd polled[2] = {{.fd = c->is_orphan ? -1 : LINK_FD, .events = POLLIN},
                               {.fd = c->has_gone ? -1 : c->boot->scribe_fd,
                                .events = c->answer_n > 0 ? POLLOUT : POLLIN}};
    int n = poll(polled, COUNT_OF(polled), timeout_of(c));
    if (n < 0 && errno != EINTR) {
        return ERR_IO;
    }
    if (n > 0 && polled[0].revents != 0) {
        on_link(c);
    }
    for (unsigned i = 0; n > 0 && polled[1].revents != 0 && i < ASKED_A_TURN && ask_turn(c); i++) {
    }
    scribe_tick(c->scribe);
    say_events(c);
    report_denials();
    return OK;
}

/* The broker has ended: what it had sent is still in the socket. */
static void last_words(struct cell *c)
{
    do {
        c->answer_n = 0;
    } while (ask_turn(c));
    scribe_stop(c->scribe);
}

/* ---- opening ---- */

struct opening_keys {
    uint8_t root[TRAIL_ROOT_BYTES], seal[TRAIL_ROOT_BYTES];
};

static void opening_keys_wipe(struct opening_keys *k)
{
    mem_wipe(k, sizeof *k);
}

static enum err try_key(const struct cell *c, int fd, const char *name, struct opening_keys *ret,
                        struct why *why)
{
    AUTO(secret_autofree) struct secret *master = NULL;
    AUTO(keyring_autofree) struct keyring *keyring = NULL;
    bool group_may_read = key_source_at(c->boot->key_source)->group_may_read;
    TRY(master_key_read(fd, name, group_may_read, &master, why));
    const struct keyring_setup setup = {
        .disk = c->disk, .master = secret_bytes(master), .random = c->random};
    enum err err = keyring_open(&setup, &keyring);
    if (err != OK) {
        why_set(why, "DIR/" KEYRING_FILE " does not open with %s: %s", name, err_name(err));
        return err;
    }
    slice_copy(ret->root, keyring_root(keyring));
    return OK;
}

/* Of all keys of the keyring the root stays, under which the trail is sealed for who reads it. */
static enum err read_keys(const struct cell *c, struct opening_keys *ret, struct why *why)
{
    enum err err = try_key(c, c->boot->key_fd, "the master key", ret, why);
    if (err != OK) {
        TRY(try_key(c, c->boot->spare_key_fd, "the master key's FILE.new", ret, why));
    }
    err = trail_key_seal(c->disk, slice_of(ret->root, sizeof ret->root), &c->random, ret->seal);
    if (err != OK) {
        why_set(why,
                "DIR/" TRAIL_SECRET_FILE " cannot be read or made: %s. Put it back from a backup; "
                "without it the key of the audit trail is lost, and moving DIR/" TRAIL_OWN_DIR
                " away begins with a new one",
                err_name(err));
    }
    return err;
}

/* A trail that was in the clear. That it was there must not keep the daemon from starting. */
static void take_plain(struct cell *c)
{
    uint64_t n;
    enum err err = audit_plain_take(c->disk, scribe_trail(c->scribe), &n);
    if (err != OK) {
        log_line(
            LOG_ERROR,
            "audit: %s could not be sealed and removed (%s); it holds names in the clear. Make "
            "room on the disk, or let the daemon's user write it, and restart",
            AUDIT_PLAIN_FILE, err_name(err));
    }
    if (n > 0) {
        log_line(LOG_INFO, "audit: %llu lines of %s are sealed now, in the folder " TRAIL_DIR,
                 (unsigned long long)n, AUDIT_PLAIN_FILE);
    }
}

static int open_folder(const struct cell *c, const char *name)
{
    return openat(c->boot->dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static enum err close_in(const struct cell *c, struct sandbox_report *ret, struct why *why)
{
    struct sandbox_place places[] = {{open_folder(c, TRAIL_DIR), SANDBOX_WRITE},
                                     {open_folder(c, TRAIL_OWN_DIR), SANDBOX_WRITE},
                                     {c->boot->dir_fd, SANDBOX_WALK}};
    bool good = places[0].fd >= 0 && places[1].fd >= 0;
    enum err err =
        good ? sandbox_apply_places(places, COUNT_OF(places), false, ret) : ERR_NOT_FOUND;
    for (size_t i = 0; i < 2; i++) {
        if (places[i].fd >= 0) {
            (void)close(places[i].fd);
        }
    }
    (void)close(c->boot->key_fd);
    (void)close(c->boot->spare_key_fd);
    if (err != OK) {
        why_set(why, "the scribe's sandbox does not apply: %s", err_name(err));
    }
    return err;
}

static enum err open_trail(struct cell *c, const struct opening_keys *keys, struct why *why)
{
    const struct scribe_setup setup = {
        .trail = {.disk = c->disk,
                  .clock = c->clock,
                  .root = slice_of(keys->root, sizeof keys->root),
                  .key_seal = slice_of(keys->seal, sizeof keys->seal),
                  .random = c->random},
        .life = {.house = c->boot->house, .generation = c->boot->broker_generation}};
    enum err err = scribe_open(&setup, &c->scribe);
    if (err != OK) {
        why_set(why, "the audit trail (DIR/" TRAIL_DIR ") does not open: %s", err_name(err));
    }
    return err;
}

/* The broker sends nothing that is looked at before the sandbox is there. */
static enum err open_all(struct cell *c, struct why *why)
{
    AUTO(opening_keys_wipe) struct opening_keys keys = {.root = {0}};
    struct sandbox_report sandbox;
    int fd = fcntl(c->boot->dir_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    TRY(disk_system(fd, &c->disk));
    TRY(read_keys(c, &keys, why));
    TRY(open_trail(c, &keys, why));
    take_plain(c);
    TRY(close_in(c, &sandbox, why));
    log_line(sandbox.landlock_abi > 0 && sandbox.seccomp ? LOG_INFO : LOG_WARN,
             "scribe: Landlock %d, seccomp %s", sandbox.landlock_abi,
             sandbox.seccomp ? "on" : "off (a build for tests with sanitizers)");
    scribe_welcome(c->scribe, c->answer, &c->answer_n);
    flush_answer(c);
    return OK;
}

static enum err run(struct cell *c)
{
    struct why why = {{0}};
    struct message m = {.type = MESSAGE_READY};
    enum err err = open_all(c, &why);
    if (err != OK) {
        m.type = MESSAGE_FAILED;
        (void)snprintf(m.text, sizeof m.text, "%.250s",
                       why.text[0] != '\0' ? why.text : err_name(err));
    }
    say(&m);
    while (err == OK && !is_over(c)) {
        err = turn(c);
    }
    if (err == OK) {
        last_words(c);
    }
    return err;
}

int scribe_main(void)
{
    struct message m;
    enum err err = message_await_boot(&m);
    if (err != OK || m.boot.scribe_fd < BOOT_FIRST_FD) {
        log_line(LOG_ERROR, "%s is started by `sallyport serve` only (%s)", "--scribe",
                 err_name(err));
        return 1;
    }
    json_object_seed(0); /* from /dev/urandom, which is closed later */
    tzset();
    struct cell *c = mem_zalloc(sizeof *c);
    if (c == NULL || crypto_prepare() != OK) {
        log_line(LOG_ERROR, "the scribe cannot prepare itself");
        mem_free(c);
        return 1;
    }
    c->boot = &m.boot;
    c->random = random_system();
    c->clock = clock_system();
    err = run(c);
    c->scribe = scribe_free(c->scribe);
    if (c->disk != NULL) {
        c->disk = c->disk->ops->free(c->disk);
    }
    mem_free(c);
    return err == OK ? 0 : 1;
}
