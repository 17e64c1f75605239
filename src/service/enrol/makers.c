#include "service/enrol/makers.h"

#include "security/identity/identity.h"

void enrol_makers_done(struct enrol_makers *m)
{
    for (size_t i = 0; i < m->n; i++) {
        buf_done(&m->maker[i].ca_pem);
    }
    m->n = 0;
}

enum err enrol_maker_find(const struct enrol_makers *m, const struct x509 *leaf,
                          int64_t now_wall_ms, const struct enrol_maker **ret, struct why *why)
{
    for (size_t i = 0; i < m->n; i++) {
        struct slice pem = buf_slice(&m->maker[i].ca_pem);
        enum err err = x509_verify(leaf, pem, pem, X509_KIND_CLIENT, now_wall_ms, why);
        if (err == OK) {
            *ret = &m->maker[i];
            return OK;
        }
        if (err == ERR_NOMEM) {
            return err;
        }
    }
    return ERR_NOT_FOUND;
}

enum err enrol_maker_name(const struct enrol_maker *m, const struct x509 *leaf,
                          char ret[PRINCIPAL_NAME_MAX + 1])
{
    char name[IDENTITY_NAME_BYTES];
    unsigned rule = m->rule == ENROL_NAME_CN ? IDENTITY_CN : IDENTITY_DNS;
    TRY(identity_from_x509(leaf, rule, name));
    return slice_to_text(slice_text(name), ret, PRINCIPAL_NAME_MAX + 1) ? OK : ERR_MALFORMED;
}
