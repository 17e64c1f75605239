/* coap_ask - what a command line of `coap` asks for: whom, by what, with which request. */
#ifndef APP_CLI_COAP_ASK_H
#define APP_CLI_COAP_ASK_H

#include "app/cli/client_target.h"
#include "engine/coap_endpoint.h"
#include "wire/coap/uri.h"

enum {
    COAP_ASK_BYTES_MAX = 16 * 1024 * 1024, /* of a payload, either way, in blocks */
    COAP_ASK_OPTIONS_BYTES = 1024
};

/* What protects the request. Nothing goes without. */
enum coap_carrier {
    COAP_BY_DTLS,     /* coaps:// */
    COAP_BY_OSCORE,   /* coap:// */
    COAP_BY_TLS,      /* coaps+tcp:// */
    COAP_BY_WEBSOCKET /* coaps+ws:// */
};

struct coap_ask {
    enum coap_carrier carrier;
    struct client_target target;
    char oscore_path[CLIENT_PATH_BYTES]; /* its context, with COAP_BY_OSCORE */
    struct coap_uri uri;
    struct coap_request request; /* borrows from the next two */
    struct buf payload;
    uint8_t options[COAP_ASK_OPTIONS_BYTES];
    bool observes;
    uint8_t szx;            /* of -b; UINT8_MAX: as the server likes */
    uint32_t message_bytes; /* of -X; 0: as large as a value may be */
    uint64_t wait_ms;
    uint64_t observe_ms; /* 0: until somebody ends it */
    uint64_t ping_ms;    /* 0: never */
    bool is_traced;
    const char *output; /* a file; NULL: standard output. Borrowed from the arguments */
};

/* coap_ask_read - out of the options of coap_flags.h; gives, also after an error: coap_ask_done.
 * The result must not move. CLI_DONE, or the exit code after a message. */
int coap_ask_read(struct cli *cli, const struct cli_command *self, const struct cli_args *args,
                  struct coap_ask *ret);
void coap_ask_done(struct coap_ask *a); /* wipes */

/* coap_ask_cancel - the options of the request that ends the observation of a, into dst. */
MUST_USE enum err coap_ask_cancel(const struct coap_ask *a, uint8_t dst[COAP_ASK_OPTIONS_BYTES],
                                  struct slice *ret);

#endif
