/*
 * client_load_coap - CoAP by many sockets at a time, each with one confirmable GET under way
 * (NSTART 1), in plain or by DTLS; each answer verified by token and message id.
 *
 *   LOAD_COAP_GET        n_publishers sockets, opened before the measured time, ask again and
 * again; `window` of them at a time LOAD_COAP_HANDSHAKE  n_publishers at a time: a socket, a
 * handshake, one GET, and the end of both
 *
 * What is not answered is sent again after REPEAT_MS, as often as RFC 7252 says, and counted; a
 * request that has no answer then is lost, and so is a handshake.
 */
#ifndef APP_CLI_CLIENT_LOAD_COAP_H
#define APP_CLI_CLIENT_LOAD_COAP_H

#include "app/cli/client_load.h"

/* client_load_coap_run - as client_load_run. */
int client_load_coap_run(struct cli *cli, const struct load_order *o,
                         const struct load_watch *watch, struct load_result *ret);

#endif
