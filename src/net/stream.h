/*
 * stream - one TCP connection as bytes in, bytes out, with TLS as a filter between or none, and
 * WebSocket as a second one behind it.
 *
 * The TLS object reads and writes through our own BIO, which points at the buffers of the worker
 * that serves the connection now. So a turn costs one recv and one send for each connection, an
 * idle connection holds no buffer, and a connection moves to another worker by re-aiming one
 * pointer. A stream belongs to one thread at a time.
 *
 * The turn of a connection:
 *     ready(EPOLLIN)   do { stream_read } while (stream_has_pending), feed the engine
 *     end of turn      stream_write with what the engine has to say, unless stream_is_blocked
 *     ready(EPOLLOUT)  stream_flush; when it returns OK the engine may go on writing
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/buf.h"
#include "net/loop.h"
#include "net/tls.h"
#include "net/ws.h"

enum {
    STREAM_RECV_BYTES = 128 * 1024,
    STREAM_GLANCE_BYTES = 2048, /* stream_glance: so many or more are received */
    STREAM_SEND_BYTES = 512 * 1024,
    STREAM_PENDING_MAX = 640 * 1024, /* a write of STREAM_SEND_BYTES and the records around it */
    STREAM_WS_PARTS_MAX = 15,
    STREAM_PARTS_ONCE = 64,  /* stream_write: without TLS so many parts are one system call */
    STREAM_FRAMES_MAX = 4096 /* that packets of one write get of their own */
};

/* A worker's buffers, shared by all its streams. */
struct stream_io;

/* stream_io_new - gives. ERR_NOMEM. */
MUST_USE enum err stream_io_new(struct stream_io **ret);
struct stream_io *stream_io_free(struct stream_io *io);
/* stream_io_now - once a turn: the time that budgets are counted by. */
void stream_io_now(struct stream_io *io, uint64_t now_ms);
/* stream_io_out - STREAM_SEND_BYTES for the caller to put plaintext in and hand to stream_write;
 * contents last until the next stream_write. */
uint8_t *stream_io_out(struct stream_io *io);

struct stream;

enum stream_role { STREAM_SERVER, STREAM_CLIENT };

/*
 * stream_new - takes fd (connected, non-blocking), also on error; gives.
 *
 * tls  NULL: plaintext. Otherwise a server's or client's, fitting the role; the stream takes its
 *      own share.
 * ERR_NOMEM, ERR_CRYPTO
 */
MUST_USE enum err stream_new(int fd, enum stream_role role, struct tls *tls, struct stream **ret);
/* stream_begin - the same at a place of the caller's: stream_bytes() zeroed bytes, aligned as a
 * pointer, that stay the caller's. After an error there is no stream. stream_end - its stream_free.
 * OK, ERR_NOMEM, ERR_CRYPTO */
size_t stream_bytes(void);
MUST_USE enum err stream_begin(struct stream *place, int fd, enum stream_role role,
                               struct tls *tls);
void stream_end(struct stream *s);
/* stream_upgrade - a server's stream, before its first read: what its caller reads and writes goes
 * in WebSocket frames, and it is ready when the client's upgrade request was good. Borrows the
 * rules for life. ERR_NOMEM. */
MUST_USE enum err stream_upgrade(struct stream *s, const struct ws_rules *rules);
/* stream_upgrade_client - the same for a client's stream, before stream_start: it asks for the
 * upgrade when TLS is ready, and is ready itself when the answer was right. Borrows the target for
 * the call. Errors as ws_client_new. */
MUST_USE enum err stream_upgrade_client(struct stream *s, const struct ws_target *target,
                                        uint64_t frame_max);
/* stream_free - closes the descriptor without a word to the peer (see stream_close). */
struct stream *stream_free(struct stream *s);

/* stream_attach - watches for input on this loop. `ready` gets owner and the epoll events.
 * Borrows l until stream_detach or stream_free. After a move between loops call stream_read once,
 * as stream_has_pending says. Errors as loop_add. */
MUST_USE enum err stream_attach(struct stream *s, struct loop *l,
                                void (*ready)(void *owner, uint32_t events), void *owner);
/* stream_detach - leaves its loop; no byte is lost. The caller carries plaintext that it has read
 * and not used. Fine when not attached. */
void stream_detach(struct stream *s);

/* stream_hold - back-pressure: while held, no input is watched for. EPOLLERR and EPOLLHUP still
 * come: the caller closes then. ERR_IO. */
MUST_USE enum err stream_hold(struct stream *s, bool held);

/* stream_start - a client's first flight. A server has nothing to start. Errors as stream_read. */
MUST_USE enum err stream_start(struct stream *s, struct stream_io *io);

/*
 * stream_read - one recv, and everything that it makes readable
 *
 * *ret_plain  plaintext in the worker's buffer, valid until the next call with this io; empty
 *             while the handshake goes on (which this drives) or nothing is complete yet
 *
 * OK            also when only part of what follows was met: the error comes with the next call,
 *               and stream_has_pending says that there is one
 * ERR_CLOSED    the peer closed, orderly or not (stream_closed_cleanly)
 * ERR_AUTH      the peer's certificate did not verify (stream_verify, stream_error)
 * ERR_PROTOCOL  TLS failed: no common version or suite, broken records, an alert (stream_error)
 * ERR_QUOTA     more key updates than the struct tls allows
 * ERR_LIMIT, ERR_IO, ERR_NOMEM
 * WebSocket: also ws_failure's (ERR_CLOSED, ERR_PROTOCOL, ERR_TOO_LARGE, ERR_QUOTA, ERR_NOMEM). The
 * client has been told, and stream_can_close says that this side still closes in order. Where the
 * same bytes brought data before the end, a server's client is told by the next call: until then
 * the answers to that data can be written.
 * After an error only stream_error, the queries and stream_free make sense. An alert that TLS wants
 * to send has been sent, as far as the socket took it.
 */
MUST_USE enum err stream_read(struct stream *s, struct stream_io *io, struct slice *ret_plain);
/* stream_glance - the same for a few bytes (below STREAM_GLANCE_BYTES) that came alone: the kernel
 * keeps them until stream_settle, so that its own acknowledgement, half of the cost of a receive,
 * comes behind what they lead to. stream_settle: before the turn is over, or the loop tells of them
 * again; the next read, stream_detach and stream_free do it, too. Fine when there are none. */
MUST_USE enum err stream_glance(struct stream *s, struct stream_io *io, struct slice *ret_plain);
void stream_settle(struct stream *s);
/* stream_message_ends - of a WebSocket whose rules are for CoAP: where messages end in what the
 * last stream_read gave; as ws_ends. */
const uint32_t *stream_message_ends(const struct stream *s, size_t *ret_n);
/* stream_has_pending - call stream_read again without waiting for epoll. */
bool stream_has_pending(const struct stream *s);

/*
 * stream_write - encrypts the parts as one run of full records and sends once
 *
 * parts  borrowed for the call; together at most STREAM_SEND_BYTES. What the socket does not take
 *        is kept, and the stream is blocked (EPOLLOUT armed) until stream_flush returns OK.
 *        WebSocket: one frame; at most STREAM_WS_PARTS_MAX of them.
 *
 * ERR_AGAIN     blocked, or the handshake or upgrade is not over: nothing was taken
 * ERR_TOO_LARGE nothing was taken
 * ERR_LIMIT     more than STREAM_PENDING_MAX would be kept; the stream is broken
 * ERR_CLOSED, ERR_IO, ERR_NOMEM, ERR_PROTOCOL: the stream is broken
 */
MUST_USE enum err stream_write(struct stream *s, struct stream_io *io, const struct slice *parts,
                               size_t n_parts);
/*
 * stream_write_packets - the same for one run of whole packets
 *
 * cut  the size of the first packet in these bytes; called for WebSocket only, where each packet
 *      gets a frame of its own (after STREAM_FRAMES_MAX of them the rest shares one): there are
 *      clients that do not look for a second packet in a frame until more comes from the network.
 */
MUST_USE enum err stream_write_packets(struct stream *s, struct stream_io *io, struct slice bytes,
                                       size_t (*cut)(struct slice bytes));
/* stream_flush - on EPOLLOUT. OK: nothing is kept any more. ERR_AGAIN: still blocked. ERR_CLOSED,
 * ERR_IO. */
MUST_USE enum err stream_flush(struct stream *s, struct stream_io *io);
bool stream_is_blocked(const struct stream *s);
/* stream_pending_bytes - kept for the socket; charge it to the principal. */
size_t stream_pending_bytes(const struct stream *s);

/* Tickets (tls_tickets.h). */
struct ssl_session_st; /* OpenSSL's */

/* stream_offers_ticket - looks ahead at what a server's socket has received of the first flight:
 * does it offer a ticket that opens? Then it is half of the work or less. */
bool stream_offers_ticket(const struct stream *s, struct stream_io *io);
/* stream_is_resumed - the handshake was done by a ticket. */
bool stream_is_resumed(const struct stream *s);
/* stream_ticket_ms - how often its client is to be given a ticket: 0 for never (not established,
 * none are given, or TLS 1.2, where the handshake did). */
uint64_t stream_ticket_ms(const struct stream *s);
/* stream_give_ticket - seals one and sends it; where stream_ticket_ms is not 0. ERR_AGAIN: the
 * stream is blocked. Errors as stream_write. */
MUST_USE enum err stream_give_ticket(struct stream *s, struct stream_io *io);
/* stream_session - of a client with takes_tickets: what its next connection, as the same, resumes
 * by; NULL: the server gave no ticket. Gives: stream_session_free. */
struct ssl_session_st *stream_session(const struct stream *s);
struct ssl_session_st *stream_session_free(struct ssl_session_st *session);
/* stream_resume - before stream_start: offers this session (borrows; NULL: none). ERR_CRYPTO. */
MUST_USE enum err stream_resume(struct stream *s, struct ssl_session_st *session);

/* stream_close - orderly: WebSocket's close, close_notify, FIN behind what is kept. The caller goes
 * on reading until ERR_CLOSED or its deadline, then frees. Does nothing on a broken stream. */
void stream_close(struct stream *s, struct stream_io *io);
/* stream_abort - the next stream_free resets the connection (RST) instead of closing it. */
void stream_abort(struct stream *s);

/* Queries. */
int stream_fd(const struct stream *s);
/* stream_is_established - the TLS handshake is over (at once for plaintext). */
bool stream_is_established(const struct stream *s);
/* stream_is_ready - and so is the WebSocket upgrade, if there is one: the caller's bytes may flow.
 */
bool stream_is_ready(const struct stream *s);
/* stream_is_upgraded - its bytes go in WebSocket frames, or will. */
bool stream_is_upgraded(const struct stream *s);
/* stream_is_bare - there is nothing between the bytes and the socket that has last words of its
 * own, nothing that was sent is kept here, and the last stream_read took all that had come. So when
 * the peer has said that it sends no more, stream_free alone cuts nothing: the kernel sends what it
 * has and then the FIN, and has nothing unread that would make that a reset. */
bool stream_is_bare(const struct stream *s);
/* stream_is_over - WebSocket has ended, and stream_read's error says why or will; the socket may
 * have, too. */
bool stream_is_over(const struct stream *s);
/* stream_can_close - after an error of stream_read: only WebSocket has ended, so stream_close and
 * going on reading (nothing comes) let the client see why. */
bool stream_can_close(const struct stream *s);
/* stream_refusal - the HTTP status that the client's upgrade request was refused with, or 0. */
unsigned stream_refusal(const struct stream *s);
bool stream_is_tls(const struct stream *s);
bool stream_closed_cleanly(const struct stream *s);
struct x509;
/* stream_peer_cert - the peer's leaf certificate, as it was proven in this handshake or in that of
 * its ticket. ERR_NOT_FOUND: it showed none; else as x509_from_der. */
MUST_USE enum err stream_peer_cert(const struct stream *s, struct x509 **ret);
enum tls_verify stream_verify(const struct stream *s);
/* stream_error - what went wrong in TLS, WebSocket or the socket, one line without the peer's
 * bytes; "" when nothing did. */
const char *stream_error(const struct stream *s);
/* stream_refusal_of_tls - why the TLS handshake failed; borrows from s. */
struct tls_refusal stream_refusal_of_tls(const struct stream *s);
/* stream_opening - when the last stream_read brought the first bytes of the connection and failed
 * in TLS: those bytes, as they came. Else empty. Valid until the next call with this io. */
struct slice stream_opening(const struct stream *s, const struct stream_io *io);
/* stream_version, stream_cipher - "TLSv1.3", "TLS_AES_128_GCM_SHA256"; "-" without TLS. Static. */
const char *stream_version(const struct stream *s);
const char *stream_cipher(const struct stream *s);
/* stream_alpn - the protocol agreed on; empty when none. Borrows. */
struct slice stream_alpn(const struct stream *s);

#endif
