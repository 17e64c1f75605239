#include "service/admin/authority_place.h"

#include "base/log.h"
#include "base/mem.h"

static void version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
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

struct founding_lists {
    struct slice *enrolled, *revoked;
    size_t n_enrolled, n_revoked;
};

static void lists_release(struct founding_lists *l)
{
    l->enrolled = mem_free(l->enrolled);
    l->revoked = mem_free(l->revoked);
}

/* Who has a certificate may renew it; who is revoked stays so. */
static enum err gather(const struct directory_version *v, struct founding_lists *ret)
{
    size_t most = directory_version_count(v) + 1;
    const struct directory_entry *e;
    size_t at = 0;
    ret->enrolled = mem_array(most, sizeof *ret->enrolled);
    ret->revoked = mem_array(most, sizeof *ret->revoked);
    if (ret->enrolled == NULL || ret->revoked == NULL) {
        return ERR_NOMEM;
    }
    while ((e = directory_next(v, &at)) != NULL) {
        if (e->principal->status == PRINCIPAL_REVOKED) {
            ret->revoked[ret->n_revoked++] = slice_text(e->principal->name);
        } else if (has_certificate(e)) {
            ret->enrolled[ret->n_enrolled++] = slice_text(e->principal->name);
        }
    }
    return OK;
}

struct key {
    uint8_t bytes[PKI_SIGNING_KEY_BYTES];
};

static void key_wipe(struct key *k)
{
    mem_wipe(k, sizeof *k);
}

/* What `init` made for the server before there was a register. */
static enum err note_server(struct pki_register *r, const struct x509_info *server,
                            int64_t now_wall_ms)
{
    struct register_row row = {.spki = server->spki,
                               .not_before_wall_ms = server->not_before_wall_ms,
                               .not_after_wall_ms = server->not_after_wall_ms};
    if (server->serial.n > sizeof row.serial.bytes) {
        return OK;
    }
    row.serial.n = (uint8_t)server->serial.n;
    slice_copy(row.serial.bytes, server->serial);
    return register_issue(r, (struct slice){0}, &row, now_wall_ms);
}

static enum err found(const struct authority_place *p, struct founding_lists *lists)
{
    AUTO(key_wipe) struct key key;
    AUTO(version_release) const struct directory_version *v = directory_current(p->directory);
    AUTO(pki_register_autofree) struct pki_register *r = NULL;
    const struct x509_info *server = x509_info(pki_server(p->pki));
    TRY(gather(v, lists));
    TRY(pki_signing_key(p->root, key.bytes));
    const struct register_setup setup = {.disk = p->disk,
                                         .seal = slice_of(key.bytes, sizeof key.bytes),
                                         .random = p->random,
                                         .now_wall_ms = p->now_wall_ms};
    const struct register_founding f = {.enrolled = lists->enrolled,
                                        .n_enrolled = lists->n_enrolled,
                                        .revoked = lists->revoked,
                                        .n_revoked = lists->n_revoked,
                                        .hosts = server->sans,
                                        .n_hosts = server->n_sans};
    TRY(register_create(&setup, &f, &r));
    return note_server(r, server, p->now_wall_ms);
}

MUST_USE enum err authority_place_prepare(const struct authority_place *p, struct why *why)
{
    AUTO(lists_release) struct founding_lists lists = {NULL, NULL, 0, 0};
    if (register_is_there(p->disk)) {
        return OK;
    }
    enum err err = found(p, &lists);
    if (err != OK) {
        why_set(why, "DIR/" REGISTER_FILE " cannot be made: %s", err_name(err));
        return err;
    }
    if (lists.n_enrolled + lists.n_revoked > 0) {
        log_line(LOG_NOTICE,
                 "the authority has a register from now on: %zu devices with certificates are "
                 "enrolled, %zu are revoked",
                 lists.n_enrolled, lists.n_revoked);
    }
    return OK;
}
