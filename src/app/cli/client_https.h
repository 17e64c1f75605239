/* client_https - one request over HTTPS and its answer, on a connection of its own. */
#ifndef APP_CLI_CLIENT_HTTPS_H
#define APP_CLI_CLIENT_HTTPS_H

#include "app/cli/client_target.h"
#include "base/why.h"

enum { CLIENT_HTTPS_BODY_MAX = 128 * 1024, CLIENT_HTTPS_TYPE_BYTES = 96, CLIENT_HTTPS_MS = 30000 };

/* Everything is borrowed. The target's host and port, whom it trusts, and its own certificate. */
struct client_https {
    const struct client_target *target;
    const char *method, *path;
    const char *authorization; /* the whole field's value; NULL: none */
    const char *content_type;  /* NULL: no body */
    struct slice body;
};

struct client_https_answer {
    unsigned status;
    unsigned retry_after_s; /* 0: not said */
    char type[CLIENT_HTTPS_TYPE_BYTES];
    struct buf body;
};
void client_https_done(struct client_https_answer *a); /* wipes */

/*
 * client_https_ask - connects, asks, reads the answer; blocks for at most CLIENT_HTTPS_MS
 *
 * OK: the server has answered, whatever the status. ERR_AUTH: its certificate did not verify, or it
 * refused ours; ERR_TIMEOUT, ERR_CLOSED, ERR_IO; ERR_MALFORMED, ERR_TOO_LARGE: the answer; ERR_CONFIG: our
 * own files; *why in words. *ret takes client_https_done also after an error.
 */
MUST_USE enum err client_https_ask(const struct client_https *q, struct client_https_answer *ret,
                                   struct why *why);

#endif
