/*
 * signer_main - a process of its own: it alone opens the authority's key, and speaks the signer's
 * messages (service/pki/signer_message.h) with the broker and, over DIR/run/signer.sock, with
 * operators.
 *
 * It receives BOOT over LINK_FD, opens keyring and DIR/pki, closes itself in (no network, of the
 * file system DIR/pki alone), then serves until STOP comes or the supervisor has gone.
 */
#ifndef APP_DAEMON_SIGNER_MAIN_H
#define APP_DAEMON_SIGNER_MAIN_H

#include "app/daemon/message.h"
#include "service/directory/settings.h"

/* signer_rules_of - by which it signs under these settings: what the renewal lane lets in is to be
 * signed as well. */
struct signing_rules signer_rules_of(const struct global_settings *s);

/* signer_main - of `sallyport --signer`; returns the exit code of the process. */
int signer_main(void);

#endif
