#include "app/daemon/signer_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "app/daemon/sandbox.h"
#include "base/kept_clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "security/crypto/prepare.h"
#include "service/pki/authority_own.h"
#include "service/pki/key_source.h"
#include "service/pki/master_key.h"
#include "service/pki/signer.h"
#include "service/pki/signer_message.h"
#include "store/keyring.h"

enum { OPERATORS_MAX = 8, CHANNELS = 1 + OPERATORS_MAX, TURN_MS = 1000 };

/* One who asks; nothing more is read of it before it has taken its answer. */
struct channel {
    int fd; /* -1: nobody */
    enum signer_channel kind;
    struct buf answer; /* what is left of it from `at` on */
    size_t at;
    uint32_t id;
    bool is_busy;
};

struct desk {
    const struct boot *boot;
    struct kept_clock kept_clock;
    struct clock clock;
    struct random_source random;
    struct disk *disk;
    struct authority_files files;
    struct signer *signer;
    struct authority_policy policy;
    char url[X509_URL_MAX + 1]; /* where peers hear of revocation; empty: nowhere */
    struct enrol_makers makers;
    struct authority_maker vouching[ENROL_MAKERS_MAX]; /* the same, as the authority sees them */
    struct channel channels[CHANNELS];                 /* the first: the broker */
    uint8_t request[SIGNER_REQUEST_MAX + 1];
    bool is_over;
};

/* ---- to the supervisor ---- */

static void say(const struct message *m)
{
    if (message_send(LINK_FD, m) != OK) {
        log_line(LOG_ERROR, "the supervisor has gone");
    }
}

static void say_event(const struct signer_event *e)
{
    struct message m = {
        .type = MESSAGE_EVENT, .category = (uint8_t)e->category, .severity = (uint8_t)e->severity};
    (void)slice_to_text(slice_text(e->name), m.name, sizeof m.name);
    (void)slice_to_text(slice_text(e->reason), m.text, sizeof m.text);
    say(&m);
}

static void report_denials(void)
{
    struct sandbox_denial denials[8];
    size_t n = sandbox_denials(denials, COUNT_OF(denials));
    for (size_t i = 0; i < n; i++) {
        struct signer_event e = {.category = EVENT_exposure, .severity = SEVERITY_ALERT};
        (void)snprintf(e.reason, sizeof e.reason,
                       "the sandbox refused the signer %s: it never needs it, so somebody may have "
                       "taken it over. Take DIR/pki from the network and keep the audit trail",
                       sandbox_call_name(denials[i].call));
        say_event(&e);
    }
}

/* ---- by which rules ---- */

struct signing_rules signer_rules_of(const struct global_settings *s)
{
    uint32_t lane = s->limits.renewal_rate;
    return (struct signing_rules){.grace_s = s->limits.renewal_grace_s,
                                  .per_second =
                                      lane > s->signs_per_second ? lane : s->signs_per_second,
                                  .burst = s->signs_burst,
                                  .per_name_minute = s->signs_per_name};
}

/* The life of a certificate needs a restart. No grace is as good as a millisecond of it. */
static void go_by(struct desk *d, const struct signing_rules *r)
{
    d->policy.grace_ms = r->grace_s > 0 ? (int64_t)r->grace_s * 1000 : 1;
    d->policy.per_second = r->per_second;
    d->policy.burst = r->burst;
    d->policy.per_name_minute = r->per_name_minute;
}

/* ---- channels ---- */

static void channel_close(struct channel *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    buf_wipe(&c->answer);
    *c = (struct channel){.fd = -1};
}

/* As much of the answer as the other side takes. */
static enum err channel_write(struct channel *c)
{
    uint8_t datagram[SIGNER_PIECE_HEAD_BYTES + SIGNER_PIECE_MAX];
    while (c->is_busy) {
        struct slice rest = slice_from(buf_slice(&c->answer), c->at);
        struct slice now = slice_head(rest, SIGNER_PIECE_MAX);
        const struct signer_piece piece = {.id = c->id, .is_last = now.n == rest.n};
        signer_piece_head(&piece, datagram);
        slice_copy(datagram + SIGNER_PIECE_HEAD_BYTES, now);
        ssize_t sent =
            send(c->fd, datagram, SIGNER_PIECE_HEAD_BYTES + now.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        mem_wipe(datagram, SIGNER_PIECE_HEAD_BYTES + now.n);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_CLOSED;
        }
        c->at += now.n;
        if (piece.is_last) {
            buf_wipe(&c->answer);
            c->at = 0;
            c->is_busy = false;
        }
    }
    return OK;
}

static enum err channel_ask(struct desk *d, struct channel *c, struct slice request)
{
    struct signer_reply reply;
    kept_clock_note(&d->kept_clock);
    TRY(signer_ask(d->signer, c->kind, request, d->clock.mono_ms(d->clock.ctx),
                   d->clock.wall_ms(d->clock.ctx), &reply));
    if (reply.has_event) {
        say_event(&reply.event);
    }
    c->answer = reply.bytes;
    c->at = 0;
    c->id = reply.id;
    c->is_busy = true;
    return OK;
}

/* One request, or what is left of an answer. ERR_CLOSED: this one has gone. */
static enum err channel_turn(struct desk *d, struct channel *c)
{
    if (!c->is_busy) {
        ssize_t n = recv(c->fd, d->request, sizeof d->request, MSG_DONTWAIT);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? OK : ERR_CLOSED;
        }
        if (n == 0) {
            return ERR_CLOSED;
        }
        enum err err = channel_ask(d, c, slice_of(d->request, (size_t)n));
        mem_wipe(d->request, (size_t)n);
        TRY(err);
    }
    enum err err = channel_write(c);
    return err == ERR_AGAIN ? OK : err;
}

/* An operator is root, or whom the daemon runs as. */
static bool is_operator(int fd)
{
    struct ucred who = {.uid = UINT32_MAX};
    socklen_t n = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void take_operator(struct desk *d)
{
    int fd = accept4(d->boot->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    for (size_t i = 1; i < CHANNELS; i++) {
        if (d->channels[i].fd < 0 && is_operator(fd)) {
            d->channels[i] = (struct channel){.fd = fd, .kind = SIGNER_OPERATOR};
            return;
        }
    }
    (void)close(fd);
}

/* ---- life ---- */

static void on_link(struct desk *d)
{
    struct message m;
    enum err err;
    while ((err = message_receive(LINK_FD, &m)) == OK && m.type != MESSAGE_STOP) {
        if (m.type == MESSAGE_ALIVE) {
            say(&m);
        } else if (m.type == MESSAGE_RULES) {
            go_by(d, &m.rules);
            authority_own_set_policy(d->files.authority, &d->policy);
        }
    }
    d->is_over = d->is_over || err == ERR_CLOSED || err == OK;
}

static bool has_room(const struct desk *d)
{
    for (size_t i = 1; i < CHANNELS; i++) {
        if (d->channels[i].fd < 0) {
            return true;
        }
    }
    return false;
}

static enum err turn(struct desk *d)
{
    struct pollfd polled[2 + CHANNELS] = {
        {.fd = LINK_FD, .events = POLLIN},
        {.fd = has_room(d) ? d->boot->control_fd : -1, .events = POLLIN}};
    for (size_t i = 0; i < CHANNELS; i++) {
        const struct channel *c = &d->channels[i];
        polled[2 + i] = (struct pollfd){.fd = c->fd, .events = c->is_busy ? POLLOUT : POLLIN};
    }
    int n = poll(polled, COUNT_OF(polled), TURN_MS);
    if (n < 0 && errno != EINTR) {
        return ERR_IO;
    }
    if (n > 0 && polled[0].revents != 0) {
        on_link(d); /* first: who asks after new rules are told is judged by them */
    }
    for (size_t i = 0; n > 0 && i < CHANNELS; i++) {
        struct channel *c = &d->channels[i];
        if (polled[2 + i].revents != 0 && channel_turn(d, c) != OK) {
            channel_close(c);
        }
    }
    if (n > 0 && polled[1].revents != 0) {
        take_operator(d);
    }
    kept_clock_note(&d->kept_clock);
    report_denials();
    return OK;
}

/* ---- opening ---- */

struct signing_key {
    uint8_t bytes[PKI_SIGNING_KEY_BYTES];
};

static void signing_key_wipe(struct signing_key *k)
{
    mem_wipe(k, sizeof *k);
}

static enum err try_key(const struct desk *d, int fd, const char *name, struct signing_key *ret,
                        struct why *why)
{
    AUTO(secret_autofree) struct secret *master = NULL;
    AUTO(keyring_autofree) struct keyring *keyring = NULL;
    bool group_may_read = key_source_at(d->boot->key_source)->group_may_read;
    TRY(master_key_read(fd, name, group_may_read, &master, why));
    const struct keyring_setup setup = {
        .disk = d->disk, .master = secret_bytes(master), .random = d->random};
    enum err err = keyring_open(&setup, &keyring);
    if (err != OK) {
        why_set(why, "DIR/" KEYRING_FILE " does not open with %s: %s", name, err_name(err));
        return err;
    }
    return pki_signing_key(keyring_root(keyring), ret->bytes);
}

/* The keyring is closed again: of all its keys only the one for DIR/pki stays. */
static enum err read_key(const struct desk *d, struct signing_key *ret, struct why *why)
{
    enum err err = try_key(d, d->boot->key_fd, "the master key", ret, why);
    return err == OK ? OK
                     : try_key(d, d->boot->spare_key_fd, "the master key's FILE.new", ret, why);
}

static enum err close_in(const struct desk *d, struct sandbox_report *ret, struct why *why)
{
    int fd = openat(d->boot->dir_fd, "pki", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum err err = fd >= 0 ? sandbox_apply_below(d->boot->dir_fd, fd, ret) : ERR_NOT_FOUND;
    if (fd >= 0) {
        (void)close(fd);
    }
    (void)close(d->boot->key_fd);
    (void)close(d->boot->spare_key_fd);
    if (err != OK) {
        why_set(why, "the signer's sandbox does not apply to DIR/pki: %s", err_name(err));
    }
    return err;
}

/* Whose certificates count is the operator's word, so it is read here, and not asked of the broker.
 */
static enum err read_config(struct desk *d, struct why *why)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {{0}};
    struct config *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    enum err err = config_load(d->boot->dir_fd, d->boot->dir, &machine, &complaint, c);
    if (err != OK) {
        why_set(why, "%.300s", complaint.text);
    } else {
        err = config_makers(&c->enrol, d->disk, &d->makers, why);
        const struct signing_rules rules = signer_rules_of(&c->settings);
        d->policy.device_lifetime_ms = (int64_t)c->settings.certificate_life_s * 1000;
        go_by(d, &rules);
        (void)slice_to_text(slice_text(c->pki_url), d->url, sizeof d->url);
    }
    mem_free(c);
    for (size_t i = 0; i < d->makers.n; i++) {
        d->vouching[i] = (struct authority_maker){
            .roots_pem = buf_slice(&d->makers.maker[i].ca_pem), .pattern = slice_text("*")};
    }
    return err;
}

static enum err open_all(struct desk *d, struct why *why)
{
    AUTO(signing_key_wipe) struct signing_key key;
    struct sandbox_report sandbox;
    int fd = fcntl(d->boot->dir_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return ERR_IO;
    }
    TRY(disk_system(fd, &d->disk));
    TRY(read_key(d, &key, why));
    TRY(read_config(d, why));
    TRY(close_in(d, &sandbox, why));
    const struct authority_files_setup setup = {.disk = d->disk,
                                                .signing_key =
                                                    slice_of(key.bytes, sizeof key.bytes),
                                                .random = d->random,
                                                .policy = d->policy,
                                                .url = d->url,
                                                .now_wall_ms = d->clock.wall_ms(d->clock.ctx),
                                                .makers = d->vouching,
                                                .n_makers = d->makers.n};
    TRY(authority_files_open(&setup, &d->files, why));
    kept_clock_know(&d->kept_clock, register_latest(d->files.reg));
    d->channels[0] = (struct channel){.fd = d->boot->authority_fd, .kind = SIGNER_BROKER};
    TRY(signer_new(d->files.authority, d->clock.mono_ms(d->clock.ctx), &d->signer));
    log_line(sandbox.landlock_abi > 0 && sandbox.seccomp ? LOG_INFO : LOG_WARN,
             "signer: Landlock %d, seccomp %s", sandbox.landlock_abi,
             sandbox.seccomp ? "on" : "off (a build for tests with sanitizers)");
    return OK;
}

static void desk_close(struct desk *d)
{
    for (size_t i = 0; i < CHANNELS; i++) {
        channel_close(&d->channels[i]);
    }
    d->signer = signer_free(d->signer);
    authority_files_close(&d->files);
    enrol_makers_done(&d->makers);
    if (d->disk != NULL) {
        d->disk = d->disk->ops->free(d->disk);
    }
}

static enum err run(struct desk *d)
{
    struct why why = {{0}};
    struct message m = {.type = MESSAGE_READY};
    enum err err = open_all(d, &why);
    if (err != OK) {
        m.type = MESSAGE_FAILED;
        (void)snprintf(m.text, sizeof m.text, "%.250s",
                       why.text[0] != '\0' ? why.text : err_name(err));
    }
    say(&m);
    while (err == OK && !d->is_over) {
        err = turn(d);
    }
    return err;
}

int signer_main(void)
{
    struct message m;
    enum err err = message_await_boot(&m);
    if (err != OK) {
        log_line(LOG_ERROR, "%s is started by `sallyport serve` only (%s)", "--signer",
                 err_name(err));
        return 1;
    }
    json_object_seed(0); /* from /dev/urandom, which is closed later */
    tzset();             /* certificate times ask for it, and /etc is closed then */
    struct desk *d = mem_zalloc(sizeof *d);
    if (d == NULL || crypto_prepare() != OK) {
        log_line(LOG_ERROR, "the signer cannot prepare itself");
        mem_free(d);
        return 1;
    }
    struct clock machine = clock_system();
    d->boot = &m.boot;
    d->random = random_system();
    kept_clock_init(&d->kept_clock, &machine);
    d->clock = kept_clock_as_clock(&d->kept_clock);
    for (size_t i = 0; i < CHANNELS; i++) {
        d->channels[i].fd = -1;
    }
    err = run(d);
    desk_close(d);
    mem_free(d);
    return err == OK ? 0 : 1;
}
