#include "app/cli/client_trust.h"

#include "base/log.h"

int client_unreached(struct cli *cli, const struct client_target *t, enum err err)
{
    unsigned port = t->port;
    if (err == ERR_NOT_FOUND) {
        return cli_fail(cli, "there is no address for the name %s: nothing was sent", t->host);
    }
    if (err == ERR_CLOSED) {
        return cli_fail(cli, "nobody listens at %s port %u: is the server up, and is it this port?",
                        t->host, port);
    }
    if (err == ERR_TIMEOUT) {
        return cli_fail(cli, "%s port %u does not answer: is a firewall between?", t->host, port);
    }
    return cli_fail(cli, "%s port %u cannot be reached (%s)", t->host, port, err_name(err));
}

int client_untrusted(struct cli *cli, const struct client_target *t, enum tls_verify v)
{
    const char *ca = t->ca_path[0] != '\0' ? t->ca_path : "the authority given";
    char text[TLS_TEXT_BYTES];
    switch (v) {
    case TLS_VERIFY_WRONG_NAME:
        return cli_fail(
            cli,
            "wrong name: the server at port %u has a certificate of our authority, but "
            "not for %s; nothing was sent.\n  Connect by a name that it carries (-h "
            "NAME), or give the server a certificate with this one, there: `sallyport certs "
            "renew --host %s`",
            (unsigned)t->port, t->host, t->host);
    case TLS_VERIFY_SELF_SIGNED:
        return cli_fail(cli,
                        "self-signed: the server at %s port %u shows a certificate that nobody but "
                        "itself vouches for; nothing was sent.\n  If it is your server, it is not "
                        "the one that %s belongs to: take ca.pem from a fresh bundle of it",
                        t->host, (unsigned)t->port, ca);
    case TLS_VERIFY_UNKNOWN_CA:
        return cli_fail(cli,
                        "unknown authority: the certificate of the server at %s port %u is not "
                        "signed by %s; nothing was sent.\n  Use the ca.pem of this server's own "
                        "bundle; if you have it already, somebody stands between",
                        t->host, (unsigned)t->port, ca);
    case TLS_VERIFY_EXPIRED:
    case TLS_VERIFY_NOT_YET_VALID:
        tls_verify_text(v, "server", text);
        return cli_fail(cli,
                        "%s: nothing was sent to %s port %u.\n  Look at the clock of this machine "
                        "first; then renew the server's certificate",
                        text, t->host, (unsigned)t->port);
    case TLS_VERIFY_OK:
    case TLS_VERIFY_WRONG_PURPOSE:
    case TLS_VERIFY_WEAK:
    case TLS_VERIFY_FORGED:
    case TLS_VERIFY_REVOKED:
    case TLS_VERIFY_OTHER:
        break;
    }
    tls_verify_text(v, "server", text);
    return cli_fail(cli, "%s: nothing was sent to %s port %u", text, t->host, (unsigned)t->port);
}

int client_broken(struct cli *cli, const struct client_target *t, const char *text)
{
    char safe[TLS_TEXT_BYTES];
    log_escape(text, strlen(text), safe, sizeof(safe));
    return cli_fail(cli, "the server at %s port %u ended the connection%s%s; its log says why",
                    t->host, (unsigned)t->port, safe[0] != '\0' ? ": " : "", safe);
}
