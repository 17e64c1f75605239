/*
 * client_url - mqtts://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC] and
 * wss://[USER[:PASSWORD]@]HOST[:PORT][/PATH]
 *
 * USER and PASSWORD may hold %XX for what a URL cannot carry; a topic is taken as it stands, so
 * that # and + need no %XX.
 */
#ifndef APP_CLI_CLIENT_URL_H
#define APP_CLI_CLIENT_URL_H

#include "base/err.h"
#include "base/slice.h"

enum client_scheme { CLIENT_URL_MQTTS, CLIENT_URL_WSS, CLIENT_URL_MQTT, CLIENT_URL_WS };

enum { CLIENT_URL_MAX = 4096, CLIENT_URL_PART_MAX = 255 };

/* Slices borrow from the URL; what is empty was not there. */
struct client_url {
    enum client_scheme scheme;
    char host[CLIENT_URL_PART_MAX + 1]; /* an IPv6 address without its brackets */
    uint16_t port;                      /* 0: none given */
    char username[CLIENT_URL_PART_MAX + 1];
    char password[CLIENT_URL_PART_MAX + 1];
    struct slice path; /* without its first slash */
};

/*
 * client_url_parse
 *
 * ERR_UNSUPPORTED  another scheme
 * ERR_TOO_LARGE    over CLIENT_URL_MAX, or a part over CLIENT_URL_PART_MAX
 * ERR_MALFORMED    anything else: no host, a port that is none, %XX that is none or %00, control
 *                  characters
 */
MUST_USE enum err client_url_parse(struct slice url, struct client_url *ret);

#endif
