#include "service/enrol/makers.h"

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

static void serial_text(struct slice serial, char *dst, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < serial.n && n + 3 <= cap; i++) {
        n += (size_t)snprintf(dst + n, cap - n, "%02x", serial.p[i]);
    }
}

static struct slice san_name(const struct x509_info *info)
{
    for (size_t i = 0; i < info->n_sans; i++) {
        struct slice s = info->sans[i].value;
        if (info->sans[i].kind == X509_SAN_DNS) {
            return s;
        }
        if (info->sans[i].kind == X509_SAN_URI) {
            size_t at = s.n;
            while (at > 0 && s.p[at - 1] != ':') {
                at--;
            }
            return slice_from(s, at);
        }
    }
    return (struct slice){0};
}

enum err enrol_maker_name(const struct enrol_maker *m, const struct x509 *leaf,
                          char ret[PRINCIPAL_NAME_MAX + 1])
{
    const struct x509_info *info = x509_info(leaf);
    char serial[PRINCIPAL_NAME_MAX + 1] = "";
    struct slice name = {0};
    switch (m->rule) {
    case ENROL_NAME_CN:
        name = info->n_common_names == 1 ? info->common_name : name;
        break;
    case ENROL_NAME_SERIAL:
        serial_text(info->serial, serial, sizeof serial);
        name = slice_text(serial);
        break;
    case ENROL_NAME_SAN:
        name = san_name(info);
        break;
    }
    return principal_name_ok(name) && slice_to_text(name, ret, PRINCIPAL_NAME_MAX + 1)
               ? OK
               : ERR_MALFORMED;
}
