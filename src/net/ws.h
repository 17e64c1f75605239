/*
 * ws - one side of a WebSocket connection, without I/O: HTTP/1.1 upgrade, then frames. The server's
 * side, or that of our own clients (ws_client_new).
 *
 *   REQUEST --good request--> OPEN --Close either way--> OVER
 *      +-----anything else------> OVER <--wrong frame------+
 *
 * What MQTT sees are the payloads of the binary frames, one after the other. An idle connection
 * holds no buffer: the library's context lives only while a frame is half there.
 * SPEC: RFC6455 4.2, 5, 7.
 */
#ifndef NET_WS_H
#define NET_WS_H

#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"

enum {
    WS_FRAME_HEAD_BYTES = 10,     /* the most that stands before a payload of ours */
    WS_OUTPUT_BYTES = 2048,       /* room for what ws_output says in one call */
    WS_IDLE_FRAMES_PER_MIN = 600, /* control frames, and data frames without data */
    WS_TIMED_OUT = 408,
    WS_CLIENT_CHUNK = 16 * 1024,                  /* the most in one frame of a client of ours */
    WS_CLIENT_FRAME_BYTES = WS_CLIENT_CHUNK + 14, /* with its head and mask */
    WS_TARGET_PATH_MAX = 1024
};

/* What a listener asks of its clients. Immutable; outlives their connections. */
struct ws_rules {
    struct slice path;           /* "/mqtt" */
    const struct slice *origins; /* the browsers' pages that may connect; others may not, but for
                                  * pages of this very listener, by TLS and under its own name */
    size_t n_origins;
    uint64_t frame_max; /* bytes of one frame's payload */
    bool is_coap;       /* the subprotocol is coap instead of mqtt, and ws_ends are kept */
};

struct tls;
struct ws;

/* ws_new - borrows both for life; gives. `own` is the listener's TLS, NULL on a plain one.
 * ERR_NOMEM.
 */
MUST_USE enum err ws_new(const struct ws_rules *rules, const struct tls *own, struct ws **ret);

/* Whom a client of ours asks, in the words of its request. Borrowed for ws_client_new. */
struct ws_target {
    const char *host; /* at most 255 bytes; an IPv6 address without brackets */
    uint16_t port;
    const char *path; /* "/mqtt": printable ASCII without blanks, up to WS_TARGET_PATH_MAX */
    bool is_coap;     /* the subprotocol is coap instead of mqtt, and ws_ends are kept */
};

/* ws_client_new - the client's side: its request waits in ws_output, and it is open when the answer
 * was right. Gives. ERR_MALFORMED: a target that no request can hold; ERR_NOMEM, ERR_CRYPTO.
 * SPEC: RFC6455 4.1. */
MUST_USE enum err ws_client_new(const struct ws_target *target, const struct random_source *random,
                                uint64_t frame_max, struct ws **ret);
bool ws_is_client(const struct ws *w);
/* ws_client_frame - data (at most WS_CLIENT_CHUNK) as a masked frame: its size. SPEC: RFC6455 5.3
 */
size_t ws_client_frame(struct ws *w, struct slice data, uint8_t dst[WS_CLIENT_FRAME_BYTES]);
struct ws *ws_free(struct ws *w);
AUTOFREE(ws, ws_free)

/*
 * ws_input - takes what was received; gives the client's data out of it
 *
 * bytes  n received bytes; decoded in place: the data that is returned lies in them.
 *
 * After the call look at ws_failure (data may come with it) and ws_output. When it is OVER, nothing
 * is looked at any more and nothing returned. O(n). SPEC: MQTT-6.0.0-1, MQTT-6.0.0-2.
 */
struct slice ws_input(struct ws *w, uint8_t *bytes, size_t n, uint64_t now_ms);

/* ws_ends - with is_coap of the rules, or of the target: where messages end in what the last
 * ws_input gave, ascending; what is behind the last one goes on in the next call. Borrows. SPEC:
 * RFC8323 4.2 */
const uint32_t *ws_ends(const struct ws *w, size_t *ret_n);

/* ws_failure - why it is OVER; OK before.
 * ERR_CLOSED    the client closed it
 * ERR_PROTOCOL  the request was refused (ws_status), or a frame may not come like this
 * ERR_TOO_LARGE a frame over frame_max
 * ERR_QUOTA     more than WS_IDLE_FRAMES_PER_MIN
 * ERR_NOMEM */
enum err ws_failure(const struct ws *w);
/* ws_error - the same in words, without the peer's bytes; "" when nothing failed. Static. */
const char *ws_error(const struct ws *w);
/* ws_status - the HTTP status that the request, also ours, was refused with; 0: it was not. */
unsigned ws_status(const struct ws *w);

/* ws_output - copies what it has to say itself (the answer to the request, a pong, a close) and
 * forgets it; 0: nothing. cap is WS_OUTPUT_BYTES or more. The newest ping of those that were not
 * answered is answered. */
size_t ws_output(struct ws *w, uint8_t *dst, size_t cap);
/* ws_frame_head - what stands before n bytes of data of ours: writes it to dst, gives its size.
 * SPEC: MQTT-6.0.0-1. */
size_t ws_frame_head(uint64_t n, uint8_t dst[WS_FRAME_HEAD_BYTES]);
/* ws_close - from now it is OVER; a close, or the answer 408 to a request that began and did not
 * end, waits in ws_output. Nothing when it is OVER already. */
void ws_close(struct ws *w);

/* ws_delay_close - of a server: while delayed, the close of what is OVER is not in ws_output, so
 * that data of ours, answers to what came before the end, can still go in front of it. */
void ws_delay_close(struct ws *w, bool is_delayed);

bool ws_is_open(const struct ws *w);
/* ws_is_writable - data of ours may leave: it is open, or its close is delayed. */
bool ws_is_writable(const struct ws *w);
bool ws_is_over(const struct ws *w);

#endif
