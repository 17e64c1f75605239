/* What may be asked about a stream: what it is, who the peer has proven to be, what went wrong.
 * Nothing here changes one. */
#include "net/stream_private.h"
#include "security/crypto/x509.h"

int stream_fd(const struct stream *s)
{
    return s->source.fd;
}

bool stream_is_bare(const struct stream *s)
{
    return s->tls == NULL && s->ws == NULL && s->has_drained && !stream_is_blocked(s);
}

bool stream_is_upgraded(const struct stream *s)
{
    return s->ws != NULL;
}

bool stream_is_over(const struct stream *s)
{
    return s->ws != NULL && ws_failure(s->ws) != OK;
}

bool stream_can_close(const struct stream *s)
{
    return s->failed == OK && s->ws != NULL && ws_is_over(s->ws);
}

unsigned stream_refusal(const struct stream *s)
{
    return s->ws != NULL ? ws_status(s->ws) : 0;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}

bool stream_closed_cleanly(const struct stream *s)
{
    return s->cleanly || (s->ws != NULL && ws_failure(s->ws) == ERR_CLOSED);
}

enum err stream_peer_cert(const struct stream *s, struct x509 **ret)
{
    X509 *cert = s->tls != NULL ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
    if (cert == NULL) {
        return ERR_NOT_FOUND;
    }
    return x509_share(cert, ret);
}

enum tls_verify stream_verify(const struct stream *s)
{
    return s->tls != NULL ? s->tls->note.verify : TLS_VERIFY_OK;
}

static const char *error_of(const struct stream *s)
{
    return s->error != NULL ? s->error : "";
}

struct tls_refusal stream_refusal_of_tls(const struct stream *s)
{
    static const struct tls_note none = {.verify = TLS_VERIFY_OK};
    return tls_refusal_of(s->tls != NULL ? &s->tls->note : &none, error_of(s));
}

struct slice stream_opening(const struct stream *s, const struct stream_io *io)
{
    return slice_of(io->recv, stream_is_established(s) ? 0 : s->opening_n);
}

const char *stream_error(const struct stream *s)
{
    return stream_is_over(s) ? ws_error(s->ws) : error_of(s);
}

const char *stream_version(const struct stream *s)
{
    return s->tls != NULL && s->tls->note.established ? SSL_get_version(s->tls->ssl) : "-";
}

const char *stream_cipher(const struct stream *s)
{
    return s->tls != NULL && s->tls->note.established ? SSL_get_cipher_name(s->tls->ssl) : "-";
}

struct slice stream_alpn(const struct stream *s)
{
    const unsigned char *name = NULL;
    unsigned n = 0;
    if (s->tls != NULL) {
        SSL_get0_alpn_selected(s->tls->ssl, &name, &n);
    }
    return slice_of(name, n);
}
