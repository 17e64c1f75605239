/* Tickets of one stream: a server looks ahead for them, a client keeps and shows them. */
#include <sys/socket.h>

#include "net/stream_private.h"

enum { HELLO_BYTES = 4096 /* looked at; one with a ticket behind that waits like the others */ };

bool stream_offers_ticket(const struct stream *s, struct stream_io *io)
{
    struct tls_tickets *tickets = s->tls != NULL ? tls_tickets_of(s->tls->shared) : NULL;
    if (tickets == NULL || s->has_opened) {
        return false;
    }
    ssize_t n = recv(s->source.fd, io->recv, HELLO_BYTES, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 && tls_tickets_open(tickets, tls_hello_ticket(slice_of(io->recv, (size_t)n)));
}

bool stream_is_resumed(const struct stream *s)
{
    return s->tls != NULL && s->tls->note.established && SSL_session_reused(s->tls->ssl) == 1;
}

uint64_t stream_ticket_ms(const struct stream *s)
{
    struct tls_tickets *tickets = s->tls != NULL ? tls_tickets_of(s->tls->shared) : NULL;
    bool gives =
        tickets != NULL && s->tls->note.established && SSL_version(s->tls->ssl) == TLS1_3_VERSION;
    return gives ? tls_tickets_period_ms(tickets) : 0;
}

enum err stream_give_ticket(struct stream *s, struct stream_io *io)
{
    if (s->failed != OK) {
        return s->failed;
    }
    if (s->closing || stream_is_blocked(s)) {
        return ERR_AGAIN;
    }
    stream_aim(s, io);
    int ok = SSL_new_session_ticket(s->tls->ssl);
    ok = ok == 1 ? SSL_do_handshake(s->tls->ssl) : ok;
    enum err err = ok == 1 ? stream_send_sealed(s, io)
                           : stream_fail(s, ERR_CRYPTO, "TLS could not give a ticket");
    io->sealed_n = 0;
    /* A record's room that was made for it; kept where a part of a record waits there. */
    (void)SSL_free_buffers(s->tls->ssl);
    stream_unaim(s);
    TRY(err);
    return stream_watch(s);
}

/* Copies in and out: the library calls a session spoilt when its connection ends without a goodbye,
 * as lost ones do. */
int tls_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_note *note = SSL_get_app_data(ssl);
    SSL_SESSION_free(note->session);
    note->session = SSL_SESSION_dup(session);
    return 0; /* the original stays the library's */
}

struct ssl_session_st *stream_session(const struct stream *s)
{
    SSL_SESSION *session = s->tls != NULL ? s->tls->note.session : NULL;
    return session != NULL && SSL_SESSION_up_ref(session) == 1 ? session : NULL;
}

struct ssl_session_st *stream_session_free(struct ssl_session_st *session)
{
    SSL_SESSION_free(session);
    return NULL;
}

enum err stream_resume(struct stream *s, struct ssl_session_st *session)
{
    if (s->tls == NULL || session == NULL) {
        return OK;
    }
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    int ok = copy != NULL ? SSL_set_session(s->tls->ssl, copy) : 0;
    SSL_SESSION_free(copy);
    return ok == 1 ? OK : ERR_CRYPTO;
}
