/*
 * courier_main - the process of `export`: it alone sends the audit trail away
 * (service/courier/courier.h), and tells the broker of it (service/courier/courier_message.h).
 *
 * It receives BOOT over LINK_FD, reads keyring and configuration, closes itself in (no socket, no
 * connect; of the file system the trail to be read, DIR/courier to be written, and the files that
 * `export` names), then sends until STOP comes or the supervisor has gone. It ends by itself,
 * exit code 0, when one of these files was replaced: the next one may open the new one.
 */
#ifndef APP_DAEMON_COURIER_MAIN_H
#define APP_DAEMON_COURIER_MAIN_H

/* courier_main - of `sallyport --courier`; returns the exit code of the process. */
int courier_main(void);

#endif
