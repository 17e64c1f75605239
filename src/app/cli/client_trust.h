/* client_trust - why a server was not trusted or not reached, in words with the safe fix. */
#ifndef APP_CLI_CLIENT_TRUST_H
#define APP_CLI_CLIENT_TRUST_H

#include "app/cli/client_target.h"
#include "net/tls.h"

/* client_unreached - for the errors of net_connect_*. CLI_FAILED. */
int client_unreached(struct cli *cli, const struct client_target *t, enum err err);
/* client_untrusted - the server's certificate did not verify. CLI_FAILED. */
int client_untrusted(struct cli *cli, const struct client_target *t, enum tls_verify v);
/* client_broken - TLS or the connection ended with this text; "" when there is none. CLI_FAILED. */
int client_broken(struct cli *cli, const struct client_target *t, const char *text);

#endif
