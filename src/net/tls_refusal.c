/* Why a handshake failed, in terms that somebody can act upon. */
#include <openssl/err.h>

#include "base/mem.h"
#include "net/tls_private.h"

void tls_note_done(struct tls_note *note)
{
    buf_done(&note->cert);
    note->text = mem_free(note->text);
    SSL_SESSION_free(note->session);
    note->session = NULL;
}

static enum tls_failure failure_of(int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return TLS_FAILED_TERMS;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILED_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAILED_NO_CERTIFICATE;
    default:
        return TLS_FAILED_OTHER;
    }
}

enum err tls_judge(SSL *ssl, struct tls_note *note, const char *peer, char *text)
{
    if (note->verify != TLS_VERIFY_OK) {
        tls_verify_text(note->verify, peer, text);
        ERR_clear_error();
        note->failure = TLS_FAILED_CERTIFICATE;
        return ERR_AUTH;
    }
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    tls_error_text(text);
    if (text[0] == '\0') {
        (void)snprintf(text, TLS_TEXT_BYTES, "TLS failed");
    }
    if (reason == SSL_R_TOO_MANY_KEY_UPDATES) {
        return ERR_QUOTA;
    }
    note->failure = failure_of(reason);
    if (reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + UINT8_MAX) {
        note->failure = TLS_FAILED_ALERT;
        note->alert = (uint8_t)(reason - SSL_AD_REASON_OFFSET);
    }
    if (note->failure == TLS_FAILED_VERSION) {
        note->version = (uint16_t)SSL_client_version(ssl);
    }
    if (note->failure == TLS_FAILED_NO_CERTIFICATE) {
        (void)snprintf(text, TLS_TEXT_BYTES,
                       "the %s sent no certificate, and this listener requires one", peer);
        return ERR_AUTH;
    }
    return ERR_PROTOCOL;
}

struct tls_refusal tls_refusal_of(const struct tls_note *note, const char *text)
{
    return (struct tls_refusal){.failure = note->failure,
                                .verify = note->verify,
                                .alert = note->alert,
                                .version = note->version,
                                .cert = buf_slice(&note->cert),
                                .text = text};
}

const char *tls_alert_name(uint8_t alert)
{
    return SSL_alert_desc_string_long(alert);
}

const char *tls_version_name(uint16_t version)
{
    switch (version) {
    case SSL3_VERSION:
        return "SSL 3.0";
    case TLS1_VERSION:
        return "TLS 1.0";
    case TLS1_1_VERSION:
        return "TLS 1.1";
    case TLS1_2_VERSION:
        return "TLS 1.2";
    case TLS1_3_VERSION:
        return "TLS 1.3";
    case DTLS1_VERSION:
        return "DTLS 1.0";
    case DTLS1_2_VERSION:
        return "DTLS 1.2";
    default:
        return "a TLS version";
    }
}
