/*
 * coap_line - what carries the requests of `coap` to one server: datagrams (DTLS, OSCORE) or a
 * stream (TLS, WebSocket). The command asks and is told; the line has socket, time and goodbye.
 */
#ifndef APP_CLI_COAP_LINE_H
#define APP_CLI_COAP_LINE_H

#include "app/cli/coap_ask.h"
#include "base/clock.h"
#include "base/random.h"

enum { COAP_LINE_GO_ON = -1 };

struct coap_line;

/* What each kind does; called by the functions below. */
struct coap_line_ops {
    int (*fd)(const struct coap_line *l);
    short (*wants)(const struct coap_line *l); /* POLLIN, and POLLOUT when something is stuck */
    uint64_t (*deadline)(const struct coap_line *l);
    enum err (*request)(struct coap_line *l, const struct coap_request *request, uint32_t *ret_id);
    void (*forget)(struct coap_line *l, uint32_t id);
    void (*ping)(struct coap_line *l);
    void (*input)(struct coap_line *l);
    void (*tick)(struct coap_line *l);
    void (*flush)(struct coap_line *l);
    /* cancel: ends an observation, when there is one; may be lost. NULL: there is none */
    void (*close)(struct coap_line *l, const struct coap_request *cancel);
    struct coap_line *(*free)(struct coap_line *l);
};

/* Whom a line tells. */
struct coap_line_owner {
    void *ctx;
    /* Requests may go. Those that went before, by an association that is no more, are forgotten. */
    void (*opened)(void *ctx);
    void (*event)(void *ctx, const struct coap_event *ev);
};

struct coap_line {
    const struct coap_line_ops *ops;
    struct cli *cli;
    const struct coap_ask *ask;
    struct coap_line_owner owner;
    struct clock clock;
    struct random_source random;
    int code; /* COAP_LINE_GO_ON, or how the command ends: it has been said why */
    bool is_open;
    uint64_t active_ms; /* the last message either way */
};

/* coap_line_new - by ask->carrier; ask is borrowed for life. Gives a line that is not open yet.
 * COAP_LINE_GO_ON, or the exit code after a message; *ret may be written then, too. */
int coap_line_new(struct cli *cli, const struct coap_ask *ask, const struct coap_line_owner *owner,
                  struct coap_line **ret);
struct coap_line *coap_line_free(struct coap_line *l);

uint64_t coap_line_now(const struct coap_line *l);
/* coap_line_fail - ends with CLI_FAILED and this text, unless it has ended already. */
void coap_line_fail(struct coap_line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* coap_line_trace - -v: what a message is, without what it carries; start: "CON", or "". */
void coap_line_trace(const struct coap_line *l, const char *way, const char *start,
                     const struct coap_message *m);

/* coap_datagrams.c, coap_by_tls.c: of one kind. */
int coap_datagrams_new(const struct coap_line *base, struct coap_line **ret);
int coap_by_tls_new(const struct coap_line *base, struct coap_line **ret);

#endif
