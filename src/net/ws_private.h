/* ws_private - what ws.c and ws_upgrade.c share; not for other files. */
#ifndef NET_WS_PRIVATE_H
#define NET_WS_PRIVATE_H

#include "net/ws.h"

enum { WS_ACCEPT_BYTES = 29, WS_SWITCHING = 101 };

struct ws_answer {
    unsigned status; /* WS_SWITCHING: yes */
    const char *why; /* when no: for the client and the log; static */
    char accept[WS_ACCEPT_BYTES];
};

/* ws_upgrade_judge - is this complete head a request that the rules allow? `own` as for ws_new.
 * SPEC: RFC6455 4.2.1, MQTT-6.0.0-3. */
void ws_upgrade_judge(const struct ws_rules *rules, const struct tls *own, struct slice head,
                      struct ws_answer *ret);
/* ws_upgrade_encode - the answer as HTTP: its size. SPEC: RFC6455 4.2.2, MQTT-6.0.0-4. */
size_t ws_upgrade_encode(const struct ws_answer *a, uint8_t *dst, size_t cap);

#endif
