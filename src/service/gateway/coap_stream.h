/*
 * coap_stream - one connection of a CoAP entrance over TCP, behind TLS (and WebSocket): its bytes
 * in and out, who it is, its end. What its requests mean is the same as over DTLS.
 *
 * A driver opens one for each connection it accepts, tells whose certificate TLS has verified,
 * feeds plain bytes and takes bytes while coap_door_next_dirty names it. Until its CSM has come and
 * the directory knows its certificate it is a stranger with a deadline. Not inside another call of
 * the door. SPEC: RFC8323.
 */
#ifndef SERVICE_GATEWAY_COAP_STREAM_H
#define SERVICE_GATEWAY_COAP_STREAM_H

#include "engine/coap_channel.h"
#include "security/crypto/digest.h"
#include "service/gateway/coap_door.h"

struct coap_stream;

enum { COAP_STREAM_FAREWELL_MS = 5000 }; /* so long the last words may take to leave */

struct coap_caller {
    const struct net_peer *peer; /* borrowed for the call */
    void *transport;             /* the driver's */
    enum coap_tcp_form form;
    uint64_t until_ms; /* it must have logged in by then */
};

/* coap_stream_open - gives, until coap_stream_gone. ERR_DENIED: nobody is let in now, and that is
 * counted; ERR_NOMEM. */
MUST_USE enum err coap_stream_open(struct coap_door *d, const struct coap_caller *caller,
                                   uint64_t now_ms, struct coap_stream **ret);
/* coap_stream_present - TLS has proven that it owns the certificate of this name and key. cipher is
 * for the event of its login, static. */
void coap_stream_present(struct coap_stream *s, struct slice name, const struct digest *spki,
                         const struct digest *id, const char *version, const char *cipher);
/* coap_stream_resumed - TLS was resumed by a ticket. */
void coap_stream_resumed(struct coap_stream *s);
/* coap_stream_certificate_ends - and so long it lasts; it may be over. */
void coap_stream_certificate_ends(struct coap_stream *s, int64_t ends_wall_ms);
/* coap_stream_input - borrowed. What cannot be used yet is kept: see coap_stream_wants_input. Not
 * in frames. */
void coap_stream_input(struct coap_stream *s, struct slice plain, uint64_t now_ms);
/* coap_stream_piece - the same in frames: of one message, which ends with it or goes on. */
void coap_stream_piece(struct coap_stream *s, struct slice piece, bool is_end, uint64_t now_ms);
/* coap_stream_wants_input - false: leave the bytes in the socket. */
bool coap_stream_wants_input(const struct coap_stream *s);
/* coap_stream_output - up to cap bytes (in frames: one message) for the client; 0: nothing waits.
 */
size_t coap_stream_output(struct coap_stream *s, uint8_t *dst, size_t cap, uint64_t now_ms);
/* coap_stream_backlog - so many bytes of its output wait for its socket. */
void coap_stream_backlog(struct coap_stream *s, size_t n);
/* coap_stream_has_ended - nothing more will come from it. coap_stream_is_finished - nor go to it,
 * or not in time: close, and coap_stream_gone. */
bool coap_stream_has_ended(const struct coap_stream *s);
bool coap_stream_is_finished(const struct coap_stream *s);
/* coap_stream_is_shed - finished for want of memory: nothing of it may linger. */
bool coap_stream_is_shed(const struct coap_stream *s);
/* coap_stream_is_known - it has logged in. */
bool coap_stream_is_known(const struct coap_stream *s);
void *coap_stream_transport(const struct coap_stream *s);
/* coap_stream_gone - the transport has ended: takes s. why is for the event. */
void coap_stream_gone(struct coap_stream *s, const char *why, uint64_t now_ms);

/* coap_door_next_dirty - one that may have output, has finished, or wants input again; NULL: none.
 */
struct coap_stream *coap_door_next_dirty(struct coap_door *d);
/* coap_door_any_stream - one of those that are open; NULL: none. */
struct coap_stream *coap_door_any_stream(const struct coap_door *d);

#endif
