#include "service/enrol/whoami.h"

#include "base/clock.h"
#include "security/crypto/x509.h"
#include "security/identity/identity.h"
#include "service/directory/late.h"

#define IS_DISABLED "this device is disabled or revoked: `device show` at the server says why"
#define IS_LISTED                                                                                  \
    "this certificate is revoked: `device rotate` at the server makes another, if the device is "  \
    "still to have one"
#define IS_NOBODY                                                                                  \
    "this certificate is no credential of its device, or its time is over: `device rotate` makes " \
    "another"

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

/* Its time is over: it is nobody but who may renew it. */
static void say_late(struct whoami *w, const struct directory_version *v, const char *name,
                     const struct x509_info *i, uint32_t grace_s, int64_t now_wall_ms)
{
    const struct directory_entry *e = NULL;
    const struct credential *c = NULL;
    struct why why = {{0}};
    const struct late_claim claim = {.name = slice_text(name),
                                     .spki = &i->spki,
                                     .id = &i->id,
                                     .ends_wall_ms = i->not_after_wall_ms};
    enum err err = late_look(v, &claim, grace_s, now_wall_ms, &e, &c, &why);
    if (err == OK) {
        say(w, 403, "this certificate has ended: it may only renew (simplereenroll of EST, here)");
    } else if (err == ERR_DENIED) {
        say(w, 403, IS_DISABLED);
    } else {
        say(w, 401, IS_NOBODY);
    }
}

enum err whoami_answer(const struct realm *realm, struct slice leaf_der, uint32_t grace_s,
                       int64_t now_wall_ms, struct whoami *ret)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    const struct directory_version *v = realm->directory;
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
    if (realm_revokes(realm, &x509_info(x)->id)) {
        say(ret, 403, IS_LISTED);
        return OK;
    }
    if (late_is(x509_info(x)->not_after_wall_ms, now_wall_ms)) {
        say_late(ret, v, name, x509_info(x), grace_s, now_wall_ms);
        return OK;
    }
    err = directory_login_x509(v, slice_text(name), &x509_info(x)->spki, now_wall_ms, &e, &c);
    if (err == OK) {
        credential_used(c, now_wall_ms);
        say_who(ret, e->principal, x509_info(x));
    } else if (err == ERR_DENIED) {
        say(ret, 403, IS_DISABLED);
    } else {
        say(ret, 401, IS_NOBODY);
    }
    return OK;
}
