/*
 * scribe_main - the process that writes the audit trail: it alone has the key that signs it, and
 * the folders DIR/audit and DIR/scribe, and speaks the scribe's messages
 * (service/watch/scribe_message.h) with the broker.
 *
 * It receives BOOT over LINK_FD, opens keyring and trail, closes itself in (no network, of the file
 * system these two folders alone), then serves until STOP comes, after the broker has ended; or,
 * when the supervisor has gone, until the broker has gone as well.
 */
#ifndef APP_DAEMON_SCRIBE_MAIN_H
#define APP_DAEMON_SCRIBE_MAIN_H

/* scribe_main - of `sallyport --scribe`; returns the exit code of the process. */
int scribe_main(void);

#endif
