#include "service/enrol/whoami.h"

#include "base/clock.h"
#include "security/crypto/x509.h"
#include "security/identity/identity.h"

static void say(struct whoami *w, unsigned status, const char *text)
{
    w->status = status;
    (void)snprintf(w->text, sizeof w->text, "%s.\n", text);
}

static void say_who(struct whoami *w, const struct principal *p, const struct x509_info *i)
{
    char until[CLOCK_ISO8601_BYTES];
    clock_iso8601(i->not_after_wall_ms, until);
    w->status = 200;
    (void)snprintf(w->text, sizeof w->text,
                   "{\"name\":\"%s\",\"role\":\"%s\",\"not_after\":\"%s\"}\n", p->name, p->role,
                   until);
}

enum err whoami_answer(const struct directory_version *v, struct slice leaf_der,
                       int64_t now_wall_ms, struct whoami *ret)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    const struct directory_entry *e = NULL;
    const struct credential *c = NULL;
    char name[IDENTITY_NAME_BYTES];
    enum err err = leaf_der.n > 0 ? x509_from_der(leaf_der, &x) : ERR_NOT_FOUND;
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err != OK || identity_from_x509(x, IDENTITY_ANY, name) != OK) {
        say(ret, 401, "a certificate that names a device is asked for");
        return OK;
    }
    err = directory_login_x509(v, slice_text(name), &x509_info(x)->spki, now_wall_ms, &e, &c);
    if (err == OK) {
        credential_used(c, now_wall_ms);
        say_who(ret, e->principal, x509_info(x));
    } else if (err == ERR_DENIED) {
        say(ret, 403, "this device is disabled or revoked: `device show` at the server says why");
    } else {
        say(ret, 401,
            "this certificate is no credential of its device, or its time is over: "
            "`device rotate` makes another");
    }
    return OK;
}
