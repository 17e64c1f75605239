/* scan_talk - one MQTT conversation of a scan: our own client's engine over one scan_link. */
#ifndef APP_SCAN_SCAN_TALK_H
#define APP_SCAN_SCAN_TALK_H

#include "app/scan/scan_link.h"
#include "engine/mqtt_client.h"

/* Who says it is there. */
struct scan_login {
    enum mqtt_version version;
    const char *client_id;
    const char *user, *password; /* out of our own list, or random; NULL: none */
};

struct scan_talk {
    struct scan_link *link;
    struct mqtt_client *engine;
    size_t taken; /* of link->in, by the last event */
    enum scan_entry entry;
    uint8_t code;                             /* of CONNACK */
    uint32_t packet_max, server_keep_alive_s; /* CONNACK's; 0 and UINT32_MAX: not said */
};

/* scan_talk_open - CONNECT, without keep-alive and without a session, until it is known how it
 * ended: ret->entry. Always followed by scan_talk_done. */
void scan_talk_open(struct scan_net *net, const struct scan_door *door,
                    const struct scan_login *login, struct scan_talk *ret);
/* scan_talk_next - the next event; borrows until the next call. ERR_TIMEOUT: none came until then;
 * ERR_CLOSED and the errors of mqtt_client_next and scan_link_receive: it is over. */
MUST_USE enum err scan_talk_next(struct scan_talk *t, uint64_t until_ms,
                                 struct mqtt_client_event *ret);
/* scan_talk_flush - what the engine has to say leaves. */
MUST_USE enum err scan_talk_flush(struct scan_talk *t);
/* scan_talk_done - DISCONNECT, and the connection is closed. */
void scan_talk_done(struct scan_talk *t);

#endif
