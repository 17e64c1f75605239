/* client_signer - the signer, asked by an operator: who may have certificates is said to it, not to
 * the broker. */
#ifndef APP_CLI_CLIENT_SIGNER_H
#define APP_CLI_CLIENT_SIGNER_H

#include "app/cli/cli.h"
#include "service/pki/authority.h"

/* client_signer - the operator's channel of the daemon that serves; authority_free ends it.
 * CLI_DONE, or the exit code after a message. */
int client_signer(struct cli *cli, struct authority **ret);

/* client_signer_enrol - this name may have a certificate; client_signer_allow - and another one, if
 * it is enrolled; client_signer_forget - not any more, it was removed (fine when it never was).
 * CLI_DONE, or the exit code after a message. */
int client_signer_enrol(struct cli *cli, const char *name);
int client_signer_allow(struct cli *cli, const char *name);
int client_signer_forget(struct cli *cli, const char *name);

/* client_signer_each - one of the three for many names over one channel. Who is refused for a
 * reason of its own (it is revoked) is passed over: the daemon refuses that one, too, and names it.
 */
enum client_signer_word { CLIENT_SIGNER_ENROL, CLIENT_SIGNER_ALLOW, CLIENT_SIGNER_FORGET };
int client_signer_each(struct cli *cli, enum client_signer_word word, const char *const *names,
                       size_t n);

/* client_signer_host - the server's certificate may have this name, too. client_signer_roll - a
 * step of the roll-over of the authority. CLI_DONE, or the exit code after a message. */
int client_signer_host(struct cli *cli, const char *host);
int client_signer_roll(struct cli *cli, enum authority_roll_step step);

#endif
