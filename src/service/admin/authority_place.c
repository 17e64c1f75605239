#include "service/admin/authority_place.h"

#include "base/log.h"
#include "base/mem.h"

static void version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

static void names_release(struct slice **names)
{
    *names = mem_free(*names);
}

static bool has_certificate(const struct directory_entry *e)
{
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->kind == CREDENTIAL_X509) {
            return true;
        }
    }
    return false;
}

/* Who has a certificate may have another; who is revoked stays so. */
static enum err found(const struct authority_place *p, const struct register_setup *setup,
                      struct pki_register **ret, struct why *why)
{
    AUTO(version_release) const struct directory_version *v = directory_current(p->directory);
    size_t most = directory_version_count(v) + 1;
    AUTO(names_release) struct slice *enrolled = mem_array(most, sizeof *enrolled);
    AUTO(names_release) struct slice *revoked = mem_array(most, sizeof *revoked);
    if (enrolled == NULL || revoked == NULL) {
        return ERR_NOMEM;
    }
    const struct x509_info *server = x509_info(pki_server(p->pki));
    struct register_founding f = {
        .enrolled = enrolled, .revoked = revoked, .hosts = server->sans, .n_hosts = server->n_sans};
    const struct directory_entry *e;
    size_t at = 0;
    while ((e = directory_next(v, &at)) != NULL) {
        if (e->principal->status == PRINCIPAL_REVOKED) {
            revoked[f.n_revoked++] = slice_text(e->principal->name);
        } else if (has_certificate(e)) {
            enrolled[f.n_enrolled++] = slice_text(e->principal->name);
        }
    }
    enum err err = register_create(setup, &f, ret);
    if (err != OK) {
        why_set(why, "DIR/" REGISTER_FILE " cannot be made: %s", err_name(err));
        return err;
    }
    if (f.n_enrolled + f.n_revoked > 0) {
        log_line(LOG_NOTICE,
                 "the authority has a register from now on: %zu devices with certificates are "
                 "enrolled, %zu are revoked",
                 f.n_enrolled, f.n_revoked);
    }
    return OK;
}

MUST_USE enum err authority_place_open(const struct authority_place *p,
                                       struct pki_register **ret_reg, struct authority **ret,
                                       struct why *why)
{
    const struct register_setup setup = {
        .disk = p->disk, .seal = p->seal, .random = p->random, .now_wall_ms = p->now_wall_ms};
    enum err err = register_open(&setup, ret_reg, why);
    if (err == ERR_NOT_FOUND) {
        err = found(p, &setup, ret_reg, why);
    }
    TRY(err);
    const struct authority_own_setup own = {.pki = p->pki,
                                            .reg = *ret_reg,
                                            .random = p->random,
                                            .makers = p->makers,
                                            .n_makers = p->n_makers};
    return authority_own_new(&own, ret);
}
