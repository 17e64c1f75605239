#include "service/enrol/makers.h"

#include "base/disk.h"
#include "security/identity/identity.h"

void enrol_makers_done(struct enrol_makers *m)
{
    for (size_t i = 0; i < m->n; i++) {
        buf_done(&m->maker[i].ca_pem);
    }
    m->n = 0;
}

enum err enrol_makers_add(struct enrol_makers *m, struct disk *disk, const char *file,
                          const char *role, enum enrol_name_rule rule, struct why *why)
{
    AUTO(x509_autofree) struct x509 *first = NULL;
    char path[128];
    if (m->n == ENROL_MAKERS_MAX) {
        return ERR_LIMIT;
    }
    struct enrol_maker *to = &m->maker[m->n++];
    (void)slice_to_text(slice_text(role), to->role, sizeof to->role);
    (void)snprintf(path, sizeof path, ENROL_MAKERS_DIR "/%s", file);
    to->rule = rule;
    enum err err = disk_load(disk, path, ENROL_MAKER_FILE_MAX, &to->ca_pem);
    if (err == OK) {
        struct slice pem = buf_slice(&to->ca_pem);
        err = x509_next_pem(&pem, &first);
    }
    if (err != OK) {
        why_set(why,
                "the authority of a manufacturer, DIR/%s, is no PEM of certificates that the "
                "broker's user may read: %s",
                path, err_name(err));
        return err == ERR_NOMEM ? err : ERR_CONFIG;
    }
    return OK;
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
