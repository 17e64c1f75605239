/*
 * client_mqtt - one MQTT connection of a command: socket, TLS, engine, standard input, signals.
 *
 * The command is a handler: it gets events, and says when it is done. Blocks until then.
 */
#ifndef APP_CLI_CLIENT_MQTT_H
#define APP_CLI_CLIENT_MQTT_H

#include "app/cli/client_target.h"
#include "engine/mqtt_client.h"

enum { CLIENT_PACKET_MAX = 4 * 1024 * 1024, CLIENT_GO_ON = -1 };

/* Every call gives CLIENT_GO_ON, or the exit code of the command: then the connection is ended in
 * order. Those that may be NULL are not wanted. */
struct client_handler {
    void *ctx;
    /* The connection is open; or this event came. A refused CONNACK and a DISCONNECT of the
     * server's are told by the caller and not given. */
    int (*open)(void *ctx, struct mqtt_client *e, uint64_t now_ms);
    int (*event)(void *ctx, struct mqtt_client *e, const struct mqtt_client_event *ev,
                 uint64_t now_ms);
    /* After each turn: there may be room to send again. May be NULL. */
    int (*idle)(void *ctx, struct mqtt_client *e, uint64_t now_ms);
    /* Does it want standard input now? Then `input` is called when there is some. May be NULL. */
    bool (*wants_input)(void *ctx, const struct mqtt_client *e);
    int (*input)(void *ctx, struct mqtt_client *e, uint64_t now_ms);
    /* UINT64_MAX: none. May be NULL, else both. */
    uint64_t (*deadline)(void *ctx);
    int (*tick)(void *ctx, struct mqtt_client *e, uint64_t now_ms);
    /* SIGINT or SIGTERM: the exit code. NULL: CLI_FAILED. */
    int (*interrupted)(void *ctx);
};

/* The options that pub, sub and rpc share. */
#define CLIENT_MQTT_OPTIONS                                                                        \
    CLIENT_TARGET_OPTIONS, {"--id", "-i", CLI_VALUE}, {"--keepalive", "-k", CLI_VALUE},            \
        {"--protocol-version", "-V", CLI_VALUE}, {"--disable-clean-session", "-c", CLI_FLAG},      \
        {"--session-expiry-interval", "-x", CLI_VALUE}, {"--will-topic", NULL, CLI_VALUE},         \
        {"--will-payload", NULL, CLI_VALUE}, {"--will-qos", NULL, CLI_VALUE},                      \
    {                                                                                              \
        "--will-retain", NULL, CLI_FLAG                                                            \
    }

/* Properties given by -D, by the packet they are for. */
enum client_props {
    CLIENT_PROPS_CONNECT,
    CLIENT_PROPS_PUBLISH,
    CLIENT_PROPS_SUBSCRIBE,
    CLIENT_PROPS_UNSUBSCRIBE,
    CLIENT_PROPS_WILL,
    CLIENT_PROPS_KINDS
};

enum { CLIENT_USER_BYTES = 4096, CLIENT_ARGS_MAX = 256 };

struct client_mqtt {
    struct client_target target;
    struct mqtt_connect connect;
    uint16_t window;
    bool has_props; /* any -D was given */
    struct mqtt_props props[CLIENT_PROPS_KINDS];
    struct wr user[CLIENT_PROPS_KINDS]; /* user properties, written into user_bytes */
    uint8_t user_bytes[CLIENT_PROPS_KINDS][CLIENT_USER_BYTES];
};

/* client_mqtt_properties - takes every `-D PACKET NAME [KEY] VALUE` out of argv: *ret_argv keeps
 * the rest, *ret_argc entries of CLIENT_ARGS_MAX. First call on a zeroed *m. CLI_DONE or CLI_USAGE.
 */
int client_mqtt_properties(struct cli *cli, const struct cli_command *self, int argc, char **argv,
                           struct client_mqtt *m, int *ret_argc, char **ret_argv);
/* client_mqtt_read - target and CONNECT out of the options; borrows from argv and *m. CLI_DONE, or
 * the exit code after a message. */
int client_mqtt_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct client_mqtt *m);
/* client_mqtt_run - connects, serves the handler, ends. The exit code. */
int client_mqtt_run(struct cli *cli, struct client_mqtt *m, const struct client_handler *h);
void client_mqtt_done(struct client_mqtt *m); /* wipes */

/* client_topic_ok - a topic name, or a filter; false after a usage message. */
bool client_topic_ok(struct cli *cli, const struct cli_command *self, const char *text,
                     bool is_filter);

#endif
