/* ws_private - what ws.c, ws_upgrade.c and ws_client.c share; not for other files. */
#ifndef NET_WS_PRIVATE_H
#define NET_WS_PRIVATE_H

#include "net/ws.h"

enum { WS_ACCEPT_BYTES = 29, WS_SWITCHING = 101 };

struct ws_answer {
    unsigned status; /* WS_SWITCHING: yes */
    const char *why; /* when no: for the client and the log; static */
    char accept[WS_ACCEPT_BYTES];
    bool is_coap; /* the subprotocol that was agreed on; else mqtt */
};

/* ws_upgrade_judge - is this complete head a request that the rules allow? `own` as for ws_new.
 * SPEC: RFC6455 4.2.1, MQTT-6.0.0-3. */
void ws_upgrade_judge(const struct ws_rules *rules, const struct tls *own, struct slice head,
                      struct ws_answer *ret);
/* ws_upgrade_encode - the answer as HTTP: its size. SPEC: RFC6455 4.2.2, MQTT-6.0.0-4. */
size_t ws_upgrade_encode(const struct ws_answer *a, uint8_t *dst, size_t cap);

/* ws_no_request - what is told to who sends no HTTP. Static. */
const char *ws_no_request(const struct ws_rules *rules);

/* ws_accept_of - what proves that a request with this key was understood. false: the crypto library
 * failed. SPEC: RFC6455 4.2.2 */
bool ws_accept_of(struct slice key, char dst[WS_ACCEPT_BYTES]);

/* The client's part, in ws_client.c. */
struct ws_client;
MUST_USE enum err ws_client_begin(const struct ws_target *target,
                                  const struct random_source *random, struct ws_client **ret);
struct slice ws_client_request(const struct ws_client *c);
bool ws_client_is_coap(const struct ws_client *c);
/* ws_client_judge - NULL when this head is the answer that was wanted, else why not (static).
 * *ret_status: its status, 0 when it is none. SPEC: RFC6455 4.1 */
const char *ws_client_judge(const struct ws_client *c, struct slice head, unsigned *ret_status);
/* ws_client_mask - of the next frame; nobody can guess it. */
void ws_client_mask(const struct ws_client *c, uint8_t mask[4]);

#endif
