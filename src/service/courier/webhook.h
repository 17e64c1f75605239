/*
 * webhook - what a courier says to a receiver that takes records by HTTPS, and what its answer
 * means. Pure: bytes in, bytes out.
 *
 *     POST PATH HTTP/1.1
 *     Content-Type: application/json
 *     Sallyport-Timestamp: 1795334400          seconds since 1970, when it was sent
 *     Sallyport-Signature: sha256=HEX          HMAC-SHA-256 of the secret over: timestamp "." body
 *
 *     {"sink":"soc","host":"plant","first":41,"last":42,"records":[{...},{...}]}
 *
 * One request at a time, the oldest records first; the next one only after a 2xx. first and last
 * are numbers in the chain, so what comes again overlaps what came; a record has its number and
 * leaf itself.
 */
#ifndef SERVICE_COURIER_WEBHOOK_H
#define SERVICE_COURIER_WEBHOOK_H

#include "base/buf.h"
#include "base/err.h"

enum {
    WEBHOOK_SECRET_MIN = 32, /* characters */
    WEBHOOK_SECRET_MAX = 1024,
    WEBHOOK_REQUEST_MAX = 256 * 1024,
    WEBHOOK_ANSWER_MAX = 64 * 1024,
    WEBHOOK_URL_BYTES = 256,
    WEBHOOK_RETRY_MAX_S = 300, /* Retry-After is held to so much */
    WEBHOOK_REFUSED_S = 60     /* until a receiver that refuses is asked again */
};

/* "https://host:port/path" taken apart. Borrows. */
struct webhook_url {
    struct slice authority; /* "[2001:db8::7]:8443", as it goes into Host */
    struct slice host;      /* "2001:db8::7" */
    uint16_t port;          /* 443 where none is named */
    struct slice path;      /* "/" at least */
};

/* webhook_url_read - ERR_MALFORMED with *ret_why, static: what is wrong, and what would be right.
 */
MUST_USE enum err webhook_url_read(struct slice text, struct webhook_url *ret,
                                   const char **ret_why);

/* webhook_secret_read - the first line of a file, which must hold nothing else, without its end;
 * borrows. ERR_MALFORMED: shorter or longer than it may be, or more lines. */
MUST_USE enum err webhook_secret_read(struct slice file, struct slice *ret);

struct webhook_request {
    const char *url;         /* as webhook_url_read takes */
    const char *sink, *host; /* names of the sink and of this server */
    struct slice secret;
    uint64_t first, last; /* numbers of the first and last record */
    struct slice lines;   /* one JSON object a line */
    int64_t wall_ms;
};

/* webhook_request_write - all of one request, appended. ERR_NOMEM, ERR_TOO_LARGE, ERR_CRYPTO,
 * ERR_MALFORMED (url). */
MUST_USE enum err webhook_request_write(const struct webhook_request *r, struct buf *ret);

enum webhook_verdict {
    WEBHOOK_TAKEN,  /* 2xx */
    WEBHOOK_LATER,  /* 408, 429, 5xx: trouble that passes */
    WEBHOOK_REFUSED /* what does not pass by waiting: other 4xx, and 3xx, which is not followed */
};

struct webhook_answer {
    unsigned status;
    enum webhook_verdict verdict;
    uint32_t retry_after_s; /* as it asked, at most WEBHOOK_RETRY_MAX_S; 0: it did not */
    bool may_stay;          /* all of it is here, and the connection takes another request */
    size_t n;               /* its bytes, of those that came */
};

/* webhook_answer_read - of all that came. ERR_AGAIN: not complete; ERR_MALFORMED, ERR_TOO_LARGE,
 * ERR_LIMIT, ERR_UNSUPPORTED: no answer of HTTP/1.1. Answers 1xx are passed over. */
MUST_USE enum err webhook_answer_read(struct slice in, struct webhook_answer *ret);
/* webhook_answer_text - for the event: what it answered and what to do; static. */
const char *webhook_answer_text(const struct webhook_answer *a);

#endif
