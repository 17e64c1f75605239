/*
 * https_client - one connection of our own to an HTTPS server: a request, its answer, in turn.
 * Blocks; for the command line.
 */
#ifndef APP_CLI_HTTPS_CLIENT_H
#define APP_CLI_HTTPS_CLIENT_H

#include "app/cli/client_target.h"
#include "wire/http1/response.h"

enum { HTTPS_ANSWER_MAX = 128 * 1024, HTTPS_ANSWER_MS = 30 * 1000 };

struct https_client;

/* https_open - target: host and port, and chain and key when there are; the server is trusted by
 * root_sha256 (32 bytes), which it must show; empty: by the target's ca. CLI_DONE, or the exit code
 * after a message. */
int https_open(struct cli *cli, const struct client_target *target, struct slice root_sha256,
               struct https_client **ret);
struct https_client *https_free(struct https_client *c);

/* Borrowed for the call. */
struct https_request {
    const char *method, *path;
    const char *type;          /* of the body; NULL: none */
    const char *authorization; /* NULL: none */
    struct slice body;
};

/* Borrowed from the client until the next request. */
struct https_answer {
    unsigned status, retry_after_s;
    struct slice body;
};

/* https_ask - CLI_DONE, or the exit code after a message. */
int https_ask(struct https_client *c, const struct https_request *r, struct https_answer *ret);

#endif
