/* From exec to the sandbox: what happens before the broker proper. */
#include <fcntl.h>
#include <unistd.h>

#include "app/daemon/broker.h"
#include "app/daemon/config.h"
#include "base/log.h"

static void report_sandbox(const struct sandbox_report *r)
{
    char landlock[64] = "Landlock: this kernel has none";
    if (r->landlock_abi > 0) {
        snprintf(landlock, sizeof landlock, "Landlock version %d", r->landlock_abi);
    }
    log_line(r->landlock_abi > 0 && r->seccomp ? LOG_INFO : LOG_WARN, "sandbox: %s, %s", landlock,
             r->seccomp ? "seccomp" : "no seccomp (a build for tests with sanitizers)");
}

/* Of DIR itself it lists the names, its files are the porter's; the folders are for what it keeps.
 * The trail is read, never written, and what is the scribe's is neither. */
static enum err close_in(int dir_fd, struct sandbox_report *ret)
{
    static const struct {
        const char *name;
        enum sandbox_use use;
    } folders[] = {{"store", SANDBOX_WRITE},
                   {"pki", SANDBOX_WRITE},
                   {"undo", SANDBOX_WRITE},
                   {"audit", SANDBOX_READ}};
    struct sandbox_place places[COUNT_OF(folders) + 1] = {{dir_fd, SANDBOX_WALK}};
    enum err err = OK;
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        int fd = openat(dir_fd, folders[i].name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        places[i + 1] = (struct sandbox_place){fd, folders[i].use};
        err = fd >= 0 ? err : ERR_NOT_FOUND;
    }
    err = err == OK ? sandbox_apply_places(places, COUNT_OF(places), true, ret) : err;
    for (size_t i = 1; i < COUNT_OF(places); i++) {
        if (places[i].fd >= 0) {
            (void)close(places[i].fd);
        }
    }
    return err;
}

int broker_main(void)
{
    struct message m;
    enum err e = message_await_boot(&m);
    if (e != OK) {
        log_line(LOG_ERROR, "%s is started by `sallyport serve` only (%s)", "--broker",
                 err_name(e));
        return 1;
    }
    struct sandbox_report sandbox;
    struct metrics *metrics = NULL;
    (void)config_machine_ask();
    if ((e = broker_prepare(&metrics)) == OK) {
        e = close_in(m.boot.dir_fd, &sandbox);
    }
    if (e != OK) {
        metrics_free(metrics);
        struct message failed = {.type = MESSAGE_FAILED};
        snprintf(failed.text, sizeof failed.text, "the broker cannot prepare itself: %s",
                 err_name(e));
        if (message_send(LINK_FD, &failed) != OK) {
            log_line(LOG_ERROR, "%s", failed.text);
        }
        return 1;
    }
    report_sandbox(&sandbox);
    return broker_run(&m.boot, &sandbox, metrics, LINK_FD);
}
