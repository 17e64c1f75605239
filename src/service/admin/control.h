/*
 * control - the protocol of DIR/run/control.sock: one request, one or more answers, all JSON lines.
 *
 *   > {"verb":"device.list","args":{"where":"site=b"}}
 *   < {"name":"meter-1","role":"sensor","text":"meter-1  sensor  enabled"}
 *   < {"done":true,"exit":0}
 *
 * A client writes one request and reads lines until the one with "done": true, which also has the
 * exit code and, when that is not 0, "error". A line may have "text": what a person is shown when
 * --json was not asked for. Sans I/O: bytes in, bytes out.
 */
#ifndef SERVICE_ADMIN_CONTROL_H
#define SERVICE_ADMIN_CONTROL_H

#include <jansson.h>

#include "base/buf.h"
#include "base/scope.h"

enum {
    CONTROL_REQUEST_MAX = 1 << 20, /* bytes of a request line */
    CONTROL_ANSWER_MAX = 16 << 20, /* bytes of answers waiting for a client that does not read */
    CONTROL_VERB_BYTES = 64
};

struct control_request {
    char verb[CONTROL_VERB_BYTES]; /* [a-z0-9._-]+ */
    json_t *args;                  /* an object, never NULL; owned by the request */
};

/* control_request_decode - one line without its newline. Duplicate keys, trailing bytes, unknown
 * members, bad UTF-8 and deep nesting are refused: ERR_MALFORMED. ERR_TOO_LARGE, ERR_NOMEM. */
MUST_USE enum err control_request_decode(struct slice line, struct control_request *ret);
/* control_request_encode - the line with its newline, appended to *ret. Borrows args (NULL: none).
 */
MUST_USE enum err control_request_encode(const char *verb, const json_t *args, struct buf *ret);
void control_request_done(struct control_request *r);

/* Arguments of a request. A missing one gives NULL or the fallback; one of the wrong type also. */
const char *control_arg_text(const struct control_request *r, const char *name);
bool control_arg_flag(const struct control_request *r, const char *name);
int64_t control_arg_number(const struct control_request *r, const char *name, int64_t fallback);

/* The answers of one request, as bytes to send. `bytes` is sent from the front by the owner of the
 * socket (buf_drop). */
struct control_reply {
    struct buf bytes;
    bool is_done;      /* the final line was written; close when bytes is empty */
    bool is_streaming; /* the handler keeps the request open and adds lines as they come */
};

void control_reply_done(struct control_reply *r);
/* control_line - takes line (an object; NULL is ERR_NOMEM) and appends it. ERR_NOMEM, ERR_TOO_LARGE
 * when the client does not read; the owner then closes the connection. */
MUST_USE enum err control_line(struct control_reply *r, json_t *line);
/* control_text - a line that has nothing but text. */
MUST_USE enum err control_text(struct control_reply *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* control_finish - the final line. exit 0 with a NULL error, or 1 with the reason. */
MUST_USE enum err control_finish(struct control_reply *r, int exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A handler answers by lines and control_finish. To answer later (a change must first reach every
 * worker; a stream) it returns OK without finishing, sets is_streaming, and remembers token: the
 * owner of the socket passes the connection's id there, so that the answer finds its way. A handler
 * that returns an error has the owner finish with exit 1 and err_name. */
typedef enum err control_handler(void *ctx, const struct control_request *request, uint64_t token,
                                 struct control_reply *reply);

struct control_verb {
    const char *name;
    control_handler *handle;
};

/* control_dispatch - decodes line, finds its verb in table (n rows) and calls it; what does not
 * decode, or is not there, is answered with exit 1 and the reason. ERR_NOMEM or ERR_TOO_LARGE when
 * not even that could be written. */
MUST_USE enum err control_dispatch(const struct control_verb *table, size_t n, void *ctx,
                                   struct slice line, uint64_t token, struct control_reply *reply);

/* control_cut - cuts one line (without its newline) off *in: ERR_AGAIN when there is no whole one
 * yet, ERR_TOO_LARGE when more than CONTROL_REQUEST_MAX bytes came without one. */
MUST_USE enum err control_cut(struct slice *in, struct slice *ret_line);

/* What a client makes of an answer line. */
struct control_answer {
    json_t *line; /* the object; owned by the answer */
    bool is_done;
    int exit_code;     /* of the final line */
    const char *error; /* NULL, or of the final line; borrows from line */
    const char *text;  /* NULL, or what a person is shown; borrows from line */
};
MUST_USE enum err control_answer_decode(struct slice line, struct control_answer *ret);
void control_answer_done(struct control_answer *a);

#endif
