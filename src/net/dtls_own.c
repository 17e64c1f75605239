/* Associations whose records are ours: what comes and leaves, without OpenSSL's session. */
#include "base/mem.h"
#include "net/dtls_server_private.h"

enum { FLIGHT_MTU = DTLS_MTU - 48 }; /* IPv6 and UDP headers */

static void transmit(struct dtls_server *s, const struct dtls_association *a, const struct wr *w)
{
    if (w->at > 0) {
        s->handler.transmit(s->handler.ctx, &a->place->address, slice_of(s->sealed, w->at));
    }
}

static enum err send_record(struct dtls_server *s, struct dtls_association *a, uint8_t type,
                            struct slice plain)
{
    struct wr w = wr_into(s->sealed, sizeof(s->sealed));
    TRY(dtls_taken_seal(&a->taken, s->aead, type, plain, &w));
    transmit(s, a, &w);
    return OK;
}

/* A lost alert is the network's right. */
static void send_alert(struct dtls_server *s, struct dtls_association *a, uint8_t what)
{
    const uint8_t alert[DTLS_ALERT_BYTES] = {DTLS_ALERT_WARNING, what};
    enum err ignored = send_record(s, a, DTLS_ALERT, slice_of(alert, sizeof(alert)));
    (void)ignored;
}

enum err dtls_own_send(struct dtls_server *s, struct dtls_association *a, struct slice plain)
{
    if (plain.n > a->plain_max) {
        return ERR_TOO_LARGE;
    }
    return plain.n > 0 ? send_record(s, a, DTLS_APPLICATION, plain) : OK;
}

void dtls_own_close(struct dtls_server *s, struct dtls_association *a)
{
    send_alert(s, a, DTLS_ALERT_CLOSE);
}

void dtls_own_forget_flight(struct dtls_association *a)
{
    if (a->taken.flight != NULL) {
        list_unlink(&a->node);
        dtls_taken_heard(&a->taken);
    }
}

void dtls_own_take(struct dtls_server *s, struct dtls_association *a)
{
    struct dtls_library *l = a->library;
    if (l->link.sent == NULL ||
        dtls_take(s->aead, s->prf, l->link.ssl, &l->sent, &l->heard, &a->taken) != OK) {
        l->link.sent = NULL; /* nobody asks any more */
        buf_wipe(&l->sent.flight);
        return;
    }
    a->library = dtls_library_free(l);
    if (a->taken.flight != NULL) {
        a->forget_at_ms = s->now_ms + DTLS_FLIGHT_MS;
        list_append(&s->flights, &a->node);
    }
}

/* The peer has not heard our last flight: its Finished comes again. SPEC: RFC6347 4.2.4 */
static void repeat_flight(struct dtls_server *s, struct dtls_association *a)
{
    size_t at = 0;
    if (a->taken.flight == NULL || !dtls_taken_may_answer(&a->taken, s->now_ms)) {
        return;
    }
    struct wr w = wr_into(s->sealed, FLIGHT_MTU);
    while (dtls_taken_flight(&a->taken, s->aead, &at, &w)) {
        transmit(s, a, &w);
        w = wr_into(s->sealed, FLIGHT_MTU);
    }
}

static void hear_handshake(struct dtls_server *s, struct dtls_association *a, uint8_t what)
{
    if (what == DTLS_FINISHED) {
        repeat_flight(s, a);
    } else if (what == DTLS_CLIENT_HELLO && dtls_taken_may_answer(&a->taken, s->now_ms)) {
        send_alert(s, a, DTLS_ALERT_NO_RENEGOTIATION);
    }
}

static void hear_alert(struct dtls_server *s, struct dtls_association *a, struct slice alert)
{
    bool is_close = alert.n == DTLS_ALERT_BYTES && alert.p[1] == DTLS_ALERT_CLOSE;
    bool is_warning = alert.n == DTLS_ALERT_BYTES && alert.p[0] == DTLS_ALERT_WARNING;
    if (is_warning && !is_close) {
        return;
    }
    if (is_close) {
        send_alert(s, a, DTLS_ALERT_CLOSE); /* SPEC: RFC5246 7.2.1 */
    }
    dtls_association_remove(s, a);
    s->handler.closed(s->handler.ctx, a->id, is_close ? OK : ERR_PROTOCOL);
}

static void hear_record(struct dtls_server *s, struct dtls_association *a, uint8_t type,
                        struct slice plain)
{
    switch (type) {
    case DTLS_APPLICATION:
        dtls_own_forget_flight(a); /* without it the peer would have no leave to speak */
        s->handler.received(s->handler.ctx, a->id, plain);
        break;
    case DTLS_ALERT:
        hear_alert(s, a, plain);
        break;
    case DTLS_HANDSHAKE:
        hear_handshake(s, a, plain.p[0]);
        break;
    default:
        break;
    }
}

void dtls_own_serve(struct dtls_server *s, struct dtls_association *a, struct slice datagram,
                    bool is_alone)
{
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    dtls_server_enter(s);
    while (a->state == DTLS_OPEN && rd_left(&r) > 0 && dtls_record_read(&r, &record)) {
        struct slice plain;
        if (record.epoch == 0) {
            continue; /* a repeated flight, or forged: nothing of it is due any more */
        }
        enum err err =
            dtls_taken_open(&a->taken, s->aead, &record, s->plain, sizeof(s->plain), &plain);
        if (err == OK) {
            hear_record(s, a, record.type, plain);
        } else if (err != ERR_EXISTS) {
            s->counts.unreadable += is_alone ? 1 : 0;
        } else if (record.type == DTLS_APPLICATION && s->handler.replayed != NULL) {
            s->handler.replayed(s->handler.ctx, a->id);
        }
    }
    dtls_server_leave(s);
}
