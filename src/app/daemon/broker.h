/*
 * broker - the second process, as the supervisor and main() see it.
 *
 * broker_main receives BOOT over LINK_FD, calls broker_prepare (what needs the world outside DIR:
 * library configuration, name tables), applies the sandbox, then broker_run.
 */
#ifndef APP_DAEMON_BROKER_H
#define APP_DAEMON_BROKER_H

#include "app/daemon/message.h"
#include "app/daemon/sandbox.h"
#include "service/watch/metrics.h"

/* broker_main - of `sallyport --broker`; returns the exit code of the process. */
int broker_main(void);

/* broker_prepare - before the sandbox, one thread. Gives what reads the numbers of this process
 * from /proc. ERR_NOMEM, ERR_CRYPTO: the process must end. */
MUST_USE enum err broker_prepare(struct metrics **ret);

/* broker_run - inside the sandbox, until STOP arrives on link_fd or it closes. Sends READY when all
 * listeners are served. Takes metrics. Descriptors of boot are the broker's; it need not close
 * them. Returns the exit code: 0 after draining. SIGTERM, SIGINT and SIGHUP are ignored in this
 * process: STOP and RELOAD come over the link, so that Ctrl-C in a terminal drains as SIGTERM does.
 */
int broker_run(const struct boot *boot, const struct sandbox_report *sandbox,
               struct metrics *metrics, int link_fd);

#endif
