/* Associations that OpenSSL runs: all handshakes, and records of suites that are not ours. */
#include "base/mem.h"
#include "base/rd.h"
#include "net/dtls_server_private.h"

static bool waits(const struct dtls_association *a, int result)
{
    int why = SSL_get_error(a->library->link.ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static void step_handshake(struct dtls_server *s, struct dtls_association *a)
{
    struct dtls_library *l = a->library;
    dtls_sent_next(&l->sent);
    int result = SSL_do_handshake(l->link.ssl);
    if (result == 1) {
        dtls_association_open(s, a);
    } else if (!waits(a, result)) {
        char text[TLS_TEXT_BYTES];
        enum dtls_failure why = dtls_link_failure(&l->link, "client", text);
        dtls_association_failed(s, a, why, text);
        dtls_association_remove(s, a);
    } else {
        l->retransmit_at_ms = dtls_link_timer(&l->link, s->now_ms);
    }
}

static void read_all(struct dtls_server *s, struct dtls_association *a)
{
    while (a->state == DTLS_OPEN) {
        int n = SSL_read(a->library->link.ssl, s->plain, sizeof(s->plain));
        if (n > 0) {
            a->library->n_read++;
            s->handler.received(s->handler.ctx, a->id, slice_of(s->plain, (size_t)n));
        } else if (waits(a, n)) {
            return;
        } else {
            bool orderly = SSL_get_error(a->library->link.ssl, n) == SSL_ERROR_ZERO_RETURN;
            dtls_association_remove(s, a);
            s->handler.closed(s->handler.ctx, a->id, orderly ? OK : ERR_PROTOCOL);
        }
    }
}

/* Which records of the client's last flight are in here. */
static void note_records(struct dtls_library *l, struct slice datagram)
{
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    while (rd_left(&r) > 0 && dtls_record_read(&r, &record)) {
        l->saw_change |= record.type == DTLS_CHANGE_CIPHER && record.epoch == 0;
        l->saw_sealed |= record.epoch > 0;
    }
}

/* DTLS drops what does not open without a word, so a wrong key looks like silence. The operator
 * hears of it: the whole last flight is there, and its Finished did not open. The association is
 * left alone, because a stranger can forge an unreadable record. */
static void suspect_key(struct dtls_server *s, struct dtls_association *a)
{
    const struct dtls_library *l = a->library;
    if (!l->saw_change || !l->saw_sealed) {
        return;
    }
    if (l->claim.identity_known) {
        dtls_association_failed(
            s, a, DTLS_FAILED_KEY,
            "the pre-shared key of this identity is another one here: give the device its "
            "own key again");
    } else {
        dtls_association_failed(
            s, a, DTLS_FAILED_IDENTITY,
            "no device has this PSK identity: add it, or correct the device's identity");
    }
}

/* The number of a sealed record; false: the datagram begins with another one. */
static bool sealed_number(struct slice datagram, uint64_t *ret)
{
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    bool is_whole = dtls_record_read(&r, &record);
    *ret = record.number;
    return is_whole && record.epoch > 0;
}

/* Reads what a datagram brought to an open association, and tells when it was there before. */
static void read_sealed(struct dtls_server *s, struct dtls_association *a, struct slice datagram)
{
    struct dtls_library *l = a->library;
    uint64_t number = 0;
    uint64_t n_before = l->n_read, id = a->id;
    bool is_sealed = sealed_number(datagram, &number);
    read_all(s, a);
    if (!is_sealed || a->state != DTLS_OPEN) {
        return;
    }
    if (l->n_read == n_before) {
        bool is_repeated = l->window.is_known && !oscore_window_is_fresh(&l->window, number);
        if (is_repeated && s->handler.replayed != NULL) {
            s->handler.replayed(s->handler.ctx, id);
        }
    } else {
        l->window.is_known = true;
        (void)!oscore_window_take(&l->window, number);
    }
}

void dtls_library_serve(struct dtls_server *s, struct dtls_association *a, struct slice datagram)
{
    struct dtls_library *l = a->library;
    if (SSL_alloc_buffers(l->link.ssl) != 1) {
        return; /* as if the datagram had been lost; without them an alert inside SSL_read would
                   crash */
    }
    dtls_server_enter(s);
    l->link.in = datagram;
    if (a->state == DTLS_HANDSHAKING) {
        dtls_heard_note(&l->heard, datagram);
        step_handshake(s, a);
        if (a->state == DTLS_HANDSHAKING && l->claim.used_psk) {
            note_records(l, datagram);
            suspect_key(s, a);
        }
    }
    if (a->library != NULL) { /* else it was freed just now, and nothing can have come behind */
        read_sealed(s, a, datagram);
        l->link.in = (struct slice){0};
        if (a->state == DTLS_OPEN) {
            (void)SSL_free_buffers(l->link.ssl); /* refuses when something is in them: fine */
        }
    }
    dtls_server_leave(s);
}

enum err dtls_library_send(const struct dtls_server *s, struct dtls_association *a,
                           struct slice plain)
{
    enum err err = dtls_link_send(&a->library->link, plain);
    if (s->depth == 0) {
        (void)SSL_free_buffers(a->library->link.ssl); /* as after a datagram that came */
    }
    return err;
}
