/* The server's own certificate: a new one when a third of its life is left, or when asked. */
#include "service/admin/admin_private.h"

enum {
    LOOK_MS = 2000, /* the wall clock may step */
    AGAIN_MS = 10 * 60 * 1000
};

#define HELD "server certificate"

/* The names are an operator's word; where the authority is another process's, it was told first. */
static enum err allow(struct admin *a, const struct pki_hosts *more, struct why *why)
{
    for (size_t i = 0; more != NULL && authority_is_operators(a->setup.authority) && i < more->n;
         i++) {
        TRY(authority_host(a->setup.authority, slice_text(more->host[i]), why));
    }
    return OK;
}

/* With files of its own, so that what is in force stays when the disk refuses. */
static enum err renew(struct admin *a, uint64_t token, const struct pki_hosts *more,
                      const char *cause, int64_t *ret_until_wall_ms, struct why *why)
{
    struct slice root = keyring_root(a->setup.keyring);
    AUTO(pki_autofree) struct pki *pki = NULL;
    char until[CLOCK_ISO8601_BYTES];
    TRY(pki_open(a->setup.disk, root, &pki, why));
    TRY(allow(a, more, why));
    enum err err = pki_renew_server(pki, a->setup.authority, a->setup.disk, root, more,
                                    &a->setup.random, admin_wall_ms(a), why);
    if (err == ERR_LIMIT) {
        why_set(why, "a certificate has at most %d names", PKI_HOSTS_MAX);
    }
    TRY(err);
    *ret_until_wall_ms = pki_server_not_after(pki);
    admin_time_text(*ret_until_wall_ms, until);
    admin_act(a, token, EVENT_credential_rotated, SEVERITY_NOTICE, "server certificate",
              "a new key and certificate of the server, until %s%s", until, cause);
    return a->setup.certificate_changed != NULL ? a->setup.certificate_changed(a->setup.ctx, why)
                                                : OK;
}

static void say_failure(struct admin *a, enum err err, const struct why *why)
{
    struct event e = event_make(EVENT_credential_expiring);
    char ends[CLOCK_ISO8601_BYTES];
    admin_time_text(pki_server_not_after(a->setup.pki), ends);
    e.severity = SEVERITY_ALERT;
    EVENT_TEXT(&e, target, slice_text("server certificate"));
    event_reason(&e,
                 "the server's certificate ends %s and could not be renewed (%.100s): the old one "
                 "is shown until then, and nobody connects afterwards. Mend that; it is tried "
                 "again every ten minutes, and by `sallyport certs renew`",
                 ends, why->text[0] != '\0' ? why->text : err_name(err));
    if (!a->is_certificate_late) {
        admin_note(a, &e);
    }
    alerts_hold(&a->alerts, HELD, &e, admin_wall_ms(a));
    a->is_certificate_late = true;
}

/* Its issuer may end so soon that a new one would live no longer. */
static bool is_due(const struct admin *a)
{
    const struct pki *pki = a->setup.pki;
    return pki != NULL && admin_wall_ms(a) >= pki_server_renew_at(pki) &&
           pki_server_not_after(pki) < pki_issuer_not_after(pki);
}

uint64_t admin_keep_certificate(struct admin *a, uint64_t now_ms)
{
    struct why why = {{0}};
    int64_t until;
    if (now_ms < a->certificate_at_ms) {
        return a->certificate_at_ms;
    }
    a->certificate_at_ms = now_ms + LOOK_MS;
    if (is_due(a)) {
        enum err err =
            renew(a, 0, NULL, ": two thirds of the former one's life were over", &until, &why);
        if (err != OK) {
            a->certificate_at_ms = now_ms + AGAIN_MS;
            say_failure(a, err, &why);
            return a->certificate_at_ms;
        }
    }
    if (a->is_certificate_late) {
        (void)alerts_release(&a->alerts, HELD);
        a->is_certificate_late = false;
    }
    return a->certificate_at_ms;
}

/* ---- certs renew ---- */

static enum err read_hosts(const struct control_request *r, struct pki_hosts *ret, struct why *why)
{
    const json_t *hosts = json_object_get(r->args, "hosts");
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const json_t *host = json_array_get(hosts, i);
        struct slice text = slice_of(json_string_value(host), json_string_length(host));
        enum err err = pki_hosts_add(ret, text);
        char shown[80];
        admin_shown(text, shown, sizeof shown);
        if (err == ERR_LIMIT) {
            why_set(why, "a certificate has at most %d names", PKI_HOSTS_MAX);
        } else if (err != OK) {
            why_set(why, "--host %s is neither a DNS name nor an IP address", shown);
        }
        TRY(err);
    }
    return OK;
}

enum err verb_certs_renew(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct pki_hosts more;
    int64_t until_wall_ms;
    char until[CLOCK_ISO8601_BYTES];
    more.n = 0;
    enum err err = read_hosts(r, &more, &why);
    if (err == OK) {
        err = renew(a, token, &more, more.n > 0 ? ", for more names" : "", &until_wall_ms, &why);
    }
    if (err != OK) {
        return admin_refuse(reply, "the server's certificate", err, &why);
    }
    admin_time_text(until_wall_ms, until);
    return admin_changed(a, token, reply,
                         json_pack("{s:s,s:s+}", "until", until, "text",
                                   "new connections are shown it, until ", until));
}
