/* From exec to the sandbox: what happens before the broker proper. */
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
        e = sandbox_apply(m.boot.dir_fd, &sandbox);
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
