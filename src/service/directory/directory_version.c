#include "service/directory/directory_version.h"

#include <assert.h>

#include "base/mem.h"
#include "service/directory/directory_version_private.h"

/* ---- buckets ---- */

static struct version_bucket *bucket_new(size_t n)
{
    struct version_bucket *b = mem_zalloc(sizeof *b + n * sizeof b->items[0]);
    if (b != NULL) {
        atomic_init(&b->refs, 1);
    }
    return b;
}

static struct version_bucket *bucket_counted(const struct version_bucket *b)
{
    return (struct version_bucket *)(uintptr_t)b;
}

static void bucket_unref(const struct version_bucket *b)
{
    if (b != NULL &&
        atomic_fetch_sub_explicit(&bucket_counted(b)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < b->n; i++) {
            entry_unref(b->items[i].entry);
        }
        mem_free(bucket_counted(b));
    }
}

static int compare(struct slice a, struct slice b)
{
    size_t common = a.n < b.n ? a.n : b.n;
    int order = common > 0 ? memcmp(a.p, b.p, common) : 0;
    if (order != 0) {
        return order;
    }
    return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

/* The place of key, or the place where it would go. */
static size_t bucket_place(const struct version_bucket *b, struct slice key, bool *ret_found)
{
    size_t low = 0;
    size_t high = b != NULL ? b->n : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(key, b->items[middle].key);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *ret_found = false;
    return low;
}

static void bucket_push(struct version_bucket *b, struct version_item item)
{
    b->items[b->n++] = (struct version_item){item.key, entry_ref(item.entry)};
}

static const struct version_bucket **bucket_of(struct directory_version *v,
                                               enum version_index index, struct slice key)
{
    return &v->index[index][siphash(&v->key, key) % VERSION_BUCKETS];
}

static enum err index_add(struct directory_version *v, enum version_index index, struct slice key,
                          const struct directory_entry *entry)
{
    const struct version_bucket **slot = bucket_of(v, index, key);
    const struct version_bucket *before = *slot;
    size_t n = before != NULL ? before->n : 0;
    bool found = false;
    size_t at = bucket_place(before, key, &found);
    assert(at <= n);
    if (found) {
        return ERR_EXISTS;
    }
    struct version_bucket *after = bucket_new(n + 1);
    if (after == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < at; i++) {
        bucket_push(after, before->items[i]);
    }
    bucket_push(after, (struct version_item){key, entry});
    for (size_t i = at; i < n; i++) {
        bucket_push(after, before->items[i]);
    }
    *slot = after;
    bucket_unref(before);
    return OK;
}

static enum err index_remove(struct directory_version *v, enum version_index index,
                             struct slice key)
{
    const struct version_bucket **slot = bucket_of(v, index, key);
    const struct version_bucket *before = *slot;
    bool found = false;
    size_t at = bucket_place(before, key, &found);
    assert(found);
    struct version_bucket *after = NULL;
    if (before->n > 1) {
        after = bucket_new(before->n - 1);
        if (after == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < before->n; i++) {
            if (i != at) {
                bucket_push(after, before->items[i]);
            }
        }
    }
    *slot = after;
    bucket_unref(before);
    return OK;
}

/* ---- versions ---- */

static struct directory_version *counted(const struct directory_version *v)
{
    return (struct directory_version *)(uintptr_t)v;
}

static void exceptions_unref(const struct version_exceptions *e)
{
    struct version_exceptions *own = (struct version_exceptions *)(uintptr_t)e;
    if (own != NULL && atomic_fetch_sub_explicit(&own->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(own);
    }
}

const struct directory_version *directory_version_ref(const struct directory_version *v)
{
    atomic_fetch_add_explicit(&counted(v)->refs, 1, memory_order_relaxed);
    return v;
}

const struct directory_version *directory_version_unref(const struct directory_version *v)
{
    if (v != NULL && atomic_fetch_sub_explicit(&counted(v)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < VERSION_INDEXES; i++) {
            for (size_t j = 0; j < VERSION_BUCKETS; j++) {
                bucket_unref(v->index[i][j]);
            }
        }
        exceptions_unref(v->exceptions);
        decoys_unref(v->decoys);
        mem_free(counted(v));
    }
    return NULL;
}

enum err version_new(const struct siphash_key *key, struct directory_version **ret)
{
    struct directory_version *v = mem_zalloc(sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    enum err err = decoys_new(key->k0 ^ key->k1, &v->decoys);
    if (err != OK) {
        mem_free(v);
        return err;
    }
    atomic_init(&v->refs, 1);
    v->key = *key;
    v->epoch = 1;
    v->policy_epoch = 1;
    v->next_principal = v->next_credential = v->next_exception = 1;
    *ret = v;
    return OK;
}

enum err version_copy(const struct directory_version *v, struct directory_version **ret)
{
    struct directory_version *copy = mem_zalloc(sizeof *copy);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    /* Member by member: readers of v change its count meanwhile. */
    copy->epoch = v->epoch;
    copy->policy_epoch = v->policy_epoch;
    copy->key = v->key;
    copy->scram_key = v->scram_key;
    copy->n = v->n;
    memcpy(copy->index, v->index, sizeof copy->index);
    copy->decoys = decoys_ref(v->decoys);
    copy->exceptions = v->exceptions;
    copy->ages = v->ages;
    copy->next_principal = v->next_principal;
    copy->next_credential = v->next_credential;
    copy->next_exception = v->next_exception;
    memcpy(copy->admin_phc, v->admin_phc, sizeof copy->admin_phc);
    copy->admin_expires_wall_ms = v->admin_expires_wall_ms;
    atomic_init(&copy->refs, 1);
    copy->epoch++;
    for (size_t i = 0; i < VERSION_INDEXES; i++) {
        for (size_t j = 0; j < VERSION_BUCKETS; j++) {
            if (v->index[i][j] != NULL) {
                atomic_fetch_add_explicit(&bucket_counted(v->index[i][j])->refs, 1,
                                          memory_order_relaxed);
            }
        }
    }
    if (v->exceptions != NULL) {
        struct version_exceptions *own = (struct version_exceptions *)(uintptr_t)v->exceptions;
        atomic_fetch_add_explicit(&own->refs, 1, memory_order_relaxed);
    }
    *ret = copy;
    return OK;
}

static struct slice identity_of(const struct credential *c)
{
    return c->kind == CREDENTIAL_PSK ? slice_text(c->identity) : (struct slice){0};
}

static struct slice id_of(const struct directory_entry *e)
{
    return slice_of(&e->principal->id, sizeof(e->principal->id));
}

enum err version_replace(struct directory_version *v, const struct directory_entry *before,
                         const struct directory_entry *after)
{
    if (before != NULL) {
        /* the index may hold the last reference to what its keys point into */
        AUTO(entry_autofree) const struct directory_entry *keep = entry_ref(before);
        TRY(index_remove(v, VERSION_NAME, slice_text(keep->principal->name)));
        TRY(index_remove(v, VERSION_ID, id_of(keep)));
        for (size_t i = 0; i < keep->n_credentials; i++) {
            const struct credential *c = keep->credentials[i];
            TRY(index_remove(v, VERSION_FINGERPRINT, digest_slice(&c->fingerprint)));
            if (c->kind == CREDENTIAL_X509) {
                TRY(index_remove(v, VERSION_SPKI, digest_slice(&c->spki)));
            } else if (c->kind == CREDENTIAL_OSCORE) {
                TRY(index_remove(v, VERSION_KID, oscore_kid_slice(&c->kid)));
            } else if (identity_of(c).n > 0) {
                TRY(index_remove(v, VERSION_IDENTITY, identity_of(c)));
            }
        }
        v->n--;
    }
    if (after != NULL) {
        TRY(index_add(v, VERSION_NAME, slice_text(after->principal->name), after));
        TRY(index_add(v, VERSION_ID, id_of(after), after));
        for (size_t i = 0; i < after->n_credentials; i++) {
            const struct credential *c = after->credentials[i];
            TRY(index_add(v, VERSION_FINGERPRINT, digest_slice(&c->fingerprint), after));
            if (c->kind == CREDENTIAL_X509) {
                TRY(index_add(v, VERSION_SPKI, digest_slice(&c->spki), after));
            } else if (c->kind == CREDENTIAL_OSCORE) {
                TRY(index_add(v, VERSION_KID, oscore_kid_slice(&c->kid), after));
            } else if (identity_of(c).n > 0) {
                TRY(index_add(v, VERSION_IDENTITY, identity_of(c), after));
            }
        }
        v->n++;
    }
    return OK;
}

/* Both buckets are sorted. */
static enum err bucket_diff(const struct version_bucket *from, const struct version_bucket *to,
                            enum err (*each)(void *ctx, const struct directory_entry *before,
                                             const struct directory_entry *after),
                            void *ctx)
{
    size_t n_from = from != NULL ? from->n : 0;
    size_t n_to = to != NULL ? to->n : 0;
    size_t i = 0;
    size_t j = 0;
    while (i < n_from || j < n_to) {
        int order = i == n_from ? 1
                    : j == n_to ? -1
                                : compare(from->items[i].key, to->items[j].key);
        const struct directory_entry *before = order <= 0 ? from->items[i++].entry : NULL;
        const struct directory_entry *after = order >= 0 ? to->items[j++].entry : NULL;
        if (before != after) {
            TRY(each(ctx, before, after));
        }
    }
    return OK;
}

enum err version_diff(const struct directory_version *from, const struct directory_version *to,
                      enum err (*each)(void *ctx, const struct directory_entry *before,
                                       const struct directory_entry *after),
                      void *ctx)
{
    for (size_t i = 0; i < VERSION_BUCKETS; i++) {
        const struct version_bucket *before = from != NULL ? from->index[VERSION_ID][i] : NULL;
        if (before != to->index[VERSION_ID][i]) {
            TRY(bucket_diff(before, to->index[VERSION_ID][i], each, ctx));
        }
    }
    return OK;
}

enum err version_set_exceptions(struct directory_version *v,
                                const struct directory_exception *items, size_t n)
{
    struct version_exceptions *list = NULL;
    if (n > 0) {
        list = mem_zalloc(sizeof *list + n * sizeof list->items[0]);
        if (list == NULL) {
            return ERR_NOMEM;
        }
        atomic_init(&list->refs, 1);
        list->n = n;
        memcpy(list->items, items, n * sizeof list->items[0]);
    }
    exceptions_unref(v->exceptions);
    v->exceptions = list;
    return OK;
}

const struct directory_entry *version_find(const struct directory_version *v,
                                           enum version_index index, struct slice key)
{
    const struct version_bucket *b = v->index[index][siphash(&v->key, key) % VERSION_BUCKETS];
    bool found = false;
    size_t at = bucket_place(b, key, &found);
    return found ? b->items[at].entry : NULL;
}

/* ---- asking ---- */

uint64_t directory_version_epoch(const struct directory_version *v)
{
    return v->epoch;
}

uint64_t directory_version_policy_epoch(const struct directory_version *v)
{
    return v->policy_epoch;
}

size_t directory_version_count(const struct directory_version *v)
{
    return v->n;
}

const struct directory_entry *directory_find(const struct directory_version *v, struct slice name)
{
    return version_find(v, VERSION_NAME, name);
}

const struct directory_entry *directory_find_spki(const struct directory_version *v,
                                                  const struct digest *spki)
{
    return version_find(v, VERSION_SPKI, digest_slice(spki));
}

const struct directory_entry *directory_find_id(const struct directory_version *v, uint64_t id)
{
    return version_find(v, VERSION_ID, slice_of(&id, sizeof(id)));
}

const struct directory_entry *directory_find_kid(const struct directory_version *v,
                                                 struct slice kid,
                                                 const struct credential **ret_credential)
{
    const struct directory_entry *entry = version_find(v, VERSION_KID, kid);
    for (size_t i = 0; entry != NULL && i < entry->n_credentials; i++) {
        const struct credential *c = entry->credentials[i];
        if (c->kind == CREDENTIAL_OSCORE && slice_equal(oscore_kid_slice(&c->kid), kid)) {
            *ret_credential = c;
        }
    }
    return entry;
}

static enum version_index index_of(struct slice identity)
{
    return identity.n > 0 && identity.p[0] == CREDENTIAL_OPAQUE[0] ? VERSION_IDENTITY
                                                                   : VERSION_NAME;
}

const struct directory_entry *directory_find_identity(const struct directory_version *v,
                                                      struct slice identity)
{
    return version_find(v, index_of(identity), identity);
}

const struct secret_ages *directory_ages(const struct directory_version *v)
{
    return &v->ages;
}

int64_t directory_ends(const struct directory_version *v, const struct credential *c)
{
    return secret_refused_at(&v->ages, c);
}

bool directory_is_live(const struct directory_version *v, const struct credential *c,
                       int64_t now_wall_ms)
{
    return now_wall_ms < directory_ends(v, c);
}

bool directory_is_aged(const struct directory_version *v, const struct credential *c,
                       int64_t now_wall_ms)
{
    return credential_is_live(c, now_wall_ms) && !directory_is_live(v, c, now_wall_ms);
}

const struct credential *directory_aged(const struct directory_version *v,
                                        const struct directory_entry *e, enum credential_kind kind,
                                        int64_t now_wall_ms)
{
    const struct credential *aged = NULL;
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (c->kind == kind && directory_is_live(v, c, now_wall_ms)) {
            return NULL;
        }
        if (c->kind == kind && directory_is_aged(v, c, now_wall_ms)) {
            aged = c;
        }
    }
    return aged;
}

void directory_left(const struct directory_version *v, const struct principal *p,
                    uint64_t credential, int64_t now_wall_ms)
{
    const struct directory_entry *e = directory_find_id(v, p->id);
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        if (e->credentials[i]->id == credential) {
            credential_left(e->credentials[i], now_wall_ms);
        }
    }
}

const struct directory_entry *directory_next(const struct directory_version *v, size_t *at)
{
    /* *at counts entries; the buckets before it are skipped by their size */
    size_t rest = *at;
    for (size_t i = 0; i < VERSION_BUCKETS; i++) {
        const struct version_bucket *b = v->index[VERSION_NAME][i];
        size_t n = b != NULL ? b->n : 0;
        if (rest < n) {
            (*at)++;
            return b->items[rest].entry;
        }
        rest -= n;
    }
    return NULL;
}

enum err directory_changes(const struct directory_version *from, const struct directory_version *to,
                           enum err (*each)(void *ctx, const struct directory_entry *before,
                                            const struct directory_entry *after),
                           void *ctx)
{
    return version_diff(from, to, each, ctx);
}

_Static_assert((int)DIRECTORY_PAGES == (int)VERSION_BUCKETS, "a page is a bucket");

const struct directory_entry *directory_page(const struct directory_version *v, size_t page,
                                             size_t *at)
{
    const struct version_bucket *b = v->index[VERSION_ID][page];
    return b != NULL && *at < b->n ? b->items[(*at)++].entry : NULL;
}

enum err directory_login_x509(const struct directory_version *v, struct slice name,
                              const struct digest *spki, int64_t now_wall_ms,
                              const struct directory_entry **ret_entry,
                              const struct credential **ret_credential)
{
    const struct directory_entry *entry = directory_find_spki(v, spki);
    if (entry == NULL || !slice_is(name, entry->principal->name)) {
        return ERR_AUTH;
    }
    const struct credential *credential = NULL;
    for (size_t i = 0; i < entry->n_credentials; i++) {
        const struct credential *c = entry->credentials[i];
        if (c->kind == CREDENTIAL_X509 && slice_equal(digest_slice(&c->spki), digest_slice(spki))) {
            credential = c;
        }
    }
    assert(credential != NULL);
    if (entry->principal->status != PRINCIPAL_ACTIVE) {
        *ret_entry = entry;
        return ERR_DENIED;
    }
    *ret_entry = entry;
    if (ret_credential != NULL) {
        *ret_credential = credential;
    }
    return credential_is_live(credential, now_wall_ms) ? OK : ERR_EXPIRED;
}

/* Whoever a name is: somebody, or a decoy in the place of nobody. */
struct whoever {
    const struct directory_entry *entry; /* NULL: a decoy */
    const enum principal_status *status;
    const struct credential *const *credentials;
    size_t n;
};

static struct whoever look_up(const struct directory_version *v, enum version_index index,
                              struct slice name)
{
    uint64_t hash = siphash(&v->key, name);
    const struct version_bucket *b = v->index[index][hash % VERSION_BUCKETS];
    bool found = false;
    size_t at = bucket_place(b, name, &found);
    if (found) {
        const struct directory_entry *e = b->items[at].entry;
        return (struct whoever){e, &e->principal->status, e->credentials, e->n_credentials};
    }
    const struct decoy *d = decoys_of(v->decoys, hash);
    /* Somebody's name was compared before it was found: so is this one, which never fits. */
    size_t n = d->entry->n_credentials - (compare(name, d->name) == 0 ? 1 : 0);
    return (struct whoever){NULL, d->entry->status, d->entry->credentials, n};
}

/* The live credentials of this kind; identity is empty, or the opaque one that was named. Nobody's
 * are there, too, but do not count. */
static struct directory_live live_of(const struct directory_version *v, const struct whoever *who,
                                     enum credential_kind kind, struct slice identity,
                                     int64_t now_wall_ms, size_t *ret_n_shown)
{
    struct directory_live live = {.entry = who->entry};
    size_t n = 0;
    for (size_t i = who->n; i > 0 && n < DIRECTORY_LIVE_MAX; i--) {
        const struct credential *c = who->credentials[i - 1];
        bool is_named = slice_equal(identity_of(c), identity);
        if (c->kind == kind && directory_is_live(v, c, now_wall_ms) &&
            (is_named || who->entry == NULL)) {
            live.credentials[n++] = c;
        }
    }
    live.n = who->entry != NULL ? n : 0;
    *ret_n_shown = n;
    return live;
}

struct directory_live directory_live(const struct directory_version *v, struct slice name,
                                     enum credential_kind kind, int64_t now_wall_ms)
{
    enum version_index index = kind == CREDENTIAL_PSK ? index_of(name) : VERSION_NAME;
    struct slice identity = index == VERSION_IDENTITY ? name : (struct slice){0};
    struct whoever who = look_up(v, index, name);
    size_t ignored;
    if (*who.status != PRINCIPAL_ACTIVE) {
        return (struct directory_live){.entry = who.entry};
    }
    return live_of(v, &who, kind, identity, now_wall_ms, &ignored);
}

enum err directory_login_password(const struct directory_version *v, struct slice name,
                                  struct slice password, int64_t now_wall_ms,
                                  const struct directory_entry **ret_entry,
                                  const struct credential **ret_credential)
{
    size_t ignored;
    struct whoever who = look_up(v, VERSION_NAME, name);
    const struct directory_entry *entry = who.entry;
    struct directory_live live =
        live_of(v, &who, CREDENTIAL_PASSWORD, (struct slice){0}, now_wall_ms, &ignored);
    const char *phc[DIRECTORY_LIVE_MAX];
    for (size_t i = 0; i < live.n; i++) {
        phc[i] = live.credentials[i]->phc;
    }
    size_t at = 0;
    enum err err = password_verify(password, phc, live.n, &at);
    TRY(err == ERR_TOO_LARGE ? ERR_AUTH : err);
    assert(entry != NULL); /* nobody has no password */
    *ret_entry = entry;
    if (entry->principal->status != PRINCIPAL_ACTIVE) {
        return ERR_DENIED;
    }
    if (ret_credential != NULL) {
        *ret_credential = live.credentials[at];
    }
    return OK;
}

enum err directory_scram(const struct directory_version *v, struct slice name, int64_t now_wall_ms,
                         struct directory_scram *ret)
{
    size_t n_shown;
    struct scram_salt of_name;
    struct whoever who = look_up(v, VERSION_NAME, name);
    struct directory_scram found = {.entry = who.entry};
    struct directory_live live =
        live_of(v, &who, CREDENTIAL_SCRAM, (struct slice){0}, now_wall_ms, &n_shown);
    TRY(scram_salt_of(digest_slice(&v->scram_key), name, &of_name));
    found.salt = of_name;
    for (size_t i = 0; i < n_shown; i++) {
        const struct credential *c = live.credentials[i];
        if (i == 0) {
            found.salt = c->scram.salt;
        }
        /* One challenge has one salt: the newest's, which is the older one's unless the key of the
         * salts was lost in between. */
        if (memcmp(c->scram.salt.bytes, found.salt.bytes, sizeof found.salt.bytes) == 0 &&
            c->scram.salt.iterations == found.salt.iterations) {
            found.credentials[found.n] = c;
            found.keys[found.n] = c->scram.keys;
            found.n++;
        }
    }
    if (found.entry == NULL) { /* its keys stay, for the same copies to be made, and do not count */
        found.salt = of_name;
        found.n = 0;
    }
    *ret = found;
    return OK;
}

const struct directory_exception *directory_exceptions(const struct directory_version *v,
                                                       size_t *ret_n)
{
    *ret_n = v->exceptions != NULL ? v->exceptions->n : 0;
    return v->exceptions != NULL ? v->exceptions->items : NULL;
}

const struct directory_exception *directory_exception_find(const struct directory_version *v,
                                                           struct slice listener, unsigned allow,
                                                           int64_t now_wall_ms)
{
    size_t n = 0;
    const struct directory_exception *items = directory_exceptions(v, &n);
    for (size_t i = 0; i < n; i++) {
        /* Not in force before it was made either: a clock set back never prolongs it. */
        if (slice_is(listener, items[i].listener) && (items[i].allow & allow) == allow &&
            now_wall_ms < items[i].ends_wall_ms &&
            now_wall_ms >= items[i].created_wall_ms - DIRECTORY_EXCEPTION_SLACK_MS) {
            return &items[i];
        }
    }
    return NULL;
}
