/* certs renew */
#include "service/admin/admin_private.h"

/* With an authority of its own, so that what is in force stays when the disk refuses. */
enum err verb_certs_renew(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct slice root = keyring_root(a->setup.keyring);
    AUTO(pki_autofree) struct pki *pki = NULL;
    struct why why = {{0}};
    char until[CLOCK_ISO8601_BYTES];
    (void)r;
    enum err e = pki_open(a->setup.disk, root, &pki, &why);
    if (e == OK) {
        pki_set_url(pki, pki_url(a->setup.pki));
        e = pki_renew_server(pki, a->setup.disk, root, &a->setup.random, admin_wall_ms(a));
    }
    if (e != OK) {
        return admin_refuse(reply, "the server's certificate", e, &why);
    }
    admin_time_text(pki_server_not_after(pki), until);
    admin_act(a, token, EVENT_credential_rotated, SEVERITY_NOTICE, "server certificate",
              "a new key and certificate of the server, until %s", until);
    if (a->setup.certificate_changed != NULL) {
        e = a->setup.certificate_changed(a->setup.ctx, &why);
    }
    if (e != OK) {
        return admin_refuse(reply, "the new certificate", e, &why);
    }
    return admin_changed(a, token, reply,
                         json_pack("{s:s,s:s+}", "until", until, "text",
                                   "new connections are shown it, until ", until));
}
