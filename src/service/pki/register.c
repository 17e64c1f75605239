#include "service/pki/register.h"

#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/pki/register_private.h"

/* ---- what the maps hold ---- */

static struct slice key_of_name(const void *value)
{
    return register_name_slice(value);
}

static struct slice key_of_issued(const void *value)
{
    const struct register_issued *i = value;
    return slice_of(i->serial.bytes, i->serial.n);
}

static struct slice key_of_spki(const void *value)
{
    return digest_slice(&((const struct register_issued *)value)->spki);
}

static struct slice key_of_token(const void *value)
{
    return digest_slice(&((const struct register_token *)value)->hash);
}

static void token_free(struct register_token *t)
{
    if (t != NULL) {
        mem_free(t->attrs_json);
        mem_free(t);
    }
}

static void free_all(struct map *m, void (*release)(void *value))
{
    size_t at = 0;
    void *value;
    while ((value = map_next(m, &at)) != NULL) {
        release(value);
    }
    map_done(m);
}

static void release_plain(void *value)
{
    mem_free(value);
}

static void release_token(void *value)
{
    token_free(value);
}

struct pki_register *register_free(struct pki_register *r)
{
    if (r != NULL) {
        register_file_close(r);
        map_done(&r->keys);
        free_all(&r->issued, release_plain);
        free_all(&r->names, release_plain);
        free_all(&r->tokens, release_token);
        r->seal = secret_free(r->seal);
        mem_free(r->block);
        mem_wipe(&r->token_key, sizeof r->token_key);
        mem_free(r);
    }
    return NULL;
}

void register_maps_init(struct pki_register *r)
{
    struct siphash_key key = {random_u64(&r->random), random_u64(&r->random)};
    map_init(&r->names, &key, key_of_name);
    map_init(&r->issued, &key, key_of_issued);
    map_init(&r->keys, &key, key_of_spki);
    map_init(&r->tokens, &key, key_of_token);
}

/* ---- asking ---- */

int64_t register_latest(const struct pki_register *r)
{
    return r->now_wall_ms;
}

struct slice register_seal(const struct pki_register *r)
{
    return secret_bytes(r->seal);
}

int64_t register_born(const struct pki_register *r)
{
    return r->born_wall_ms;
}

struct register_name *register_name_find(const struct pki_register *r, struct slice name)
{
    return map_find(&r->names, name);
}

struct register_issued *register_issued_find(const struct pki_register *r,
                                             const struct authority_serial *serial)
{
    return map_find(&r->issued, slice_of(serial->bytes, serial->n));
}

struct register_issued *register_key_find(const struct pki_register *r, const struct digest *spki)
{
    return map_find(&r->keys, digest_slice(spki));
}

struct register_issued *register_issued_next(const struct pki_register *r, size_t *at)
{
    return map_next(&r->issued, at);
}

struct register_name *register_name_next(const struct pki_register *r, size_t *at)
{
    return map_next(&r->names, at);
}

struct register_token *register_token_next(const struct pki_register *r, size_t *at)
{
    return map_next(&r->tokens, at);
}

size_t register_token_count(const struct pki_register *r)
{
    return r->tokens.n;
}

struct register_token *register_token_find(const struct pki_register *r, struct slice text)
{
    struct digest hash;
    if (digest_hmac(digest_slice(&r->token_key), text, &hash) != OK) {
        return NULL;
    }
    return map_find(&r->tokens, digest_slice(&hash));
}

bool register_has_host(const struct pki_register *r, const struct x509_san *host)
{
    for (size_t i = 0; i < r->n_hosts; i++) {
        if (r->hosts[i].kind == host->kind &&
            slice_equal(slice_of(r->hosts[i].bytes, r->hosts[i].n), host->value)) {
            return true;
        }
    }
    return false;
}

uint64_t register_crl_number(const struct pki_register *r)
{
    return r->crl_number;
}

uint64_t register_revision(const struct pki_register *r)
{
    return r->revision;
}

/* ---- records of what is in memory ---- */

struct register_entry register_entry_of_name(const struct register_name *n)
{
    return (struct register_entry){.kind = REGISTER_NAME,
                                   .name = register_name_slice(n),
                                   .state = (uint8_t)n->state,
                                   .reason = n->reason,
                                   .is_migrated = n->is_migrated,
                                   .is_open = n->is_open,
                                   .at_wall_ms = n->since_wall_ms,
                                   .has_spki = n->has_spki,
                                   .spki = n->spki};
}

struct register_entry register_entry_of_issued(const struct register_issued *i)
{
    return (struct register_entry){.kind = REGISTER_ISSUED,
                                   .name = i->name != NULL ? register_name_slice(i->name)
                                                           : (struct slice){0},
                                   .serial = i->serial,
                                   .spki = i->spki,
                                   .not_before_wall_ms = i->not_before_wall_ms,
                                   .not_after_wall_ms = i->not_after_wall_ms,
                                   .at_wall_ms = i->revoked_wall_ms,
                                   .reason = i->reason};
}

struct register_entry register_entry_of_token(const struct register_token *t)
{
    return (struct register_entry){.kind = REGISTER_TOKEN,
                                   .spki = t->hash,
                                   .name = slice_text(t->name),
                                   .pattern = slice_text(t->pattern),
                                   .role = slice_text(t->role),
                                   .attrs_json = slice_text(t->attrs_json),
                                   .at_wall_ms = t->expires_wall_ms,
                                   .number = t->uses};
}

/* ---- into memory and out of it ---- */

MUST_USE enum err register_name_of(struct pki_register *r, struct slice text,
                                   struct register_name **ret, bool *ret_new)
{
    struct register_name *n = register_name_find(r, text);
    *ret_new = n == NULL;
    if (n == NULL) {
        if (text.n == 0 || text.n > REGISTER_NAME_MAX) {
            return ERR_MALFORMED;
        }
        n = mem_zalloc(sizeof *n + text.n);
        if (n == NULL) {
            return ERR_NOMEM;
        }
        n->n = (uint8_t)text.n;
        n->reason = AUTHORITY_CESSATION;
        slice_copy(n->text, text);
        enum err err = map_add(&r->names, n);
        if (err != OK) {
            mem_free(n);
            return err;
        }
    }
    *ret = n;
    return OK;
}

static void name_take_out(struct pki_register *r, struct register_name *n)
{
    (void)map_remove(&r->names, register_name_slice(n));
    mem_free(n);
}

void register_name_set(struct pki_register *r, struct register_name *n,
                       const struct register_entry *e)
{
    n->state = (enum register_state)e->state;
    n->reason = e->reason;
    n->is_migrated = e->is_migrated;
    n->is_open = e->is_open;
    n->since_wall_ms = e->at_wall_ms;
    n->has_spki = e->has_spki;
    n->spki = e->spki;
    for (struct register_issued *i = n->issued; n->state != REGISTER_ENROLLED && i != NULL;
         i = i->of_name) {
        if (i->revoked_wall_ms == 0) {
            i->revoked_wall_ms = e->at_wall_ms;
            i->reason = e->reason;
            r->revision++;
        }
    }
}

static struct register_issued **issued_of(struct pki_register *r, struct register_name *n)
{
    return n != NULL ? &n->issued : &r->servers;
}

MUST_USE enum err register_issued_put_in(struct pki_register *r, struct register_name *n,
                                         const struct register_entry *e,
                                         struct register_issued **ret)
{
    struct register_issued *i = mem_zalloc(sizeof *i);
    if (i == NULL) {
        return ERR_NOMEM;
    }
    i->name = n;
    i->serial = e->serial;
    i->spki = e->spki;
    i->not_before_wall_ms = e->not_before_wall_ms;
    i->not_after_wall_ms = e->not_after_wall_ms;
    i->revoked_wall_ms = e->at_wall_ms;
    i->reason = e->reason;
    enum err err = map_add(&r->issued, i);
    if (err != OK) {
        mem_free(i);
        return err;
    }
    struct register_issued *same = register_key_find(r, &i->spki);
    if (same != NULL) {
        i->same_key = same->same_key;
        same->same_key = i;
    } else if ((err = map_add(&r->keys, i)) != OK) {
        (void)map_remove(&r->issued, key_of_issued(i));
        mem_free(i);
        return err;
    }
    struct register_issued **first = issued_of(r, n);
    i->of_name = *first;
    *first = i;
    *ret = i;
    return OK;
}

/* The one that was put in last. */
static void issued_take_out(struct pki_register *r, struct register_issued *i)
{
    struct register_issued *same = register_key_find(r, &i->spki);
    if (same == i) {
        (void)map_remove(&r->keys, key_of_spki(i));
    } else {
        same->same_key = i->same_key;
    }
    *issued_of(r, i->name) = i->of_name;
    (void)map_remove(&r->issued, key_of_issued(i));
    mem_free(i);
}

MUST_USE enum err register_token_put_in(struct pki_register *r, const struct register_entry *e,
                                        struct register_token **ret)
{
    struct register_token *t = mem_zalloc(sizeof *t);
    char *attrs = t != NULL ? mem_zalloc(e->attrs_json.n + 1) : NULL;
    if (attrs == NULL) {
        mem_free(t);
        return ERR_NOMEM;
    }
    t->hash = e->spki;
    t->expires_wall_ms = e->at_wall_ms;
    t->uses = (uint32_t)e->number;
    t->attrs_json = attrs;
    slice_copy(attrs, e->attrs_json);
    enum err err = slice_to_text(e->name, t->name, sizeof t->name) &&
                           slice_to_text(e->pattern, t->pattern, sizeof t->pattern) &&
                           slice_to_text(e->role, t->role, sizeof t->role)
                       ? map_add(&r->tokens, t)
                       : ERR_TOO_LARGE;
    if (err != OK) {
        token_free(t);
        return err;
    }
    *ret = t;
    return OK;
}

static void token_take_out(struct pki_register *r, struct register_token *t)
{
    (void)map_remove(&r->tokens, key_of_token(t));
    token_free(t);
}

/* ---- changes: into memory, onto the disk, else out again ---- */

static void know_time(struct pki_register *r, int64_t now_wall_ms)
{
    r->now_wall_ms = now_wall_ms > r->now_wall_ms ? now_wall_ms : r->now_wall_ms;
}

static enum err write_one(struct pki_register *r, const struct register_entry *e)
{
    TRY(register_file_begin(r));
    register_file_put(r, e);
    return register_file_commit(r);
}

/* Who is enrolled already stays so since then. */
static struct register_entry enrolled_entry(const struct register_name *n,
                                            const struct digest *spki, int64_t now_wall_ms)
{
    bool was = n->state == REGISTER_ENROLLED;
    struct register_entry e = {.kind = REGISTER_NAME,
                               .name = register_name_slice(n),
                               .state = REGISTER_ENROLLED,
                               .at_wall_ms = was ? n->since_wall_ms : now_wall_ms,
                               .is_migrated = was && n->is_migrated,
                               .has_spki = spki != NULL};
    if (spki != NULL) {
        e.spki = *spki;
    }
    return e;
}

MUST_USE enum err register_enrol(struct pki_register *r, struct slice name,
                                 const struct digest *spki, int64_t now_wall_ms)
{
    struct register_name *n = NULL;
    bool is_new = false;
    know_time(r, now_wall_ms);
    if (!identity_name_ok(name)) {
        return ERR_MALFORMED;
    }
    TRY(register_name_of(r, name, &n, &is_new));
    if (n->state == REGISTER_REVOKED) {
        return ERR_DENIED;
    }
    struct register_entry e = enrolled_entry(n, spki, now_wall_ms);
    e.is_open = true;
    enum err err = write_one(r, &e);
    if (err == OK) {
        register_name_set(r, n, &e);
    } else if (is_new) {
        name_take_out(r, n);
    }
    return err;
}

static enum err end_name(struct pki_register *r, struct slice name, enum register_state state,
                         enum authority_reason reason, int64_t now_wall_ms)
{
    struct register_name *n = register_name_find(r, name);
    know_time(r, now_wall_ms);
    if (n == NULL || n->state == REGISTER_FORGOTTEN) {
        return ERR_NOT_FOUND;
    }
    if (n->state == state) {
        return OK;
    }
    const struct register_entry e = {.kind = REGISTER_NAME,
                                     .name = register_name_slice(n),
                                     .state = (uint8_t)state,
                                     .reason = (uint8_t)reason,
                                     .at_wall_ms = now_wall_ms};
    TRY(write_one(r, &e));
    register_name_set(r, n, &e);
    return OK;
}

MUST_USE enum err register_forget(struct pki_register *r, struct slice name, int64_t now_wall_ms)
{
    return end_name(r, name, REGISTER_FORGOTTEN, AUTHORITY_CESSATION, now_wall_ms);
}

MUST_USE enum err register_revoke(struct pki_register *r, struct slice name,
                                  enum authority_reason reason, int64_t now_wall_ms)
{
    return end_name(r, name, REGISTER_REVOKED, reason, now_wall_ms);
}

MUST_USE enum err register_revoke_serial(struct pki_register *r,
                                         const struct authority_serial *serial,
                                         enum authority_reason reason, int64_t now_wall_ms)
{
    struct register_issued *i = register_issued_find(r, serial);
    know_time(r, now_wall_ms);
    if (i == NULL) {
        return ERR_NOT_FOUND;
    }
    if (i->revoked_wall_ms != 0) {
        return OK;
    }
    const struct register_entry e = {.kind = REGISTER_SERIAL_REVOKED,
                                     .serial = *serial,
                                     .at_wall_ms = now_wall_ms,
                                     .reason = (uint8_t)reason};
    TRY(write_one(r, &e));
    i->revoked_wall_ms = now_wall_ms;
    i->reason = (uint8_t)reason;
    r->revision++;
    return OK;
}

/* What the name is once it has this certificate. */
static struct register_entry name_after(const struct register_name *n,
                                        const struct register_row *row, int64_t now_wall_ms)
{
    assert(n != NULL); /* the server's own has neither */
    struct register_entry e =
        row->enrols ? enrolled_entry(n, NULL, now_wall_ms) : register_entry_of_name(n);
    e.is_open = false;
    return e;
}

/* A certificate, with its enrolment and the token that it uses: one write. */
static void put_issue(struct pki_register *r, const struct register_name *n,
                      const struct register_entry *issued, const struct register_row *row,
                      int64_t now_wall_ms)
{
    if (row->token != NULL) {
        assert(row->token->uses > 0);
        struct register_entry used = register_entry_of_token(row->token);
        used.number--;
        register_file_put(r, &used);
    }
    if (row->enrols || row->closes) {
        const struct register_entry name = name_after(n, row, now_wall_ms);
        register_file_put(r, &name);
    }
    register_file_put(r, issued);
}

MUST_USE enum err register_issue(struct pki_register *r, struct slice name,
                                 const struct register_row *row, int64_t now_wall_ms)
{
    struct register_name *n = NULL;
    struct register_issued *i = NULL;
    bool is_new = false;
    know_time(r, now_wall_ms);
    if (name.n > 0) {
        TRY(register_name_of(r, name, &n, &is_new));
    }
    const struct register_entry issued = {.kind = REGISTER_ISSUED,
                                          .name = name,
                                          .serial = row->serial,
                                          .spki = row->spki,
                                          .not_before_wall_ms = row->not_before_wall_ms,
                                          .not_after_wall_ms = row->not_after_wall_ms};
    /* Begun first: if the file is written anew, what follows is not in memory yet. */
    enum err err = register_file_begin(r);
    if (err == OK) {
        err = register_issued_put_in(r, n, &issued, &i);
    }
    if (err == OK) {
        put_issue(r, n, &issued, row, now_wall_ms);
        err = register_file_commit(r);
    }
    if (err != OK) {
        if (i != NULL) {
            issued_take_out(r, i);
        }
        if (is_new) {
            name_take_out(r, n);
        }
        return err;
    }
    if (row->token != NULL) {
        row->token->uses--;
    }
    if (row->enrols || row->closes) {
        const struct register_entry after = name_after(n, row, now_wall_ms);
        register_name_set(r, n, &after);
    }
    return OK;
}

/* Those that are used up or over. */
static void sweep_tokens(struct pki_register *r)
{
    struct register_token *t;
    size_t at = 0;
    while ((t = register_token_next(r, &at)) != NULL) {
        if (t->uses == 0 || t->expires_wall_ms <= r->now_wall_ms) {
            token_take_out(r, t);
        }
    }
}

MUST_USE enum err register_token_add(struct pki_register *r, struct slice text,
                                     const struct authority_claim *c, int64_t now_wall_ms)
{
    struct register_token *t = NULL;
    struct register_entry e = {.kind = REGISTER_TOKEN,
                               .name = c->name,
                               .pattern = c->pattern,
                               .role = c->role,
                               .attrs_json = c->attrs_json,
                               .at_wall_ms = c->expires_wall_ms,
                               .number = c->uses};
    know_time(r, now_wall_ms);
    if (r->tokens.n >= REGISTER_TOKENS_MAX) {
        sweep_tokens(r);
    }
    if (r->tokens.n >= REGISTER_TOKENS_MAX) {
        return ERR_LIMIT;
    }
    if (c->attrs_json.n > REGISTER_ATTRS_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(digest_hmac(digest_slice(&r->token_key), text, &e.spki));
    TRY(register_file_begin(r));
    TRY(register_token_put_in(r, &e, &t));
    enum err err = write_one(r, &e);
    if (err != OK) {
        token_take_out(r, t);
    }
    return err;
}

MUST_USE enum err register_token_cancel(struct pki_register *r, struct register_token *t,
                                        int64_t now_wall_ms)
{
    struct register_entry e = register_entry_of_token(t);
    e.number = 0; /* uses */
    know_time(r, now_wall_ms);
    TRY(write_one(r, &e));
    token_take_out(r, t);
    return OK;
}

MUST_USE enum err register_add_host(struct pki_register *r, const struct x509_san *host)
{
    struct register_entry e = {.kind = REGISTER_HOSTS};
    if (register_has_host(r, host)) {
        return OK;
    }
    if (r->n_hosts == REGISTER_HOSTS_MAX) {
        return ERR_LIMIT;
    }
    if (host->value.n > REGISTER_HOST_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    for (size_t i = 0; i < r->n_hosts; i++) {
        e.hosts[i] =
            (struct x509_san){r->hosts[i].kind, slice_of(r->hosts[i].bytes, r->hosts[i].n)};
    }
    e.hosts[r->n_hosts] = *host;
    e.n_hosts = r->n_hosts + 1;
    TRY(write_one(r, &e));
    r->hosts[r->n_hosts].kind = host->kind;
    r->hosts[r->n_hosts].n = (uint8_t)host->value.n;
    slice_copy(r->hosts[r->n_hosts].bytes, host->value);
    r->n_hosts++;
    return OK;
}

MUST_USE enum err register_crl_next(struct pki_register *r, uint64_t *ret)
{
    const struct register_entry e = {.kind = REGISTER_CRL, .number = r->crl_number + 1};
    TRY(write_one(r, &e));
    r->crl_number++;
    *ret = r->crl_number;
    return OK;
}
