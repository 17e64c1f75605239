/*
 * http_server - one connection of an HTTP/1.1 server: bytes and time in, whole requests out.
 *
 * A request leaves when all of it is there: head (wire/http1/request.h) and body, whose length a
 * Content-Length says. While it waits for its answer nothing more is taken, so answers keep their
 * order and a stranger has no more than one request in memory. What breaks a rule is answered here
 * and ends the connection: http_server_refusal says why, for the audit trail. Nothing is known of
 * paths, methods and who may what: that is the door's. SPEC: RFC9112 2, 6, 9.
 */
#ifndef ENGINE_HTTP_SERVER_H
#define ENGINE_HTTP_SERVER_H

#include "base/scope.h"
#include "wire/http1/request.h"

enum {
    HTTP_BODY_MAX = 16 * 1024,
    HTTP_REQUESTS_MAX = 100,     /* of one connection; the last one is told that it ends */
    HTTP_REQUEST_MS = 10 * 1000, /* from the first byte of a request to its last */
    HTTP_IDLE_MS = 15 * 1000,    /* between two requests */
    HTTP_ANSWER_MAX = 64 * 1024, /* bytes of one answer, as a rule */
    HTTP_EXTRA_FIELDS_MAX = 4,   /* of an answer, beside those that are always there */
    HTTP_TEXT_BYTES = 160
};

struct http_limits {
    size_t body_bytes;
    unsigned requests;
    uint32_t request_ms, idle_ms;
    size_t answer_bytes; /* of one answer, head and body */
};
#define HTTP_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        HTTP_BODY_MAX, HTTP_REQUESTS_MAX, HTTP_REQUEST_MS, HTTP_IDLE_MS, HTTP_ANSWER_MAX           \
    }

/* All of it is borrowed from the engine until it is answered. */
struct http_request {
    struct http1_request head;
    struct slice path;  /* of the target, as it came: not decoded */
    struct slice query; /* behind '?', without it */
    struct slice body;
};

struct http_field {
    const char *name;
    const char *value; /* without control characters */
};

/* Borrowed for the call. */
struct http_answer {
    unsigned status;
    const char *type;                                /* of the body; NULL: there is none */
    struct slice body;                               /* empty with a type: a body of no bytes */
    struct http_field fields[HTTP_EXTRA_FIELDS_MAX]; /* up to the first without a name */
    bool close;                                      /* the connection ends behind it */
};

struct http_server;

/* http_server_new - limits are copied. ERR_NOMEM. */
MUST_USE enum err http_server_new(const struct http_limits *limits, uint64_t now_ms,
                                  struct http_server **ret);
struct http_server *http_server_free(struct http_server *h);
AUTOFREE(http_server, http_server_free)

/*
 * http_server_next - takes bytes out of *in, all it can use
 *
 * OK         *ret is a request; it lives until http_server_answer
 * ERR_AGAIN  no whole one yet, or the connection has ended, or one waits for its answer
 * ERR_NOMEM  the connection has ended
 * SPEC: RFC9112 2.2, 6.3.
 */
MUST_USE enum err http_server_next(struct http_server *h, struct slice *in, uint64_t now_ms,
                                   const struct http_request **ret);
/* http_server_wants_input - false: leave the bytes where they are. */
bool http_server_wants_input(const struct http_server *h);
/* http_server_is_asked - a request waits for its answer. */
bool http_server_is_asked(const struct http_server *h);

/* http_server_answer - only while one is asked. ERR_TOO_LARGE (over answer_bytes), ERR_NOMEM:
 * the connection has ended without it. SPEC: RFC9112 4, 6.2, 9.6. */
MUST_USE enum err http_server_answer(struct http_server *h, const struct http_answer *a,
                                     uint64_t now_ms);
/* http_server_close - ends it behind what is written; a request that waits gets no answer. */
void http_server_close(struct http_server *h);

/* http_server_output - up to cap bytes for the client; 0: nothing waits. */
size_t http_server_output(struct http_server *h, uint8_t *dst, size_t cap);
bool http_server_has_output(const struct http_server *h);

/* http_server_has_ended - nothing more is read. http_server_is_finished - nor written. */
bool http_server_has_ended(const struct http_server *h);
bool http_server_is_finished(const struct http_server *h);
/* http_server_deadline - when http_server_tick must be called; UINT64_MAX: never. */
uint64_t http_server_deadline(const struct http_server *h);
/* http_server_tick - ends a connection that is late: 408 within a request, nothing between two.
 * SPEC: RFC9110 15.5.9. */
void http_server_tick(struct http_server *h, uint64_t now_ms);

/* http_server_refusal - the status that the engine itself has answered with, and in words why (of
 * static life); 0: it has not. */
unsigned http_server_refusal(const struct http_server *h, const char **ret_why);
/* http_status_phrase - "Not Found"; "Status" where the number has no name here. Static. */
const char *http_status_phrase(unsigned status);

#endif
