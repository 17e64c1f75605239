/* From versions to entries of the log. */
#include <stdlib.h>

#include "base/mem.h"
#include "service/directory/directory_private.h"

enum { PIECE = 256 /* principals written at once, when all of them are */ };

/* ---- one log_save ---- */

struct changes {
    struct log_change *items;
    struct buf *texts; /* of the items, which borrow from them */
    size_t n, cap;
};

static void changes_done(struct changes *c)
{
    for (size_t i = 0; i < c->n; i++) {
        buf_wipe(&c->texts[i]);
    }
    mem_free(c->texts);
    mem_free(c->items);
    *c = (struct changes){0};
}

static enum err changes_room(struct changes *c)
{
    if (c->n < c->cap) {
        return OK;
    }
    size_t cap = c->cap > 0 ? 2 * c->cap : 8;
    struct log_change *items = mem_grow(c->items, cap * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    c->items = items;
    struct buf *texts = mem_grow(c->texts, cap * sizeof *texts);
    if (texts == NULL) {
        return ERR_NOMEM;
    }
    c->texts = texts;
    c->cap = cap;
    return OK;
}

/* Takes text on success. */
static enum err changes_add(struct changes *c, struct log_change change, struct buf *text)
{
    TRY(changes_room(c));
    c->texts[c->n] = *text;
    c->items[c->n] = change;
    c->items[c->n].content = buf_slice(text);
    c->n++;
    *text = (struct buf){0};
    return OK;
}

static enum err changes_end(struct changes *c, uint8_t table, uint64_t id)
{
    struct buf nothing = {0};
    return changes_add(c, (struct log_change){.table = table, .id = id, .is_end = true}, &nothing);
}

static enum err changes_principal(struct changes *c, const struct directory_entry *e)
{
    AUTO(buf_wipe) struct buf text = {0};
    uint64_t id = e->principal->id;
    TRY(principal_record_write(e, &text));
    return changes_add(
        c, (struct log_change){.table = JOURNAL_TABLE_PRINCIPAL, .id = id, .owner = id}, &text);
}

/* ---- what differs ---- */

struct difference {
    struct changes changes;
    struct id_list added, removed, pages;
    struct id_list principals, exceptions; /* all that are in changes */
};

static void difference_done(struct difference *f)
{
    changes_done(&f->changes);
    id_list_done(&f->added);
    id_list_done(&f->removed);
    id_list_done(&f->pages);
    id_list_done(&f->principals);
    id_list_done(&f->exceptions);
}

static enum err add_principal(void *ctx, const struct directory_entry *before,
                              const struct directory_entry *after)
{
    struct difference *f = ctx;
    uint64_t id = after != NULL ? after->principal->id : before->principal->id;
    TRY(id_list_add(&f->pages, id / ROSTER_PAGE));
    TRY(id_list_add(&f->principals, id));
    if (after == NULL) {
        TRY(id_list_add(&f->removed, id));
        return changes_end(&f->changes, JOURNAL_TABLE_PRINCIPAL, id);
    }
    if (before == NULL) {
        TRY(id_list_add(&f->added, id));
    }
    return changes_principal(&f->changes, after);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

static enum err add_page(struct changes *c, const struct directory_version *to, uint64_t number)
{
    AUTO(buf_wipe) struct buf text = {0};
    struct roster_page page = {.page = number, .epoch = to->epoch};
    for (size_t i = 0; i < ROSTER_PAGE; i++) {
        const struct directory_entry *e = directory_find_id(to, number * ROSTER_PAGE + i);
        page.epochs[i] = e != NULL ? e->principal->epoch : 0;
    }
    TRY(roster_record_write(&page, &text));
    return changes_add(
        c, (struct log_change){.table = JOURNAL_TABLE_META, .id = ROSTER_ID + number}, &text);
}

/* Each page that holds one of them, once. */
static enum err add_pages(struct difference *f, const struct directory_version *to)
{
    if (f->pages.n > 1) {
        qsort(f->pages.p, f->pages.n, sizeof f->pages.p[0], by_number);
    }
    for (size_t i = 0; i < f->pages.n; i++) {
        if (i == 0 || f->pages.p[i] != f->pages.p[i - 1]) {
            TRY(add_page(&f->changes, to, f->pages.p[i]));
        }
    }
    return OK;
}

static bool has_exception(const struct directory_version *v, uint64_t id)
{
    size_t n = 0;
    const struct directory_exception *items = v != NULL ? directory_exceptions(v, &n) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (items[i].id == id) {
            return true;
        }
    }
    return false;
}

static enum err add_exception(struct difference *f, const struct directory_version *to, uint64_t id)
{
    size_t n = 0;
    const struct directory_exception *items = directory_exceptions(to, &n);
    TRY(id_list_add(&f->exceptions, id));
    for (size_t i = 0; i < n; i++) {
        AUTO(buf_wipe) struct buf text = {0};
        if (items[i].id == id) {
            TRY(exception_record_write(&items[i], &text));
            return changes_add(&f->changes,
                               (struct log_change){.table = JOURNAL_TABLE_EXCEPTION, .id = id},
                               &text);
        }
    }
    return changes_end(&f->changes, JOURNAL_TABLE_EXCEPTION, id);
}

/* An exception never changes: it is there, or not. */
static enum err add_exceptions(struct difference *f, const struct directory_version *from,
                               const struct directory_version *to)
{
    size_t n = 0;
    const struct directory_exception *items = directory_exceptions(to, &n);
    for (size_t i = 0; i < n; i++) {
        if (!has_exception(from, items[i].id)) {
            TRY(add_exception(f, to, items[i].id));
        }
    }
    items = from != NULL ? directory_exceptions(from, &n) : NULL;
    for (size_t i = 0; items != NULL && i < n; i++) {
        if (!has_exception(to, items[i].id)) {
            TRY(add_exception(f, to, items[i].id));
        }
    }
    return OK;
}

static enum err add_unsure(struct difference *f, const struct directory *d,
                           const struct directory_version *to)
{
    for (size_t i = 0; i < d->unsure_principals.n; i++) {
        uint64_t id = d->unsure_principals.p[i];
        const struct directory_entry *e = directory_find_id(to, id);
        if (id_list_has(&f->principals, id)) {
            continue;
        }
        TRY(id_list_add(&f->pages, id / ROSTER_PAGE));
        TRY(id_list_add(&f->principals, id));
        TRY(e != NULL ? changes_principal(&f->changes, e)
                      : changes_end(&f->changes, JOURNAL_TABLE_PRINCIPAL, id));
    }
    for (size_t i = 0; i < d->unsure_exceptions.n; i++) {
        uint64_t id = d->unsure_exceptions.p[i];
        if (!id_list_has(&f->exceptions, id)) {
            TRY(add_exception(f, to, id));
        }
    }
    return OK;
}

/* `erase` is borrowed. */
static enum err add_head(struct changes *c, const struct directory *d,
                         const struct directory_version *v, const struct id_list *erase)
{
    AUTO(buf_wipe) struct buf text = {0};
    struct directory_head h = {.epoch = v->epoch,
                               .policy_epoch = v->policy_epoch,
                               .next_principal = v->next_principal,
                               .next_credential = v->next_credential,
                               .next_exception = v->next_exception,
                               .admin_expires_wall_ms = v->admin_expires_wall_ms,
                               .erase = *erase};
    if (erase->n > RECORD_ERASE_MAX) {
        return ERR_LIMIT;
    }
    const struct directory_exception *items = directory_exceptions(v, &h.n_exceptions);
    for (size_t i = 0; i < h.n_exceptions; i++) {
        h.exceptions[i] = items[i].id;
    }
    struct slice key = secret_bytes(d->fingerprint_key);
    memcpy(h.admin_phc, v->admin_phc, sizeof h.admin_phc);
    memcpy(h.fingerprint_key, key.p, sizeof h.fingerprint_key);
    enum err err = head_record_write(&h, &text);
    mem_wipe(&h, sizeof h);
    TRY(err);
    return changes_add(c, (struct log_change){.table = JOURNAL_TABLE_META, .id = HEAD_ID}, &text);
}

static enum err join(const struct id_list *a, const struct id_list *b, struct id_list *ret)
{
    for (size_t i = 0; i < a->n; i++) {
        TRY(id_list_add(ret, a->p[i]));
    }
    for (size_t i = 0; i < b->n; i++) {
        TRY(id_list_add(ret, b->p[i]));
    }
    return OK;
}

static enum err write(const struct directory *d, const struct difference *f)
{
    /* Keys first: an entry without its key would be sealed under the log's own. A key without its
     * entry, after a crash, is used when its number is given out. */
    if (f->added.n > 0) {
        TRY(keyring_add(d->keyring, f->added.p, f->added.n));
    }
    return f->changes.n > 0 ? log_save(d->log, f->changes.items, f->changes.n) : OK;
}

/* The other one is released by its owner. */
static void swap(struct id_list *a, struct id_list *b)
{
    struct id_list kept = *a;
    *a = *b;
    *b = kept;
}

enum err directory_save(struct directory *d, const struct directory_version *from,
                        const struct directory_version *to)
{
    if (d->log == NULL) {
        return OK;
    }
    AUTO(difference_done) struct difference f = {0};
    AUTO(id_list_done) struct id_list erase = {0};
    TRY(version_diff(from, to, add_principal, &f));
    TRY(add_exceptions(&f, from, to));
    TRY(add_unsure(&f, d, to));
    TRY(add_pages(&f, to));
    TRY(join(&d->erase, &f.removed, &erase));
    TRY(add_head(&f.changes, d, to, &erase));
    enum err err = write(d, &f);
    if (err != OK) {
        swap(&d->unsure_principals, &f.principals);
        swap(&d->unsure_exceptions, &f.exceptions);
        return err;
    }
    id_list_done(&d->unsure_principals);
    id_list_done(&d->unsure_exceptions);
    swap(&d->erase, &erase);
    return OK;
}

/* ---- all of it ---- */

struct strangers {
    const struct directory_version *v;
    struct id_list principals, exceptions;
};

static void strangers_done(struct strangers *s)
{
    id_list_done(&s->principals);
    id_list_done(&s->exceptions);
}

static enum err find_principal(void *ctx, uint64_t id, struct slice content)
{
    struct strangers *s = ctx;
    (void)content;
    return directory_find_id(s->v, id) == NULL ? id_list_add(&s->principals, id) : OK;
}

static enum err find_exception(void *ctx, uint64_t id, struct slice content)
{
    struct strangers *s = ctx;
    (void)content;
    return has_exception(s->v, id) ? OK : id_list_add(&s->exceptions, id);
}

static enum err add_strangers(struct difference *f, const struct strangers *s)
{
    for (size_t i = 0; i < s->principals.n; i++) {
        TRY(changes_end(&f->changes, JOURNAL_TABLE_PRINCIPAL, s->principals.p[i]));
    }
    for (size_t i = 0; i < s->exceptions.n; i++) {
        TRY(changes_end(&f->changes, JOURNAL_TABLE_EXCEPTION, s->exceptions.p[i]));
    }
    return OK;
}

/* All principals of one page are in one piece, so each page is written once. */
static enum err save_pages(struct directory *d, const struct directory_version *to,
                           uint64_t first_id, uint64_t end_id)
{
    AUTO(difference_done) struct difference f = {0};
    for (uint64_t id = first_id; id < end_id; id++) {
        const struct directory_entry *e = directory_find_id(to, id);
        if (e != NULL) {
            TRY(add_principal(&f, NULL, e));
        }
    }
    TRY(add_pages(&f, to));
    return write(d, &f);
}

enum err directory_save_all(struct directory *d, const struct directory_version *to)
{
    AUTO(strangers_done) struct strangers strangers = {.v = to};
    AUTO(difference_done) struct difference f = {0};
    TRY(log_entries(d->log, JOURNAL_TABLE_PRINCIPAL, find_principal, &strangers));
    TRY(log_entries(d->log, JOURNAL_TABLE_EXCEPTION, find_exception, &strangers));
    _Static_assert(PIECE % ROSTER_PAGE == 0, "a page is written once");
    for (uint64_t id = 0; id < to->next_principal; id += PIECE) {
        TRY(save_pages(d, to, id, id + PIECE));
    }
    TRY(add_exceptions(&f, NULL, to));
    TRY(add_strangers(&f, &strangers));
    TRY(add_head(&f.changes, d, to, &strangers.principals));
    return write(d, &f);
}

/* ---- last use ---- */

static bool was_used(const struct directory_entry *e)
{
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (credential_touched(c) != c->kept_wall_ms) {
            return true;
        }
    }
    return false;
}

/* What is written later than this read may be newer than what is noted here, never older. */
static void note_kept(const struct directory_entry *e, int64_t kept[DIRECTORY_CREDENTIALS_MAX])
{
    for (size_t i = 0; i < e->n_credentials; i++) {
        kept[i] = credential_touched(e->credentials[i]);
    }
}

static enum err keep_uses_of(const struct directory *d,
                             const struct directory_entry *const *entries, size_t n)
{
    AUTO(changes_done) struct changes c = {0};
    int64_t kept[PIECE][DIRECTORY_CREDENTIALS_MAX];
    for (size_t i = 0; i < n; i++) {
        note_kept(entries[i], kept[i]);
        TRY(changes_principal(&c, entries[i]));
    }
    TRY(log_save(d->log, c.items, c.n));
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < entries[i]->n_credentials; j++) {
            credential_kept(entries[i]->credentials[j], kept[i][j]);
        }
    }
    return OK;
}

enum err directory_keep_uses(struct directory *d)
{
    const struct directory_entry *entries[PIECE];
    size_t n = 0;
    for (size_t i = 0; d->log != NULL && i < VERSION_BUCKETS; i++) {
        const struct version_bucket *b = d->current->index[VERSION_ID][i];
        for (size_t j = 0; b != NULL && j < b->n; j++) {
            if (was_used(b->items[j].entry)) {
                entries[n++] = b->items[j].entry;
            }
            if (n == PIECE) {
                TRY(keep_uses_of(d, entries, n));
                n = 0;
            }
        }
    }
    return n > 0 ? keep_uses_of(d, entries, n) : OK;
}

/* ---- erasing ---- */

size_t directory_erase_due(const struct directory *d)
{
    return d->erase.n;
}

enum err directory_erase(struct directory *d)
{
    if (d->erase.n == 0 || d->log == NULL) {
        return OK;
    }
    /* What the workers handed over for them is sealed before the keys go: afterwards the log would
     * have only its own. */
    AUTO(changes_done) struct changes c = {0};
    TRY(add_head(&c, d, d->current, &d->erase));
    TRY(log_save(d->log, c.items, c.n));
    TRY(keyring_erase(d->keyring, d->erase.p, d->erase.n));
    id_list_done(&d->erase);
    return OK;
}
