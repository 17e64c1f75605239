/*
 * From entries of the log to a version.
 *
 * The log gives the newest entry that it could read. Where a newer one is damaged that is an older
 * state: a device that was revoked since would be back. So the roster says of each principal what
 * its newest entry's epoch is, and who does not match is not let in. Damage never stops the rest.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "service/directory/directory_private.h"

enum { KEYS_LOOKED_AT = 4096 };
#define STALE_REASON "its newest record on the disk is damaged: check it, then `device enable`"

struct found {
    struct directory *d;
    struct directory_head head;
    bool has_head;
    const struct directory_entry **entries;
    size_t n, cap;
    struct roster_page *pages;
    size_t n_pages, pages_cap;
    struct directory_exception exceptions[DIRECTORY_EXCEPTIONS_MAX];
    size_t n_exceptions;
};

static void found_done(struct found *f)
{
    for (size_t i = 0; i < f->n; i++) {
        entry_unref(f->entries[i]);
    }
    mem_free(f->entries);
    mem_free(f->pages);
    directory_head_done(&f->head);
}

/* ---- reading ---- */

static enum err read_principal(void *ctx, uint64_t id, struct slice content)
{
    struct found *f = ctx;
    if (f->n == f->cap) {
        size_t cap = f->cap > 0 ? 2 * f->cap : 64;
        const struct directory_entry **grown = mem_grow(f->entries, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        f->entries = grown;
        f->cap = cap;
    }
    TRY(principal_record_read(content, f->d->guard, &f->entries[f->n]));
    f->n++;
    return f->entries[f->n - 1]->principal->id == id ? OK : ERR_CONFIG;
}

static enum err read_exception(void *ctx, uint64_t id, struct slice content)
{
    struct found *f = ctx;
    struct directory_exception e;
    TRY(exception_record_read(content, &e));
    if (e.id != id) {
        return ERR_CONFIG;
    }
    /* One whose end was damaged is not in the head's list any more, nor one that nobody can be sure
     * of: an exception weakens, so it is left out. */
    bool is_known = false;
    for (size_t i = 0; i < f->head.n_exceptions; i++) {
        is_known |= f->head.exceptions[i] == id;
    }
    if (!is_known || f->n_exceptions == DIRECTORY_EXCEPTIONS_MAX) {
        f->d->damage.exceptions++;
        return OK;
    }
    f->exceptions[f->n_exceptions++] = e;
    return OK;
}

static enum err read_page(struct found *f, uint64_t number, struct slice content)
{
    if (f->n_pages == f->pages_cap) {
        size_t cap = f->pages_cap > 0 ? 2 * f->pages_cap : 16;
        struct roster_page *grown = mem_grow(f->pages, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        f->pages = grown;
        f->pages_cap = cap;
    }
    f->pages[f->n_pages] = (struct roster_page){.page = number};
    TRY(roster_record_read(content, &f->pages[f->n_pages]));
    f->n_pages++;
    return OK;
}

static enum err read_meta(void *ctx, uint64_t id, struct slice content)
{
    struct found *f = ctx;
    if (id == HEAD_ID) {
        TRY(head_record_read(content, &f->head));
        f->has_head = true;
        return OK;
    }
    return id >= ROSTER_ID ? read_page(f, id - ROSTER_ID, content) : ERR_CONFIG;
}

/* ---- who is let in ---- */

static int newest_first(const void *a, const void *b)
{
    const struct directory_entry *const *x = a;
    const struct directory_entry *const *y = b;
    uint64_t left = (*x)->principal->epoch;
    uint64_t right = (*y)->principal->epoch;
    return left > right ? -1 : left < right;
}

/* The entry disabled, at the same epoch: when its record is found again this holds again. */
static enum err disabled(const struct directory_entry *e, const struct directory_entry **ret)
{
    const struct principal *p = e->principal;
    AUTO(principal_autofree) struct principal *copy = NULL;
    TRY(principal_new(p->id, slice_text(p->name), slice_text(p->role), p->attrs, p->n_attrs,
                      &copy));
    copy->epoch = p->epoch;
    copy->own_status = PRINCIPAL_DISABLED;
    struct answer_list answers = {e->answers, e->n_answers};
    answers_apply(copy, answers);
    return entry_new(copy, e->created_wall_ms, slice_text(STALE_REASON), answers, e->credentials,
                     e->n_credentials, ret);
}

/* A stale entry may claim a name or secret that somebody else got since. */
static bool is_free(const struct directory_version *v, const struct directory_entry *e)
{
    bool taken = directory_find(v, slice_text(e->principal->name)) != NULL;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        taken |= version_find(v, VERSION_FINGERPRINT, digest_slice(&c->fingerprint)) != NULL;
        taken |= c->kind == CREDENTIAL_X509 && directory_find_spki(v, &c->spki) != NULL;
        taken |= c->kind == CREDENTIAL_PSK && c->identity[0] != '\0' &&
                 directory_find_identity(v, slice_text(c->identity)) != NULL;
    }
    return !taken;
}

static int by_page(const void *a, const void *b)
{
    const struct roster_page *x = a;
    const struct roster_page *y = b;
    return x->page < y->page ? -1 : x->page > y->page;
}

/* They are sorted. */
static const struct roster_page *page_of(const struct found *f, uint64_t id)
{
    const struct roster_page wanted = {.page = id / ROSTER_PAGE};
    return f->n_pages > 0 ? bsearch(&wanted, f->pages, f->n_pages, sizeof wanted, by_page) : NULL;
}

static void note(struct directory_damage *damage, uint64_t *counter, const char *name)
{
    (*counter)++;
    if (damage->first[0] == '\0') {
        (void)slice_to_text(slice_text(name), damage->first, sizeof damage->first);
    }
}

static enum err admit(struct found *f, struct directory_version *v, const struct directory_entry *e)
{
    const struct principal *p = e->principal;
    struct directory_damage *damage = &f->d->damage;
    const struct roster_page *page = page_of(f, p->id);
    uint64_t epoch = page != NULL ? page->epochs[p->id % ROSTER_PAGE] : 0;
    AUTO(entry_autofree) const struct directory_entry *stale = NULL;
    if (page != NULL && epoch == 0 && page->epoch > p->epoch) {
        note(damage, &damage->returned, p->name); /* the end of a removed one is what is damaged */
        return id_list_add(&f->d->erase, p->id);
    }
    if (!is_free(v, e)) {
        note(damage, &damage->stale, p->name);
        return OK;
    }
    if (epoch > p->epoch) {
        note(damage, &damage->stale, p->name);
        if (p->own_status == PRINCIPAL_ACTIVE) {
            TRY(disabled(e, &stale));
        }
    }
    if (p->id >= v->next_principal) {
        v->next_principal = p->id + 1;
    }
    if (p->epoch > v->epoch) {
        v->epoch = p->epoch;
    }
    for (size_t i = 0; i < e->n_answers; i++) {
        if (e->answers[i].id >= v->next_exception) {
            v->next_exception = e->answers[i].id + 1;
        }
    }
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->id >= v->next_credential) {
            v->next_credential = e->credentials[i]->id + 1;
        }
    }
    enum err err = version_replace(v, NULL, stale != NULL ? stale : e);
    return err == ERR_EXISTS ? ERR_CONFIG : err; /* within one entry */
}

/* Who the roster has and nobody found: their keys stay, a backup may still have them. Without a key
 * it is an old copy of the store, and they were erased since. */
static void count_missing(struct found *f, const struct directory_version *v)
{
    for (size_t i = 0; i < f->n_pages; i++) {
        const struct roster_page *page = &f->pages[i];
        for (size_t j = 0; j < ROSTER_PAGE; j++) {
            uint64_t id = page->page * ROSTER_PAGE + j;
            if (page->epochs[j] != 0 && directory_find_id(v, id) == NULL &&
                keyring_has(f->d->keyring, id)) {
                f->d->damage.missing++;
            }
        }
    }
}

static void read_head_into(const struct found *f, struct directory_version *v)
{
    const struct directory_head *h = &f->head;
    v->epoch = h->epoch;
    v->policy_epoch = h->policy_epoch;
    v->next_principal = h->next_principal;
    v->next_credential = h->next_credential;
    v->next_exception = h->next_exception;
    v->admin_expires_wall_ms = h->admin_expires_wall_ms;
    memcpy(v->admin_phc, h->admin_phc, sizeof v->admin_phc);
}

/* A store that came back from a backup is older than the keyring: the numbers that were given out
 * since belong to others, whose keys are there. */
static uint64_t above_keys(const struct keyring *k, uint64_t next)
{
    uint64_t above = next;
    for (uint64_t i = 0; i < KEYS_LOOKED_AT; i++) {
        above = keyring_has(k, next + i) ? next + i + 1 : above;
    }
    return above;
}

/* The head that was found may be an older one as well. */
static void raise_counters(const struct found *f, struct directory_version *v)
{
    for (size_t i = 0; i < f->n_pages; i++) {
        const struct roster_page *page = &f->pages[i];
        v->epoch = page->epoch > v->epoch ? page->epoch : v->epoch;
        for (uint64_t j = 0; j < ROSTER_PAGE; j++) {
            uint64_t id = page->page * ROSTER_PAGE + j;
            if (page->epochs[j] != 0 && id >= v->next_principal) {
                v->next_principal = id + 1;
            }
        }
    }
    for (size_t i = 0; i < f->n_exceptions; i++) {
        if (f->exceptions[i].id >= v->next_exception) {
            v->next_exception = f->exceptions[i].id + 1;
        }
    }
    v->next_principal = above_keys(f->d->keyring, v->next_principal);
}

static enum err build(struct found *f, struct directory_version **ret)
{
    AUTO(version_autofree) struct directory_version *v = NULL;
    TRY(version_new(&f->d->key, &v));
    if (f->has_head) {
        read_head_into(f, v);
    }
    if (f->n > 1) {
        qsort(f->entries, f->n, sizeof f->entries[0], newest_first);
    }
    if (f->n_pages > 1) {
        qsort(f->pages, f->n_pages, sizeof f->pages[0], by_page);
    }
    for (size_t i = 0; i < f->n; i++) {
        TRY(admit(f, v, f->entries[i]));
    }
    count_missing(f, v);
    raise_counters(f, v);
    TRY(version_set_exceptions(v, f->exceptions, f->n_exceptions));
    *ret = TAKE(v);
    return OK;
}

static enum err take_keys(struct found *f)
{
    struct directory *d = f->d;
    uint8_t fresh[FINGERPRINT_KEY_BYTES];
    if (!f->has_head) {
        /* Only damage can have taken it. Who owns which secret is not known from here on. */
        d->damage.head++;
        d->random.fill(d->random.ctx, fresh, sizeof fresh);
        enum err err = secret_new(slice_of(fresh, sizeof fresh), &d->fingerprint_key);
        mem_wipe(fresh, sizeof fresh);
        return err;
    }
    TRY(secret_new(slice_of(f->head.fingerprint_key, sizeof f->head.fingerprint_key),
                   &d->fingerprint_key));
    d->erase = f->head.erase;
    f->head.erase = (struct id_list){0};
    return OK;
}

enum err directory_load(struct directory *d)
{
    AUTO(found_done) struct found f = {.d = d};
    TRY(log_entries(d->log, JOURNAL_TABLE_META, read_meta, &f));
    TRY(log_entries(d->log, JOURNAL_TABLE_PRINCIPAL, read_principal, &f));
    if (!f.has_head && f.n == 0 && f.n_pages == 0) {
        return ERR_NOT_FOUND;
    }
    TRY(log_entries(d->log, JOURNAL_TABLE_EXCEPTION, read_exception, &f));
    TRY(take_keys(&f));
    return build(&f, &d->current);
}

static enum err look_for_head(void *ctx, uint64_t id, struct slice content)
{
    bool *has = ctx;
    (void)content;
    *has = *has || id == HEAD_ID;
    return OK;
}

enum err directory_has_head(struct log *log, bool *ret)
{
    bool has = false;
    TRY(log_entries(log, JOURNAL_TABLE_META, look_for_head, &has));
    *ret = has;
    return OK;
}
