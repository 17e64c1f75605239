/*
 * coap_channel - CoAP towards ONE peer over a reliable transport (TLS, WebSocket), as the side that
 * was connected to, or as a client of it (is_client).
 *
 * Bytes and time go in; requests come out, answers and notifications go back, bytes leave; requests
 * of ours go to the peer, and its answers come out. By itself it does the signals: CSM first on
 * both sides, Pong, Release, Abort, and a Ping when nothing was heard for long. No message ids, no
 * acknowledgements, nothing is sent twice.
 *
 *   CSM_AWAITED --CSM--> OPEN --Release--> RELEASED --all answered--> OVER
 *        +---- anything wrong, Abort, silence: from each of them ------> OVER
 *
 * When OVER nothing is read any more; what waits in the output may still leave. What a peer can
 * make it keep: one message that is half there (message_bytes), limits.n_exchanges requests,
 * limits.n_observations with one state each, limits.n_requests of ours without an answer, and
 * output up to COAP_CHANNEL_OUTPUT_BYTES and one answer more for each exchange. Over those bounds
 * it reads no further: the transport holds the rest back. SPEC: RFC8323; RFC8974 2.2.1.
 */
#ifndef ENGINE_COAP_CHANNEL_H
#define ENGINE_COAP_CHANNEL_H

#include "base/siphash.h"
#include "engine/coap_endpoint.h"
#include "wire/coap/tcp.h"

enum {
    COAP_CHANNEL_OUTPUT_BYTES = 64 * 1024, /* more that waits stops the reading */
    COAP_CHANNEL_PING_MS = 5 * 60 * 1000,  /* nothing heard for so long: is it still there? */
    COAP_CHANNEL_PONG_MS = 60 * 1000,      /* ... and so long an answer may take */
    COAP_CHANNEL_PEER_LEAST = 64,          /* a Max-Message-Size below this cannot be served */
    COAP_CHANNEL_BESIDE_BYTES = 128 + 32,  /* what a message has beside its payload */
    COAP_CHANNEL_WHY_BYTES = 96
};

enum coap_channel_end {
    COAP_CHANNEL_LIVES,
    COAP_CHANNEL_ENDED_HERE, /* coap_channel_close */
    COAP_CHANNEL_RELEASED,   /* the peer's Release; all it had asked is answered */
    COAP_CHANNEL_ABORTED,    /* the peer's Abort */
    COAP_CHANNEL_SILENT,     /* no Pong */
    /* Ours, each with an Abort: */
    COAP_CHANNEL_MALFORMED,
    COAP_CHANNEL_PROTOCOL,  /* no CSM first, a critical option of a signal that is not known */
    COAP_CHANNEL_TOO_LARGE, /* a message over message_bytes */
    COAP_CHANNEL_NO_MEMORY  /* nothing is sent: there is none for that */
};

struct coap_channel;

struct coap_channel_setup {
    const struct coap_limits *limits; /* borrows, for life */
    struct coap_counters *counters;   /* in/out, borrows, for life */
    enum coap_tcp_form form;
    uint32_t message_bytes;       /* the largest message that is taken: our Max-Message-Size */
    bool is_client;               /* its CSM leaves at once; it asks, and serves nothing (5.01) */
    struct siphash_key token_key; /* random; of a client */
};

/* coap_channel_new - gives. ERR_NOMEM. */
MUST_USE enum err coap_channel_new(const struct coap_channel_setup *setup, uint64_t now_ms,
                                   struct coap_channel **ret);
/* coap_channel_free - NULL is fine; returns NULL. */
struct coap_channel *coap_channel_free(struct coap_channel *c);
AUTOFREE(coap_channel, coap_channel_free)

/*
 * coap_channel_next - takes one message off *in, or the beginning of one; in a frame, *in is one
 * whole message
 *
 * *in   is moved behind what was taken; with COAP_TCP_STREAM what is half there is kept here.
 * *ret  written always. COAP_EVENT_REQUEST: answer it by its id; COAP_EVENT_RESPONSE: to a request
 *       of ours, COAP_EVENT_RESET: with an option that nobody here understands; the slices of m
 *       are valid until the next call. Else (m may be there, too: a request that was refused)
 * COAP_EVENT_NONE: call again while something is left in *in and coap_channel_wants_input.
 *
 * It does not fail: what is wrong ends the channel (coap_channel_ended). O(bytes).
 */
void coap_channel_next(struct coap_channel *c, struct slice *in, uint64_t now_ms,
                       struct coap_event *ret);
/* coap_channel_wants_input - false: leave the bytes where they are. */
bool coap_channel_wants_input(const struct coap_channel *c);

/* coap_channel_message_max - the largest message that is taken now: before its CSM everybody's base
 * value, so that a stranger has little to fill. */
uint32_t coap_channel_message_max(const struct coap_channel *c);

/* coap_channel_output - up to cap bytes that leave now; in frames, at most one message: cap must
 * hold it. */
size_t coap_channel_output(struct coap_channel *c, uint8_t *dst, size_t cap);
bool coap_channel_has_output(const struct coap_channel *c);

void coap_channel_tick(struct coap_channel *c, uint64_t now_ms);
uint64_t coap_channel_deadline(const struct coap_channel *c);

/* coap_channel_is_open - the peer's CSM has come. */
bool coap_channel_is_open(const struct coap_channel *c);
enum coap_channel_end coap_channel_ended(const struct coap_channel *c);
/* coap_channel_why - what was wrong, in our words; "" when nothing. Borrows. */
const char *coap_channel_why(const struct coap_channel *c);

/* coap_channel_close - from now it is OVER, by a Release (the peer has done nothing wrong) or an
 * Abort, with text as its diagnostic payload; behind a CSM, if none has left. Nothing when it is
 * OVER. */
void coap_channel_close(struct coap_channel *c, enum coap_signal signal, const char *text);

/* coap_channel_bytes - what its end would free. O(observations). */
size_t coap_channel_bytes(const struct coap_channel *c);
/* coap_channel_payload_max - the most that goes to the peer in one message beside all else, by its
 * Max-Message-Size. */
size_t coap_channel_payload_max(const struct coap_channel *c);

/* As coap_endpoint_respond, _drop, _observe, _notify and _unobserve, but that nothing is
 * acknowledged: ERR_TOO_LARGE is by the peer's Max-Message-Size. A state waits, and the latest
 * wins, while COAP_CHANNEL_OUTPUT_BYTES wait before it. Observe options are empty. SPEC: RFC8323
 * 7.1. */
MUST_USE enum err coap_channel_respond(struct coap_channel *c, uint32_t exchange,
                                       const struct coap_answer *answer);
MUST_USE enum err coap_channel_drop(struct coap_channel *c, uint32_t exchange);
MUST_USE enum err coap_channel_observe(struct coap_channel *c, uint32_t exchange, uint64_t key,
                                       uint64_t now_ms);
MUST_USE enum err coap_channel_notify(struct coap_channel *c, uint64_t key,
                                      const struct coap_answer *answer);
void coap_channel_unobserve(struct coap_channel *c, uint64_t key);

/* ---- as a client ---- */

/* coap_channel_request - ends with one COAP_EVENT_RESPONSE (or COAP_EVENT_RESET: an option that
 * we must understand, and do not) of coap_channel_next about *ret_id; an
 * observation that was accepted gives responses with is_notification until one without, or until
 * coap_channel_forget. ERR_AGAIN: not open yet; ERR_CLOSED; ERR_LIMIT: limits.n_requests are under
 * way, or as much waits in the output as may; ERR_TOO_LARGE: over the peer's Max-Message-Size;
 * ERR_MALFORMED, ERR_NOMEM. */
MUST_USE enum err coap_channel_request(struct coap_channel *c, const struct coap_request *request,
                                       uint32_t *ret_id);
/* coap_channel_forget - what comes for it from now on is passed over. Unknown ids are fine. */
void coap_channel_forget(struct coap_channel *c, uint32_t id);
/* coap_channel_ping - asks whether somebody is there; without a Pong in COAP_CHANNEL_PONG_MS the
 * channel ends. */
void coap_channel_ping(struct coap_channel *c, uint64_t now_ms);
/* coap_channel_takes_blocks - the peer has said that it knows block-wise transfers. SPEC: RFC8323
 * 5.3.2 */
bool coap_channel_takes_blocks(const struct coap_channel *c);

#endif
