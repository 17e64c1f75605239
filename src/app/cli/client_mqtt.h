/*
 * client_mqtt - one MQTT connection of a command: socket, TLS, engine, standard input, signals.
 *
 * The command is a handler: it gets events, and says when it is done. Blocks until then.
 */
#ifndef APP_CLI_CLIENT_MQTT_H
#define APP_CLI_CLIENT_MQTT_H

#include "app/cli/client_props.h"
#include "app/cli/client_target.h"
#include "app/cli/mqtt_flags.h"
#include "engine/mqtt_client.h"

enum { CLIENT_PACKET_MAX = 4 * 1024 * 1024, CLIENT_RECEIVE_MAX = 100, CLIENT_GO_ON = -1 };

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

enum { CLIENT_ARGS_MAX = 256, CLIENT_ID_BYTES = 256 };

struct client_mqtt {
    struct cli_option options[CLI_OPTIONS_MAX];
    char *words[CLIENT_ARGS_MAX]; /* the command line, that of -o in front */
    struct buf options_file;
    struct client_props props;
    struct client_target target;
    struct mqtt_connect connect;
    uint16_t window, receive_max;
    uint32_t packet_max;
    bool debug;
    char id[CLIENT_ID_BYTES]; /* of -I */
};

/* client_mqtt_arguments - everything on the command line of this tool into *ret, with that of the
 * file of -o in front; -D into m->props. First call on a zeroed *m, which stays where it is.
 * CLI_DONE, or the exit code after a message: an option that is not there, or not any more, says
 * why. */
int client_mqtt_arguments(struct cli *cli, const struct cli_command *self, enum mqtt_tool tool,
                          int argc, char **argv, struct client_mqtt *m, struct cli_args *ret);
/* client_mqtt_read - target and CONNECT out of the options; borrows from argv and *m. CLI_DONE, or
 * the exit code after a message. */
int client_mqtt_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                     struct client_mqtt *m);
/* client_mqtt_topic - of the one message: -t, else the URL's. CLI_DONE, or CLI_USAGE after a
 * message. Borrows. */
int client_mqtt_topic(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                      const struct client_mqtt *m, const char **ret);
/* client_mqtt_run - connects, serves the handler, ends. The exit code. */
int client_mqtt_run(struct cli *cli, struct client_mqtt *m, const struct client_handler *h);
void client_mqtt_done(struct client_mqtt *m); /* wipes */

/* client_debug - a line on stderr when -d was given. */
void client_debug(struct cli *cli, const struct client_mqtt *m, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* client_topic_ok - a topic name, or a filter, that option gave; false after a usage message. */
bool client_topic_ok(struct cli *cli, const struct cli_command *self, const char *text,
                     const char *option, bool is_filter);

#endif
