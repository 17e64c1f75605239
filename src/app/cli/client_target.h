/*
 * client_target - whom our own clients talk to, and as whom: a bundle, or the flags people know.
 *
 * The server's certificate chain and name are always verified; no flag changes that.
 */
#ifndef APP_CLI_CLIENT_TARGET_H
#define APP_CLI_CLIENT_TARGET_H

#include "app/cli/cli.h"
#include "base/buf.h"

/* CLIENT_COAP: OSCORE, whose keys are client_oscore's. CLIENT_COAPS_TCP: over TLS and WebSocket,
 * by certificate. */
enum client_door { CLIENT_MQTTS, CLIENT_COAPS, CLIENT_COAPS_TCP, CLIENT_COAP, CLIENT_ENROL };

enum { CLIENT_HOST_BYTES = 256, CLIENT_NAME_BYTES = 128, CLIENT_PATH_BYTES = 1024 };

/* { 0 } is an empty one. What is empty was not given. */
struct client_target {
    char host[CLIENT_HOST_BYTES];
    uint16_t port;
    char device[CLIENT_NAME_BYTES];  /* the bundle's */
    char ca_path[CLIENT_PATH_BYTES]; /* for messages */
    struct buf ca, chain, key;       /* PEM */
    struct buf username, password;
    struct buf psk_identity, psk;
    /* Borrowed from the arguments, or NULL. */
    bool is_websocket;
    char path[CLIENT_PATH_BYTES];  /* of the WebSocket */
    char topic[CLIENT_PATH_BYTES]; /* the URL's */
    const char *from;              /* an address of this machine */
    const char *ca_dir, *alpn, *ciphers;
    bool use_os_authorities, tls13_only;
};

/* Rows of an option table, for mqtts; pub, sub and rpc have theirs in mqtt_flags.c. */
#define CLIENT_TARGET_OPTIONS                                                                      \
    {"--bundle", NULL, CLI_VALUE}, {"--host", "-h", CLI_VALUE}, {"--port", "-p", CLI_VALUE},       \
        {"--cafile", NULL, CLI_VALUE}, {"--cert", NULL, CLI_VALUE}, {"--key", NULL, CLI_VALUE},    \
        {"--username", "-u", CLI_VALUE}, {"--pw", "-P", CLI_VALUE},                                \
        {"--password-file", NULL, CLI_VALUE},                                                      \
    {                                                                                              \
        "--insecure", NULL, CLI_FLAG                                                               \
    }

/* What authorities may take together: all that a system trusts is 220 KB. */
enum { CLIENT_CA_BYTES_MAX = 1024 * 1024 };

/* client_target_read - out of the options; gives, also after an error: client_target_done.
 * CLI_DONE, or the exit code after a message. */
int client_target_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       enum client_door door, struct client_target *ret);
void client_target_done(struct client_target *t); /* wipes */

/* client_no_insecure - why not, and what is safe; CLI_USAGE. */
int client_no_insecure(struct cli *cli, const struct cli_command *self);

/* client_file - the whole file behind what is in *ret; "-" is standard input. CLI_DONE, or the exit
 * code after a message. */
int client_file(struct cli *cli, const char *path, size_t most, struct buf *ret);
/* client_number - of an option, or `absent`. false after a usage message. */
bool client_number(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   const char *option, long least, long most, long absent, long *ret);

#endif
