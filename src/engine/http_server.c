#include "engine/http_server.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wr.h"

enum state {
    STATE_HEAD,  /* a head is due */
    STATE_BODY,  /* its body */
    STATE_ASKED, /* the caller has the request */
    STATE_ENDED
};

struct http_server {
    struct http_limits limits;
    enum state state;
    struct buf in;         /* of the request under way; heads and bodies of one at a time */
    size_t looked;         /* of `in`, for the end of the head */
    size_t n_head, n_body; /* of the request, while BODY or ASKED */
    struct http_request request;
    struct buf out;
    unsigned n_requests;
    unsigned refused;
    const char *why;
    uint64_t until_ms; /* of what is under way; UINT64_MAX: nothing is */
    bool is_last;      /* the client said Connection: close, or has had all it gets */
};

const char *http_status_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } table[] = {{200, "OK"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {411, "Length Required"},
                 {413, "Content Too Large"},
                 {414, "URI Too Long"},
                 {415, "Unsupported Media Type"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (table[i].status == status) {
            return table[i].phrase;
        }
    }
    return "Status";
}

enum err http_server_new(const struct http_limits *limits, uint64_t now_ms,
                         struct http_server **ret)
{
    struct http_server *h = mem_zalloc(sizeof *h);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    h->limits = *limits;
    h->until_ms = now_ms + limits->idle_ms;
    *ret = h;
    return OK;
}

struct http_server *http_server_free(struct http_server *h)
{
    if (h != NULL) {
        buf_wipe(&h->in); /* passwords and tokens came in it */
        buf_done(&h->out);
        mem_free(h);
    }
    return NULL;
}

static void end(struct http_server *h)
{
    h->state = STATE_ENDED;
    h->until_ms = UINT64_MAX;
    buf_wipe(&h->in);
}

void http_server_close(struct http_server *h)
{
    end(h);
}

/* ---- answers ---- */

static enum err put(struct http_server *h, const char *name, const char *value)
{
    TRY(buf_append(&h->out, slice_text(name), h->limits.answer_bytes));
    TRY(buf_append(&h->out, slice_text(": "), h->limits.answer_bytes));
    TRY(buf_append(&h->out, slice_text(value), h->limits.answer_bytes));
    return buf_append(&h->out, slice_text("\r\n"), h->limits.answer_bytes);
}

/* An answer to HEAD ends with its head: what follows would be taken for the next answer.
 * SPEC: RFC9110 9.3.2, RFC9112 6.3 */
static bool is_bodiless(const struct http_server *h)
{
    return h->state == STATE_ASKED && slice_is(h->request.head.method, "HEAD");
}

static enum err put_answer(struct http_server *h, const struct http_answer *a, bool is_last)
{
    bool has_body = a->type != NULL && !is_bodiless(h);
    char text[64];
    (void)snprintf(text, sizeof text, "HTTP/1.1 %u %s\r\n", a->status,
                   http_status_phrase(a->status));
    TRY(buf_append(&h->out, slice_text(text), h->limits.answer_bytes));
    if (a->type != NULL) {
        TRY(put(h, "Content-Type", a->type));
    }
    if (a->status != 204 && !is_bodiless(h)) {
        (void)snprintf(text, sizeof text, "%zu", a->type != NULL ? a->body.n : 0);
        TRY(put(h, "Content-Length", text)); /* SPEC: RFC9112 6.3 */
    }
    for (size_t i = 0; i < HTTP_EXTRA_FIELDS_MAX && a->fields[i].name != NULL; i++) {
        TRY(put(h, a->fields[i].name, a->fields[i].value));
    }
    TRY(put(h, "Cache-Control", "no-store"));
    if (is_last) {
        TRY(put(h, "Connection", "close")); /* SPEC: RFC9112 9.6 */
    }
    TRY(buf_append(&h->out, slice_text("\r\n"), h->limits.answer_bytes));
    return has_body ? buf_append(&h->out, a->body, h->limits.answer_bytes) : OK;
}

/* What cannot be read has no end that could be found: it is the last word. */
static enum err refuse(struct http_server *h, unsigned status, const char *why)
{
    char text[HTTP_TEXT_BYTES];
    size_t before = h->out.n;
    (void)snprintf(text, sizeof text, "%s.\n", why);
    struct http_answer a = {.status = status, .type = "text/plain", .body = slice_text(text)};
    h->refused = status;
    h->why = why;
    end(h);
    if (put_answer(h, &a, true) != OK) {
        h->out.n = before;
    }
    return ERR_AGAIN;
}

enum err http_server_answer(struct http_server *h, const struct http_answer *a, uint64_t now_ms)
{
    assert(h->state == STATE_ASKED);
    size_t before = h->out.n;
    bool is_last = h->is_last || a->close;
    enum err err = put_answer(h, a, is_last);
    if (err != OK) {
        h->out.n = before;
        end(h);
        return err;
    }
    if (is_last) {
        end(h);
        return OK;
    }
    size_t used = h->n_head + h->n_body;
    mem_wipe(h->in.p, used);
    buf_drop(&h->in, used);
    h->state = STATE_HEAD;
    h->looked = 0;
    h->until_ms = now_ms + (h->in.n > 0 ? h->limits.request_ms : h->limits.idle_ms);
    return OK;
}

/* ---- requests ---- */

/* One length, in digits, and nothing that would let somebody else read another one.
 * SPEC: RFC9112 6.2, 6.3 */
static enum err body_length(struct http_server *h, size_t *ret)
{
    struct slice text;
    *ret = 0;
    const struct http1_request *r = &h->request.head;
    if (http1_request_count(r, "Transfer-Encoding") > 0) {
        return refuse(h, 411, "bodies in chunks are not taken: send a Content-Length");
    }
    if (!http1_request_find(r, "Content-Length", &text)) {
        return OK;
    }
    if (http1_request_count(r, "Content-Length") != 1 || text.n == 0 || text.n > 9) {
        return refuse(h, 400, "Content-Length must be there once, with a number");
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return refuse(h, 400, "Content-Length must be there once, with a number");
        }
        *ret = *ret * 10 + (size_t)(text.p[i] - '0');
    }
    if (*ret > h->limits.body_bytes) {
        return refuse(h, 413, "the body is larger than what is taken here");
    }
    return OK;
}

static enum err take_head(struct http_server *h)
{
    struct slice head = slice_head(buf_slice(&h->in), h->n_head);
    struct http1_request *r = &h->request.head;
    bool is_old = false;
    enum err err = http1_request_decode_old(head, r, &is_old);
    switch ((unsigned)err) {
    case OK:
        break;
    case ERR_TOO_LARGE:
        return refuse(h, 414, "the request line is too long");
    case ERR_LIMIT:
        return refuse(h, 431, "the head has too many fields");
    case ERR_UNSUPPORTED:
        return refuse(h, 505, "only HTTP/1.1 and 1.0 are spoken here");
    default:
        return refuse(h, 400, "this is no request of HTTP/1.1");
    }
    size_t n_hosts = http1_request_count(r, "Host");
    if (n_hosts != 1 && !(is_old && n_hosts == 0)) { /* SPEC: RFC9112 3.2 */
        return refuse(h, 400, "a request names its host once");
    }
    TRY(body_length(h, &h->n_body));
    bool more = false;
    struct slice target = r->target;
    h->request.path = slice_cut(&target, '?', &more);
    h->request.query = target;
    h->is_last = is_old || http1_request_lists(r, "Connection", "close", false) ||
                 ++h->n_requests >= h->limits.requests;
    h->state = STATE_BODY;
    /* SPEC: RFC9110 10.1.1 */
    if (h->in.n == h->n_head && h->n_body > 0 && !is_old &&
        http1_request_lists(r, "Expect", "100-continue", false) &&
        buf_append(&h->out, slice_text("HTTP/1.1 100 Continue\r\n\r\n"), h->limits.answer_bytes) !=
            OK) {
        end(h);
        return ERR_NOMEM;
    }
    return OK;
}

/* The head is decoded again: the bytes it borrows from may have moved since. */
static enum err complete(struct http_server *h, const struct http_request **ret)
{
    struct slice all = buf_slice(&h->in);
    bool is_old;
    enum err err = http1_request_decode_old(slice_head(all, h->n_head), &h->request.head, &is_old);
    assert(err == OK);
    bool more = false;
    struct slice target = h->request.head.target;
    h->request.path = slice_cut(&target, '?', &more);
    h->request.query = target;
    h->request.body = slice_head(slice_from(all, h->n_head), h->n_body);
    h->state = STATE_ASKED;
    h->until_ms = UINT64_MAX; /* from here on it is the caller's time */
    *ret = &h->request;
    return OK;
}

static enum err find_head(struct http_server *h)
{
    enum err err = http1_head_find(buf_slice(&h->in), h->looked, &h->n_head);
    h->looked = h->in.n;
    if (err == ERR_AGAIN && h->in.n >= HTTP1_HEAD_MAX) {
        return refuse(h, 431, "the head is too long");
    }
    if (err == ERR_MALFORMED) {
        return refuse(h, 400, "this is no request of HTTP/1.1");
    }
    TRY(err);
    return take_head(h);
}

/* So much more may be kept: a head, and behind it the body that it announced. */
static size_t room(const struct http_server *h)
{
    size_t most = h->state == STATE_HEAD ? HTTP1_HEAD_MAX : h->n_head + h->n_body;
    return most > h->in.n ? most - h->in.n : 0;
}

enum err http_server_next(struct http_server *h, struct slice *in, uint64_t now_ms,
                          const struct http_request **ret)
{
    while (h->state == STATE_HEAD || h->state == STATE_BODY) {
        struct slice piece = slice_head(*in, room(h));
        if (piece.n > 0) {
            if (h->in.n == 0) {
                h->until_ms = now_ms + h->limits.request_ms;
            }
            if (buf_append(&h->in, piece, SIZE_MAX) != OK) {
                end(h);
                return ERR_NOMEM;
            }
            *in = slice_from(*in, piece.n);
        }
        if (h->state == STATE_BODY && h->in.n >= h->n_head + h->n_body) {
            return complete(h, ret);
        }
        if (h->state == STATE_BODY) {
            return ERR_AGAIN;
        }
        TRY(h->in.n > 0 ? find_head(h) : ERR_AGAIN);
    }
    return ERR_AGAIN;
}

bool http_server_wants_input(const struct http_server *h)
{
    return h->state == STATE_HEAD || h->state == STATE_BODY;
}

bool http_server_is_asked(const struct http_server *h)
{
    return h->state == STATE_ASKED;
}

/* ---- out, and time ---- */

size_t http_server_output(struct http_server *h, uint8_t *dst, size_t cap)
{
    struct slice s = slice_head(buf_slice(&h->out), cap);
    slice_copy(dst, s);
    if (s.n > 0) {
        buf_drop(&h->out, s.n);
    }
    if (h->out.n == 0) {
        buf_done(&h->out);
    }
    return s.n;
}

bool http_server_has_output(const struct http_server *h)
{
    return h->out.n > 0;
}

bool http_server_has_ended(const struct http_server *h)
{
    return h->state == STATE_ENDED;
}

bool http_server_is_finished(const struct http_server *h)
{
    return h->state == STATE_ENDED && h->out.n == 0;
}

uint64_t http_server_deadline(const struct http_server *h)
{
    return h->until_ms;
}

void http_server_tick(struct http_server *h, uint64_t now_ms)
{
    if (now_ms < h->until_ms) {
        return;
    }
    if (h->in.n == 0) {
        end(h);
        return;
    }
    (void)!refuse(h, 408, "the request did not come to its end in time");
}

unsigned http_server_refusal(const struct http_server *h, const char **ret_why)
{
    *ret_why = h->why != NULL ? h->why : "";
    return h->refused;
}
