#include "net/ws.h"

#include <wslay/wslay.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "net/ws_private.h"
#include "wire/http1/request.h"

enum {
    CONTROL_MAX = 125, /* SPEC: RFC6455 5.5 */
    MASK_BYTES = 4,
    MINUTE_MS = 60 * 1000,
    FIN = 0x80,
    MASKED = 0x80
};

enum ws_state { WS_REQUEST, WS_OPEN, WS_OVER };

struct ws {
    const struct ws_rules *rules; /* of a server */
    const struct tls *own;        /* of its listener */
    struct ws_client *client;     /* NULL: a server */
    uint64_t frame_max;
    enum ws_state state;
    enum err failed;
    const char *error; /* static */
    struct buf head;   /* of the request, until it is judged */
    struct buf ends;   /* uint32_t each: of messages in what ws_input gave */
    struct ws_answer answer;
    bool request_waits, answer_waits, pong_waits, close_waits, close_delayed;
    uint16_t close_code; /* 0: none */

    wslay_frame_context_ptr frames; /* NULL between frames */
    struct slice in;                /* not yet lent to the library; empty between calls */
    size_t n_lent;                  /* that the library holds of a head that is not complete */
    bool in_frame, in_message;
    uint8_t opcode;    /* of the frame that is half there */
    uint64_t frame_at; /* of its payload */
    uint8_t control[CONTROL_MAX];
    size_t control_n;

    uint64_t idle_from_ms; /* start of the minute being counted */
    uint32_t n_idle;
};

enum err ws_new(const struct ws_rules *rules, const struct tls *own, struct ws **ret)
{
    struct ws *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->rules = rules;
    w->own = own;
    w->frame_max = rules->frame_max;
    w->error = "";
    *ret = w;
    return OK;
}

enum err ws_client_new(const struct ws_target *target, const struct random_source *random,
                       uint64_t frame_max, struct ws **ret)
{
    AUTO(ws_autofree) struct ws *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->frame_max = frame_max;
    w->error = "";
    TRY(ws_client_begin(target, random, &w->client));
    w->request_waits = true;
    *ret = TAKE(w);
    return OK;
}

static void frames_drop(struct ws *w)
{
    if (w->frames != NULL) {
        wslay_frame_context_free(w->frames);
        w->frames = NULL;
    }
}

struct ws *ws_free(struct ws *w)
{
    if (w == NULL) {
        return NULL;
    }
    frames_drop(w);
    buf_done(&w->head);
    buf_done(&w->ends);
    mem_free(w->client);
    return mem_free(w);
}

/* ---- the end ---- */

static void over(struct ws *w, enum err e, const char *text)
{
    w->state = WS_OVER;
    w->failed = e;
    w->error = text;
    w->in = (struct slice){0};
    w->pong_waits = false;
    frames_drop(w);
    buf_done(&w->head);
}

static void refuse(struct ws *w, unsigned status, const char *why)
{
    w->answer = (struct ws_answer){.status = status, .why = why};
    w->answer_waits = true;
    over(w, ERR_PROTOCOL, why);
}

static void close_with(struct ws *w, unsigned code)
{
    w->close_waits = true;
    w->close_code = (uint16_t)code;
}

static void fail(struct ws *w, enum err e, unsigned code, const char *text)
{
    over(w, e, text);
    close_with(w, code);
}

void ws_close(struct ws *w)
{
    bool has_begun = w->head.n > 0;
    switch (w->state) {
    case WS_REQUEST:
        if (has_begun && w->client == NULL) {
            refuse(w, WS_TIMED_OUT, "the upgrade request did not come in time");
        }
        break;
    case WS_OPEN:
        over(w, ERR_CLOSED, "");
        close_with(w, WSLAY_CODE_NORMAL_CLOSURE);
        break;
    case WS_OVER:
        break;
    }
    w->state = WS_OVER;
}

/* ---- the request, or the answer to ours ---- */

/* Of a client: there is nobody to be told but its owner. */
static void take_answer(struct ws *w, struct slice head)
{
    unsigned status = 0;
    const char *why = ws_client_judge(w->client, head, &status);
    if (why != NULL) {
        w->answer.status = status;
        over(w, ERR_PROTOCOL, why);
        return;
    }
    w->state = WS_OPEN;
    buf_done(&w->head);
}

/* Gives what came behind it. */
static struct slice take_request(struct ws *w, struct slice in)
{
    size_t before = w->head.n, n = 0;
    if (buf_append(&w->head, slice_head(in, HTTP1_HEAD_MAX - before), HTTP1_HEAD_MAX) != OK) {
        over(w, ERR_NOMEM, "no memory for the upgrade request");
        return (struct slice){0};
    }
    struct slice got = buf_slice(&w->head);
    enum err e = http1_head_find(got, before, &n);
    if (w->client != NULL && (e != ERR_AGAIN || w->head.n == HTTP1_HEAD_MAX)) {
        take_answer(w, e == OK ? slice_head(got, n) : (struct slice){0});
        return w->state == WS_OPEN ? slice_from(in, n - before) : (struct slice){0};
    }
    if (e == ERR_AGAIN && w->client != NULL) {
        return (struct slice){0};
    }
    if (e == ERR_AGAIN) {
        if (got.n > 0 && (got.p[0] < ' ' || got.p[0] > '~')) {
            /* MQTT or TLS: without a line end to come, its client would only wait. */
            refuse(w, 400, ws_no_request(w->rules));
        } else if (slice_find(slice_head(got, HTTP1_LINE_MAX + 1), '\r') > HTTP1_LINE_MAX) {
            refuse(w, 414, "the request line is too long");
        } else if (w->head.n == HTTP1_HEAD_MAX) {
            refuse(w, 431, "the header of the request is too large");
        }
        return (struct slice){0};
    }
    ws_upgrade_judge(w->rules, w->own, e == OK ? slice_head(got, n) : (struct slice){0},
                     &w->answer);
    if (w->answer.status != WS_SWITCHING) {
        refuse(w, w->answer.status, w->answer.why);
        return (struct slice){0};
    }
    w->answer_waits = true;
    w->state = WS_OPEN;
    buf_done(&w->head);
    return slice_from(in, n - before);
}

/* ---- frames ---- */

static ssize_t lend(uint8_t *dst, size_t cap, int flags, void *ctx)
{
    struct ws *w = ctx;
    (void)flags;
    struct slice piece = slice_head(w->in, cap);
    if (piece.n == 0) {
        return -1; /* to the library: later */
    }
    slice_copy(dst, piece);
    w->in = slice_from(w->in, piece.n);
    w->n_lent += piece.n;
    return (ssize_t)piece.n;
}

/* Frames that bring MQTT nothing would escape every budget that counts what MQTT gets. */
static bool may_idle(struct ws *w, uint64_t now_ms)
{
    if (now_ms - w->idle_from_ms >= MINUTE_MS) {
        w->idle_from_ms = now_ms;
        w->n_idle = 0;
    }
    w->n_idle++;
    return w->n_idle <= WS_IDLE_FRAMES_PER_MIN;
}

/* Whose payload matters. */
static bool is_kept(uint8_t opcode)
{
    return opcode == WSLAY_PING || opcode == WSLAY_CONNECTION_CLOSE;
}

static bool is_coap(const struct ws *w)
{
    return w->client != NULL ? ws_client_is_coap(w->client) : w->rules->is_coap;
}

/* What the library does not check: it hands out every frame it can tell from the next. */
static void begin_frame(struct ws *w, const struct wslay_frame_iocb *f, uint64_t now_ms)
{
    bool is_control = wslay_is_ctrl_frame(f->opcode);
    bool is_data = f->opcode == WSLAY_BINARY_FRAME || f->opcode == WSLAY_CONTINUATION_FRAME;
    if ((f->mask == 0) != (w->client != NULL)) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR,
             w->client == NULL ? "a WebSocket frame of a client must be masked"
                               : "a WebSocket frame of a server must not be masked");
        /* SPEC: RFC6455 5.1 */
    } else if (f->rsv != 0) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR,
             "a WebSocket frame has a reserved bit, and no extension was agreed on");
    } else if (f->opcode == WSLAY_TEXT_FRAME) {
        /* SPEC: MQTT-6.0.0-1 */
        fail(w, ERR_PROTOCOL, WSLAY_CODE_UNSUPPORTED_DATA,
             is_coap(w) ? "a WebSocket text frame came; CoAP is sent in binary frames"
                        : "a WebSocket text frame came; MQTT is sent in binary frames");
    } else if (!is_data && f->opcode != WSLAY_CONNECTION_CLOSE && f->opcode != WSLAY_PING &&
               f->opcode != WSLAY_PONG) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR, "a WebSocket frame of an unknown kind");
    } else if (is_data && (f->opcode == WSLAY_CONTINUATION_FRAME) != w->in_message) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR,
             "a WebSocket message begins inside of another, or goes on and never began");
    } else if (f->payload_length > w->frame_max) {
        fail(w, ERR_TOO_LARGE, WSLAY_CODE_MESSAGE_TOO_BIG,
             "a WebSocket frame is larger than packet_bytes");
    } else if ((is_control || f->payload_length == 0) && !may_idle(w, now_ms)) {
        fail(w, ERR_QUOTA, WSLAY_CODE_POLICY_VIOLATION,
             "too many WebSocket frames that carry nothing");
    }
    if (w->state == WS_OPEN) {
        w->in_frame = true;
        w->opcode = f->opcode;
        w->frame_at = 0;
        if (is_kept(f->opcode)) {
            w->control_n = 0;
            w->pong_waits = false; /* its bytes make place for this one's */
        }
        w->in_message = is_data ? f->fin == 0 : w->in_message;
    }
}

/* SPEC: RFC6455 7.4.1, 7.4.2 */
static bool is_close_code(unsigned code)
{
    return (code >= 3000 && code <= 4999) || (code >= 1000 && code <= 1003) ||
           (code >= 1007 && code <= 1014);
}

static void take_close(struct ws *w)
{
    struct rd r = rd_from(slice_of(w->control, w->control_n));
    unsigned code = w->control_n > 0 ? rd_u16(&r) : 0;
    if (!rd_ok(&r) || (w->control_n > 0 && !is_close_code(code))) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR,
             "a WebSocket close with a code that nobody may send");
        return;
    }
    fail(w, ERR_CLOSED, code, "");
}

/* Where a message ends is told only where it matters: MQTT's packets know their length. */
static void end_message(struct ws *w, size_t at)
{
    uint32_t end = (uint32_t)at;
    if (buf_append(&w->ends, slice_of(&end, sizeof(end)), SIZE_MAX) != OK) {
        fail(w, ERR_NOMEM, WSLAY_CODE_INTERNAL_SERVER_ERROR, "no memory for a WebSocket frame");
    }
}

static void end_frame(struct ws *w, size_t at)
{
    bool is_data = !wslay_is_ctrl_frame(w->opcode);
    w->in_frame = false;
    if (is_data && !w->in_message && is_coap(w)) {
        end_message(w, at);
    }
    switch (w->opcode) {
    case WSLAY_CONNECTION_CLOSE:
        take_close(w);
        break;
    case WSLAY_PING:
        w->pong_waits = true;
        break;
    default: /* data has been given already; a pong was asked for by nobody */
        break;
    }
}

static void take_payload(struct ws *w, struct slice piece, struct wr *out)
{
    w->frame_at += piece.n;
    if (is_kept(w->opcode)) {
        assert(piece.n <= CONTROL_MAX - w->control_n); /* the library refuses larger ones */
        slice_copy(&w->control[w->control_n], piece);
        w->control_n += piece.n;
    } else if (!wslay_is_ctrl_frame(w->opcode)) {
        wr_bytes(out, piece);
    }
}

static size_t head_bytes(const struct ws *w, uint64_t payload)
{
    return 2u + (w->client == NULL ? MASK_BYTES : 0u) +
           (payload < 126           ? 0u
            : payload <= UINT16_MAX ? 2u
                                    : 8u);
}

/* One frame, or what there is of it. False: no more can be done now. */
static bool step(struct ws *w, struct wr *out, uint64_t now_ms)
{
    struct wslay_frame_iocb f = {0};
    ssize_t n = wslay_frame_recv(w->frames, &f);
    if (n == WSLAY_ERR_WANT_READ) {
        return false;
    }
    if (n < 0) {
        fail(w, ERR_PROTOCOL, WSLAY_CODE_PROTOCOL_ERROR, "a WebSocket frame is malformed");
        return false;
    }
    if (!w->in_frame) {
        begin_frame(w, &f, now_ms);
        if (w->state != WS_OPEN) {
            return false;
        }
        w->n_lent -= head_bytes(w, f.payload_length);
    }
    w->n_lent -= f.data_length;
    take_payload(w, slice_of(f.data, f.data_length), out);
    if (w->frame_at == f.payload_length) {
        end_frame(w, out->at);
    }
    return w->state == WS_OPEN;
}

static bool frames_need(struct ws *w)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = lend};
    if (w->frames == NULL && wslay_frame_context_init(&w->frames, &callbacks, w) != 0) {
        w->frames = NULL;
        fail(w, ERR_NOMEM, WSLAY_CODE_INTERNAL_SERVER_ERROR, "no memory for a WebSocket frame");
    }
    return w->frames != NULL;
}

struct slice ws_input(struct ws *w, uint8_t *bytes, size_t n, uint64_t now_ms)
{
    w->in = slice_of(bytes, n);
    buf_done(&w->ends);
    if (w->state == WS_REQUEST) {
        w->in = take_request(w, w->in);
    }
    /* In place: the library copies before it decodes, and heads make the data shorter. */
    struct wr out = wr_into(bytes, n);
    if (w->state == WS_OPEN && w->in.n > 0 && frames_need(w)) {
        while (step(w, &out, now_ms)) {
            assert(out.at + w->in.n <= n);
        }
        if (w->state == WS_OPEN && !w->in_frame && w->n_lent == 0) {
            frames_drop(w);
        }
    }
    w->in = (struct slice){0};
    return wr_slice(&out);
}

const uint32_t *ws_ends(const struct ws *w, size_t *ret_n)
{
    *ret_n = w->ends.n / sizeof(uint32_t);
    return (const uint32_t *)(const void *)w->ends.p; /* the heap's: aligned for any type */
}

/* ---- what leaves ---- */

static void put_head(struct wr *w, uint8_t opcode, uint64_t n, uint8_t masked)
{
    wr_u8(w, (uint8_t)(FIN | opcode));
    if (n < 126) {
        wr_u8(w, (uint8_t)(masked | n));
    } else if (n <= UINT16_MAX) {
        wr_u8(w, masked | 126);
        wr_u16(w, (uint16_t)n);
    } else {
        wr_u8(w, masked | 127);
        wr_u64(w, n);
    }
}

size_t ws_frame_head(uint64_t n, uint8_t dst[WS_FRAME_HEAD_BYTES])
{
    struct wr w = wr_into(dst, WS_FRAME_HEAD_BYTES);
    put_head(&w, WSLAY_BINARY_FRAME, n, 0);
    return w.at;
}

bool ws_is_client(const struct ws *w)
{
    return w->client != NULL;
}

static void put_masked(struct ws *w, struct wr *out, uint8_t opcode, struct slice payload)
{
    uint8_t mask[MASK_BYTES];
    ws_client_mask(w->client, mask);
    put_head(out, opcode, payload.n, MASKED);
    wr_bytes(out, slice_of(mask, MASK_BYTES));
    for (size_t i = 0; i < payload.n; i++) {
        wr_u8(out, payload.p[i] ^ mask[i % MASK_BYTES]);
    }
}

size_t ws_client_frame(struct ws *w, struct slice data, uint8_t dst[WS_CLIENT_FRAME_BYTES])
{
    struct wr out = wr_into(dst, WS_CLIENT_FRAME_BYTES);
    assert(data.n <= WS_CLIENT_CHUNK);
    put_masked(w, &out, WSLAY_BINARY_FRAME, data);
    assert(wr_ok(&out));
    return out.at;
}

static void put_control(struct ws *w, struct wr *out, uint8_t opcode, struct slice payload)
{
    if (w->client != NULL) {
        put_masked(w, out, opcode, payload);
        return;
    }
    put_head(out, opcode, payload.n, 0);
    wr_bytes(out, payload);
}

size_t ws_output(struct ws *w, uint8_t *dst, size_t cap)
{
    struct wr out = wr_into(dst, cap);
    assert(cap >= WS_OUTPUT_BYTES);
    if (w->request_waits) {
        wr_bytes(&out, ws_client_request(w->client));
    }
    if (w->answer_waits) {
        out.at += ws_upgrade_encode(&w->answer, dst, cap);
    }
    if (w->pong_waits) {
        put_control(w, &out, WSLAY_PONG, slice_of(w->control, w->control_n));
    }
    if (w->close_waits && !w->close_delayed) {
        uint8_t code[2];
        struct wr c = wr_into(code, sizeof(code));
        wr_u16(&c, w->close_code);
        put_control(w, &out, WSLAY_CONNECTION_CLOSE,
                    w->close_code != 0 ? wr_slice(&c) : (struct slice){0});
    }
    assert(wr_ok(&out));
    w->request_waits = w->answer_waits = w->pong_waits = false;
    w->close_waits = w->close_waits && w->close_delayed;
    return out.at;
}

/* ---- queries ---- */

enum err ws_failure(const struct ws *w)
{
    return w->failed;
}

const char *ws_error(const struct ws *w)
{
    return w->error;
}

unsigned ws_status(const struct ws *w)
{
    return w->state == WS_OVER && w->answer.status != WS_SWITCHING ? w->answer.status : 0;
}

void ws_delay_close(struct ws *w, bool is_delayed)
{
    w->close_delayed = is_delayed;
}

bool ws_is_writable(const struct ws *w)
{
    return w->state == WS_OPEN || (w->close_waits && w->close_delayed);
}

bool ws_is_open(const struct ws *w)
{
    return w->state == WS_OPEN;
}

bool ws_is_over(const struct ws *w)
{
    return w->state == WS_OVER;
}
