#include "app/daemon/assembly.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "service/admin/admin.h"
#include "service/admin/authority_place.h"
#include "service/broker/numbers.h"
#include "service/directory/policy_yaml.h"
#include "service/pki/authority_remote.h"
#include "service/pki/key_source.h"
#include "service/pki/ticket_file.h"

static enum err open_disk(struct assembly *a, const struct boot *boot, struct why *why)
{
    int fd = fcntl(boot->dir_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        why_set(why, "no descriptor for the data directory: %s", strerror(errno));
        return ERR_IO;
    }
    enum err err = porter_new(boot->porter_fd, &a->porter);
    if (err != OK) {
        (void)close(fd);
        return err;
    }
    const struct disk_porter door = porter_door(a->porter);
    return disk_system_with(fd, &door, &a->disk);
}

MUST_USE enum err assembly_policy(const struct assembly *a, const char *shown,
                                  const struct role_limits *start, const struct policy **ret,
                                  struct why *why)
{
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint = {0};
    enum err err = disk_load(a->disk, ADMIN_POLICY_FILE, YAML_BYTES_MAX, &text);
    if (err != OK) {
        why_set(why, "%s cannot be read: %s", shown, err_name(err));
        return err;
    }
    err = policy_yaml_read(buf_slice(&text), shown, start, &complaint, ret);
    if (err != OK) {
        why_set(why, "%s", complaint.text);
    }
    return err;
}

struct key_sets {
    struct buf text[TRUST_ISSUERS_MAX];
};

static void key_sets_done(struct key_sets *k)
{
    for (size_t i = 0; i < TRUST_ISSUERS_MAX; i++) {
        buf_done(&k->text[i]);
    }
}

MUST_USE enum err assembly_trust(const struct assembly *a, const struct config_tokens *t,
                                 const struct trust **ret, struct why *why)
{
    AUTO(key_sets_done) struct key_sets sets = {0};
    struct trust_order orders[TRUST_ISSUERS_MAX];
    struct why inner = {""};
    size_t at = 0;
    if (t->n == 0) {
        *ret = NULL;
        return OK;
    }
    for (size_t i = 0; i < t->n; i++) {
        const struct config_issuer *by = &t->issuers[i];
        enum err err = disk_load(a->disk, by->keys, JWKS_BYTES_MAX, &sets.text[i]);
        if (err != OK) {
            why_set(why, "the keys of tokens, DIR/%s, cannot be read: %s", by->keys, err_name(err));
            return err;
        }
        orders[i] = (struct trust_order){.keys = buf_slice(&sets.text[i]),
                                         .issuer = slice_text(by->issuer),
                                         .audience = slice_text(by->audience),
                                         .skew_s = by->skew_s};
    }
    enum err err = trust_new(orders, t->n, &inner, &at, ret);
    if (err != OK) {
        why_set(why, "the keys of tokens, DIR/%s: %.250s", t->issuers[at].keys, inner.text);
    }
    return err;
}

/* A rotation that was cut short may have left two keys; one of them opens the keyring. */
static enum err open_vault(struct assembly *a, const struct boot *boot,
                           const struct assembly_watcher *w, struct why *why)
{
    bool group_may_read = key_source_at(boot->key_source)->group_may_read;
    const struct vault_key keys[] = {
        {boot->key_fd, "the master key", group_may_read},
        {boot->spare_key_fd, "the master key's FILE.new", group_may_read}};
    struct vault_setup setup = {.disk = a->disk,
                                .random = a->random,
                                .clock = a->clock,
                                .settings = &a->config.settings,
                                .n_workers = boot->workers,
                                .progress = w->progress};
    size_t opened_by = 0;
    TRY(vault_open(&setup, keys, COUNT_OF(keys), &a->vault, &opened_by, why));
    if (opened_by > 0) {
        log_line(LOG_WARN, "the keyring opened with the master key's FILE.new, not with FILE: a "
                           "rotation was interrupted; `sallyport master-key rotate` finishes it");
    }
    kept_clock_know(&a->kept_clock, a->vault.report.last_wall_ms);
    return OK;
}

static enum err open_records(struct assembly *a, int authority_fd, struct why *why)
{
    struct directory_setup setup = {.log = a->vault.log,
                                    .keyring = a->vault.keyring,
                                    .random = a->random,
                                    .ages = a->config.settings.secrets};
    enum err err = directory_open(&setup, &a->directory);
    if (err == ERR_NOT_FOUND) {
        why_set(why, "DIR/" STORE_DIR " holds no device and no directory any more: segments are "
                     "missing or damaged. Put them back, or restore a backup");
        return err;
    }
    if (err != OK) {
        why_set(why, "the directory in DIR/" STORE_DIR " does not open: %s", err_name(err));
        return err;
    }
    TRY(pki_upgrade(a->disk, keyring_root(a->vault.keyring), &a->random, why));
    TRY(pki_open(a->disk, keyring_root(a->vault.keyring), &a->pki, why));
    const struct authority_place place = {.disk = a->disk,
                                          .root = keyring_root(a->vault.keyring),
                                          .random = a->random,
                                          .now_wall_ms = a->clock.wall_ms(a->clock.ctx),
                                          .pki = a->pki,
                                          .directory = a->directory};
    TRY(authority_place_prepare(&place, why));
    return authority_remote_new(fcntl(authority_fd, F_DUPFD_CLOEXEC, 3), false, &a->random,
                                &a->authority);
}

/* Without the former keys every client does a full handshake once, and is served. */
static enum err open_tickets(struct assembly *a, struct why *why)
{
    struct tls_tickets_setup setup = {
        .life_s = a->config.settings.tls_ticket_expiry_s, .clock = a->clock, .random = a->random};
    struct slice root = keyring_root(a->vault.keyring);
    bool is_rotated = false;
    if (setup.life_s == 0) {
        return OK;
    }
    enum err err = tls_tickets_new(&setup, &a->tickets);
    if (err != OK) {
        why_set(why, "the keys of TLS tickets cannot be made: %s", err_name(err));
        return err;
    }
    enum err loaded = ticket_file_load(a->disk, root, a->tickets);
    err = tls_tickets_rotate(a->tickets, &is_rotated);
    if (err == OK && (loaded != OK || is_rotated)) {
        err = ticket_file_save(a->disk, root, &a->random, a->tickets);
    }
    if ((loaded != OK && loaded != ERR_NOT_FOUND) || err != OK) {
        log_line(LOG_WARN,
                 "DIR/" TICKET_FILE ": %s. TLS tickets given %s; nobody is shut out by it",
                 err_name(err != OK ? err : loaded),
                 err != OK ? "from now on end with the next restart"
                           : "before this start are not taken");
    }
    return OK;
}

static enum err open_serving(struct assembly *a, const struct boot *boot, struct why *why)
{
    for (size_t i = 0; i < boot->n_listeners; i++) {
        const struct boot_listener *b = &boot->listeners[i];
        const struct config_listener *l = config_listener_find(&a->config, b->name);
        if (l == NULL || config_is_datagram(l) != b->udp) {
            why_set(why,
                    "listener %s is not in sallyport.yaml any more, or is another door: restart",
                    b->name);
            return ERR_CONFIG;
        }
    }
    struct serving_setup setup = {.number = 1,
                                  .boot = boot,
                                  .before = NULL,
                                  .config = &a->config,
                                  .pki = a->pki,
                                  .clock = a->clock,
                                  .random = &a->random,
                                  .tickets = a->tickets,
                                  .staple = a->staple,
                                  .makers = &a->makers};
    return serving_new(&setup, &a->serving, why);
}

static enum err open_broker(struct assembly *a, const struct boot *boot,
                            const struct assembly_watcher *w)
{
    const struct directory_version *version = directory_current(a->directory);
    const struct realm *realm = NULL;
    /* What we published ourselves is a copy: without it the directory knows, and the authority will
     * say it again. */
    struct why ignored;
    const struct crl_set *own = NULL;
    struct realm_lists lists = {.extra = a->extra};
    if (revocation_load(a->disk, REVOCATION_FILE, pki_ca_pem(a->pki),
                        a->clock.wall_ms(a->clock.ctx), &own, &ignored) == OK) {
        lists.own = own;
    }
    enum err err = realm_new_revoking(version, a->policy, a->trust, &lists, &realm);
    crl_set_unref(own);
    directory_version_unref(version);
    if (err != OK) {
        return err;
    }
    struct broker_setup setup = {.n_workers = boot->workers,
                                 .clock = a->clock,
                                 .random = a->random,
                                 .edition = &a->serving->edition,
                                 .realm = realm,
                                 .fixed_bytes = w->fixed_bytes,
                                 .log = a->vault.log,
                                 .committer = a->vault.committer,
                                 .progress = w->progress,
                                 .ctx = w->ctx,
                                 .notify = w->notify};
    err = broker_new(&setup, &a->broker, &a->restored);
    realm_unref(realm);
    return err;
}

/* For the operator: what came back, and how long it took. */
static void say_restored(const struct assembly *a, uint64_t began_ms)
{
    const struct restore_report *r = &a->restored;
    const struct log_report *l = &a->vault.report;
    uint64_t took_ms = a->clock.mono_ms(a->clock.ctx) - began_ms;
    log_line(LOG_NOTICE,
             "store: %" PRIu64 " sessions, %" PRIu64 " messages, %" PRIu64
             " retained restored in %" PRIu64 " ms (%" PRIu64 " records in %u segments)",
             r->sessions, r->deliveries, r->retained, took_ms, l->records, l->segments);
    if (r->on_disk > 0) {
        log_line(LOG_NOTICE,
                 "store: %" PRIu64 " bodies stay on disk until they are needed: what waits is more "
                 "than the share of memory_bytes that is for it",
                 r->on_disk);
    }
    if (l->damaged > 0 || l->missing > 0 || r->lost > 0) {
        log_line(LOG_ERROR,
                 "store: %" PRIu64 " records do not verify, %u segments are missing, %" PRIu64
                 " messages are lost; `sallyport alerts` says which",
                 l->damaged, l->missing, r->lost);
    }
    if (l->erased > 0) {
        log_line(LOG_NOTICE,
                 "store: %" PRIu64 " records of removed devices cannot be read any more",
                 l->erased);
    }
    if (!l->was_closed && l->records > 0) {
        log_line(LOG_WARN,
                 "store: the daemon before this one did not end in order; %" PRIu64
                 " bytes that nobody was told to be safe are left out",
                 l->torn_bytes);
    }
}

/* An old copy of the log, or one with holes, may not know which OSCORE numbers were used. */
static enum err leap_numbers(struct assembly *a, struct why *why)
{
    const struct log_report *l = &a->vault.report;
    AUTO(buf_done) struct buf mark = {0};
    enum { MARK_BYTES_MAX = 4096 };
    bool is_restored =
        disk_load(a->disk, ADMIN_RESTORED_FILE, MARK_BYTES_MAX, &mark) != ERR_NOT_FOUND;
    if (!is_restored && l->damaged == 0 && l->missing == 0) {
        return OK;
    }
    enum err err = numbers_leap(a->vault.log);
    if (err != OK) {
        why_set(why, "the store takes no record: %s", err_name(err));
    }
    return err;
}

MUST_USE enum err assembly_open(const struct boot *boot, const struct assembly_watcher *watcher,
                                struct assembly *ret, struct why *why)
{
    struct config_machine machine = config_machine_ask();
    struct yaml_complaint complaint = {0};
    struct clock machine_clock = clock_system();
    *ret = (struct assembly){.random = random_system()};
    kept_clock_init(&ret->kept_clock, &machine_clock);
    ret->clock = kept_clock_as_clock(&ret->kept_clock);
    uint64_t began_ms = ret->clock.mono_ms(ret->clock.ctx);
    TRY(open_disk(ret, boot, why));
    enum err err = config_load_by(ret->disk, boot->dir, &machine, &complaint, &ret->config);
    if (err != OK) {
        why_set(why, "%s", complaint.text);
        return err;
    }
    TRY(open_vault(ret, boot, watcher, why));
    TRY(config_makers(&ret->config.enrol, ret->disk, &ret->makers, why));
    TRY(open_records(ret, boot->authority_fd, why));
    char shown[BOOT_TEXT_BYTES + 16];
    (void)snprintf(shown, sizeof(shown), "%s/" ADMIN_POLICY_FILE, boot->dir);
    TRY(assembly_policy(ret, shown, &ret->config.role_limits, &ret->policy, why));
    TRY(assembly_trust(ret, &ret->config.tokens, &ret->trust, why));
    TRY(revocation_load(ret->disk, REVOCATION_EXTRA_FILE, pki_ca_pem(ret->pki),
                        ret->clock.wall_ms(ret->clock.ctx), &ret->extra, why));
    TRY(tls_staple_new(&ret->staple));
    TRY(open_tickets(ret, why));
    TRY(open_serving(ret, boot, why));
    TRY(progress_check(watcher->progress));
    TRY(leap_numbers(ret, why));
    err = open_broker(ret, boot, watcher);
    if (err != OK) {
        why_set(why, "the workers cannot start: %s", err_name(err));
        return err;
    }
    say_restored(ret, began_ms);
    return OK;
}

void assembly_close(struct assembly *a)
{
    a->broker = broker_free(a->broker);
    a->serving = serving_unref(a->serving);
    a->tickets = tls_tickets_free(a->tickets);
    a->staple = tls_staple_free(a->staple);
    a->policy = policy_unref(a->policy);
    a->trust = trust_unref(a->trust);
    a->extra = crl_set_unref(a->extra);
    a->authority = authority_free(a->authority);
    a->pki = pki_free(a->pki);
    enrol_makers_done(&a->makers);
    a->directory = directory_free(a->directory);
    vault_close(&a->vault);
    if (a->disk != NULL) {
        a->disk = a->disk->ops->free(a->disk);
    }
    a->porter = porter_free(a->porter);
}
