/*
 * client_props - `-D PACKET NAME [KEY] VALUE`: MQTT 5 properties out of a command line, checked by
 * a table of what exists, what belongs to which packet, and of which type it is.
 */
#ifndef APP_CLI_CLIENT_PROPS_H
#define APP_CLI_CLIENT_PROPS_H

#include "app/cli/cli.h"
#include "wire/mqtt/props.h"

/* Properties by the packet they are for. */
enum client_props_kind {
    CLIENT_PROPS_CONNECT,
    CLIENT_PROPS_PUBLISH,
    CLIENT_PROPS_SUBSCRIBE,
    CLIENT_PROPS_UNSUBSCRIBE,
    CLIENT_PROPS_WILL,
    CLIENT_PROPS_DISCONNECT,
    CLIENT_PROPS_KINDS
};

enum {
    CLIENT_PROPS_USER_BYTES = 4096, /* of all user properties of one packet, encoded */
    CLIENT_PROPS_ID_BYTES = 5       /* a subscription identifier */
};

struct client_props {
    bool given; /* any was */
    struct mqtt_props of[CLIENT_PROPS_KINDS];
    struct wr user[CLIENT_PROPS_KINDS]; /* what may repeat, written into user_bytes */
    uint8_t user_bytes[CLIENT_PROPS_KINDS][CLIENT_PROPS_USER_BYTES + CLIENT_PROPS_ID_BYTES];
};

/* client_props_init - an empty one; do not move it afterwards. */
void client_props_init(struct client_props *p);

/* client_props_add - the words behind "-D", n of them, borrowed as long as *p is used. *ret_used:
 * how many belonged to it. CLI_DONE, or CLI_USAGE after a message that names what is valid. */
int client_props_add(struct client_props *p, struct cli *cli, const struct cli_command *self,
                     char *const *words, int n, int *ret_used);

/* client_props_finish - after the last one. */
void client_props_finish(struct client_props *p);

#endif
