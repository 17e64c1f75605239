/* certs revoke, crl: one certificate of a device ends for good, its other credentials stay. */
#include "security/crypto/crl_make.h"
#include "service/admin/revoking.h"
#include "service/pki/revocation.h"

const char *admin_serial_text(const struct credential *c, char dst[SERIAL_HEX_BYTES])
{
    if (c->kind != CREDENTIAL_X509 || c->cert.serial.n == 0) {
        return NULL;
    }
    serial_hex(&c->cert.serial, dst);
    return dst;
}

/* ---- revoke ---- */

struct revoking {
    const char *name;
    struct serial serial; /* n 0: all that it has */
    enum crl_reason reason;
};

static enum err read_order(const struct control_request *r, struct revoking *ret, struct why *why)
{
    const char *serial = control_arg_text(r, "serial");
    const char *reason = control_arg_text(r, "reason");
    *ret = (struct revoking){.name = control_arg_text(r, "name")};
    if (ret->name == NULL || ret->name[0] == '\0') {
        why_set(why, "certs revoke needs the NAME of a device");
        return ERR_MALFORMED;
    }
    if (serial != NULL && serial_from_hex(slice_text(serial), &ret->serial) != OK) {
        why_set(why,
                "--serial is what `certs list` says, or `openssl x509 -noout -serial`: up to "
                "%d bytes in hexadecimal",
                SERIAL_BYTES);
        return ERR_MALFORMED;
    }
    if (reason != NULL && !crl_reason_find(slice_text(reason), &ret->reason)) {
        why_set(why, "--reason is unspecified, key-compromise, changed, superseded, cessation or "
                     "withdrawn");
        return ERR_MALFORMED;
    }
    return OK;
}

static enum err tell_authority(struct admin *a, const struct serial *s, enum crl_reason reason)
{
    struct authority_serial serial = {.n = s->n};
    slice_copy(serial.bytes, serial_slice(s));
    return authority_revoke(a->setup.authority, (struct slice){0}, &serial,
                            (enum authority_reason)reason, admin_wall_ms(a));
}

/* Each that the directory has as revoked, so that what failed before is made good, too; n: how many
 * the authority has on its list. Those from before its register it does not know. */
static enum err tell_all(struct admin *a, const struct revoking *o, size_t *ret_n)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, slice_text(o->name));
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        bool is_known = credential_is_revoked(c) && c->cert.serial.n > 0;
        enum err err = is_known
                           ? tell_authority(a, &c->cert.serial, (enum crl_reason)c->cert.reason)
                           : ERR_NOT_FOUND;
        *ret_n += err == OK ? 1 : 0;
        TRY(err == ERR_NOT_FOUND ? OK : err);
    }
    return OK;
}

/* The directory first: it ends sessions and needs nobody. A serial that it does not have may be an
 * older certificate of the same key, which the authority knows. */
static enum err take_back(struct admin *a, const struct revoking *o, size_t *ret_here,
                          size_t *ret_listed, struct why *why)
{
    const struct serial *serial = o->serial.n > 0 ? &o->serial : NULL;
    enum err err =
        directory_revoke_certificate(a->setup.directory, slice_text(o->name), serial,
                                     (unsigned)o->reason, admin_wall_ms(a), ret_here, why);
    if (err == ERR_NOT_FOUND && serial != NULL) {
        enum err known = tell_authority(a, serial, o->reason);
        TRY(known == ERR_NOT_FOUND ? err : known);
        *ret_listed = 1;
    } else {
        TRY(err);
        TRY(tell_all(a, o, ret_listed));
    }
    return admin_publish_list(a);
}

enum err verb_certs_revoke(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    struct revoking o;
    struct why why = {{0}};
    size_t here = 0, listed = 0;
    char text[256], hex[SERIAL_HEX_BYTES];
    enum err e = read_order(r, &o, &why);
    if (e == OK) {
        e = take_back(a, &o, &here, &listed, &why);
    }
    if (e != OK && (here > 0 || listed > 0)) {
        admin_act(a, token, EVENT_revoked, SEVERITY_ALERT, o.name,
                  "certificates revoked here (%zu), but the authority or the disk failed (%s): its "
                  "list does not say so yet",
                  here, err_name(e));
        admin_push_realm(a);
        return control_finish(reply, 1,
                              "the certificate opens nothing here any more, but the revocation "
                              "list does not say so yet (%s). Mend that, and say it again",
                              err_name(e));
    }
    if (e != OK) {
        return admin_refuse(reply, "the certificate", e, &why);
    }
    serial_hex(&o.serial, hex);
    admin_act(a, token, EVENT_revoked, SEVERITY_WARNING, o.name,
              "%s%s revoked for good (%s): sessions of it end, other credentials stay",
              o.serial.n > 0 ? "certificate " : "its certificates are", hex,
              crl_reason_name((unsigned)o.reason));
    snprintf(text, sizeof text, "%s: %zu revoked now, %zu on the revocation list (DIR/%s)%s",
             o.name, here, listed, REVOCATION_FILE,
             here > listed ? "; a certificate from before the authority kept a register is refused "
                             "here, but is on no list"
                           : "");
    return admin_changed(a, token, reply,
                         json_pack("{s:s,s:I,s:I,s:s,s:s}", "name", o.name, "revoked",
                                   (json_int_t)here, "listed", (json_int_t)listed, "reason",
                                   crl_reason_name((unsigned)o.reason), "text", text));
}

/* ---- crl ---- */

static enum err list_line(const char *path, const struct crl_set *s, struct control_reply *reply)
{
    char text[256], next[CLOCK_ISO8601_BYTES];
    int64_t until = crl_set_next_update(s);
    admin_time_text(until, next);
    snprintf(text, sizeof text, "DIR/%-22s %zu revoked, next list by %s", path, crl_set_count(s),
             next);
    return control_line(reply,
                        json_pack("{s:s,s:I,s:s,s:s}", "file", path, "revoked",
                                  (json_int_t)crl_set_count(s), "next_update", next, "text", text));
}

/* Signs anew what is not fresh, and says which lists are in force. */
enum err verb_certs_crl(void *ctx, const struct control_request *r, uint64_t token,
                        struct control_reply *reply)
{
    struct admin *a = ctx;
    (void)r;
    (void)token;
    enum err e = admin_publish_list(a);
    if (e != OK) {
        return admin_refuse(reply, "the revocation list", e, NULL);
    }
    if (a->lists.own != NULL) {
        TRY(list_line(REVOCATION_FILE, a->lists.own, reply));
    }
    if (a->lists.extra != NULL) {
        TRY(list_line(REVOCATION_EXTRA_FILE, a->lists.extra, reply));
    }
    return control_finish(reply, 0, NULL);
}
