/* What the file says comes into memory; and the first file. */
#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/pki/register_private.h"

static enum err new_register(const struct register_setup *s, struct pki_register **ret)
{
    AUTO(pki_register_autofree) struct pki_register *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->disk = s->disk;
    r->random = s->random;
    r->now_wall_ms = s->now_wall_ms;
    register_maps_init(r);
    r->block = mem_alloc(REGISTER_BLOCK_HEAD_BYTES + REGISTER_BLOCK_MAX + AEAD_TAG_BYTES);
    if (r->block == NULL) {
        return ERR_NOMEM;
    }
    TRY(secret_new(s->seal, &r->seal));
    *ret = TAKE(r);
    return OK;
}

static void know_time(struct pki_register *r, int64_t wall_ms)
{
    r->now_wall_ms = wall_ms > r->now_wall_ms ? wall_ms : r->now_wall_ms;
}

static enum err take_born(struct pki_register *r, const struct register_entry *e)
{
    r->born_wall_ms = e->at_wall_ms;
    r->token_key = e->spki;
    return OK;
}

static enum err take_hosts(struct pki_register *r, const struct register_entry *e)
{
    r->n_hosts = e->n_hosts;
    for (size_t i = 0; i < e->n_hosts; i++) {
        r->hosts[i].kind = e->hosts[i].kind;
        r->hosts[i].n = (uint8_t)e->hosts[i].value.n;
        slice_copy(r->hosts[i].bytes, e->hosts[i].value);
    }
    return OK;
}

static enum err take_name(struct pki_register *r, const struct register_entry *e)
{
    struct register_name *n = NULL;
    bool is_new = false;
    TRY(register_name_of(r, e->name, &n, &is_new));
    register_name_set(r, n, e);
    know_time(r, e->at_wall_ms);
    return OK;
}

static enum err take_issued(struct pki_register *r, const struct register_entry *e)
{
    struct register_name *n = NULL;
    struct register_issued *i = NULL;
    bool is_new = false;
    know_time(r, e->not_before_wall_ms);
    if (e->not_after_wall_ms + REGISTER_KEEP_MS < r->now_wall_ms) {
        return OK;
    }
    if (e->name.n > 0) {
        TRY(register_name_of(r, e->name, &n, &is_new));
    }
    return register_issued_put_in(r, n, e, &i);
}

static enum err take_revoked(struct pki_register *r, const struct register_entry *e)
{
    struct register_issued *i = register_issued_find(r, &e->serial);
    if (i != NULL && i->revoked_wall_ms == 0) {
        i->revoked_wall_ms = e->at_wall_ms;
        i->reason = e->reason;
    }
    return OK;
}

static enum err take_token(struct pki_register *r, const struct register_entry *e)
{
    struct register_token *t = map_find(&r->tokens, digest_slice(&e->spki));
    if (t != NULL) {
        t->uses = (uint32_t)e->number;
        return OK;
    }
    return e->number > 0 ? register_token_put_in(r, e, &t) : OK;
}

static enum err take(struct pki_register *r, const struct register_entry *e)
{
    switch (e->kind) {
    case REGISTER_BORN:
        return take_born(r, e);
    case REGISTER_HOSTS:
        return take_hosts(r, e);
    case REGISTER_NAME:
        return take_name(r, e);
    case REGISTER_ISSUED:
        return take_issued(r, e);
    case REGISTER_SERIAL_REVOKED:
        return take_revoked(r, e);
    case REGISTER_TOKEN:
        return take_token(r, e);
    case REGISTER_CRL:
        r->crl_number = e->number;
        return OK;
    }
    return ERR_MALFORMED;
}

MUST_USE enum err register_open(const struct register_setup *s, struct pki_register **ret,
                                struct why *why)
{
    AUTO(pki_register_autofree) struct pki_register *r = NULL;
    TRY(new_register(s, &r));
    TRY(register_file_read(r, take, why));
    enum err err = register_file_write(r);
    if (err != OK) {
        why_set(why,
                "DIR/" REGISTER_FILE " cannot be written: %s. Make room on the disk, or mend it",
                err_name(err));
        return err;
    }
    *ret = TAKE(r);
    return OK;
}

bool register_is_there(struct disk *disk)
{
    struct disk_file *f = NULL;
    enum err err = disk->ops->open(disk, REGISTER_FILE, DISK_READ, &f);
    if (err == OK) {
        disk->ops->close(f);
    }
    return err != ERR_NOT_FOUND;
}

static enum err found_names(struct pki_register *r, const struct slice *names, size_t n,
                            enum register_state state)
{
    for (size_t i = 0; i < n; i++) {
        if (!identity_name_ok(names[i])) {
            return ERR_MALFORMED;
        }
        const struct register_entry e = {.kind = REGISTER_NAME,
                                         .name = names[i],
                                         .state = (uint8_t)state,
                                         .at_wall_ms = r->born_wall_ms,
                                         .is_migrated = true};
        TRY(take_name(r, &e));
    }
    return OK;
}

static enum err found_hosts(struct pki_register *r, const struct register_founding *f)
{
    struct register_entry hosts = {.kind = REGISTER_HOSTS, .n_hosts = f->n_hosts};
    if (f->n_hosts > REGISTER_HOSTS_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < f->n_hosts; i++) {
        if (f->hosts[i].value.n > REGISTER_HOST_BYTES_MAX) {
            return ERR_MALFORMED;
        }
        hosts.hosts[i] = f->hosts[i];
    }
    return take_hosts(r, &hosts);
}

MUST_USE enum err register_create(const struct register_setup *s, const struct register_founding *f,
                                  struct pki_register **ret)
{
    AUTO(pki_register_autofree) struct pki_register *r = NULL;
    if (register_is_there(s->disk)) {
        return ERR_EXISTS;
    }
    TRY(new_register(s, &r));
    r->born_wall_ms = s->now_wall_ms;
    r->random.fill(r->random.ctx, r->token_key.bytes, sizeof r->token_key.bytes);
    TRY(found_names(r, f->enrolled, f->n_enrolled, REGISTER_ENROLLED));
    TRY(found_names(r, f->revoked, f->n_revoked, REGISTER_REVOKED));
    TRY(found_hosts(r, f));
    TRY(register_file_write(r));
    *ret = TAKE(r);
    return OK;
}
