/* scan_look - asks: one function for each kind of port, which writes down what came. */
#ifndef APP_SCAN_SCAN_LOOK_H
#define APP_SCAN_SCAN_LOOK_H

#include "app/scan/scan_link.h"

enum { SCAN_PASSWORDS_MAX = 8, SCAN_PASSWORD_PAUSE_MS = 200 };

/* scan_look_tls - versions, suites, certificate. */
void scan_look_tls(struct scan_net *net, const struct scan_door *door, struct scan_door_seen *ret);
/* scan_look_mqtt - all of it, TLS included. ret->door is set. */
void scan_look_mqtt(struct scan_net *net, struct scan_door_seen *ret);
/* scan_look_as_guest - (scan_guest.c) what whoever came in may do. */
struct scan_login;
void scan_look_as_guest(struct scan_net *net, const struct scan_door *door,
                        const struct scan_login *login, struct scan_mqtt_seen *ret);
/* scan_look_coap, scan_look_coaps - the same of CoAP. */
void scan_look_coap(struct scan_net *net, struct scan_door_seen *ret);
void scan_look_coaps(struct scan_net *net, struct scan_door_seen *ret);

#endif
