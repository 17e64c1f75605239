/* One secret after another: at once, after a time, or when the device has used the new one. */
#include "service/directory/directory_private.h"

/* ---- which is which ---- */

/* The newest of a kind that the device may hold for sure; -1: none. */
static int standing_of(const struct directory_entry *e, enum credential_kind kind)
{
    int at = -1;
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->kind == kind && !credential_waits(e->credentials[i])) {
            at = (int)i;
        }
    }
    return at;
}

static const struct credential *waiting_of(const struct directory_entry *e,
                                           enum credential_kind kind)
{
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->kind == kind && credential_waits(e->credentials[i])) {
            return e->credentials[i];
        }
    }
    return NULL;
}

/* Where the newest of its kind is; `at` itself: it is that. */
static size_t newest_of(const struct directory_entry *e, size_t at)
{
    size_t newest = at;
    for (size_t i = at + 1; i < e->n_credentials; i++) {
        newest = e->credentials[i]->kind == e->credentials[at]->kind ? i : newest;
    }
    return newest;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- a new one ---- */

/* How the one that stands goes on beside the new one. */
struct succession {
    int64_t until; /* not later than now: not at all */
    bool waits;
    int64_t tail_ms;
};

static enum err keep_standing(const struct directory_entry *e, size_t at,
                              const struct succession *s, int64_t now_wall_ms,
                              struct credential_list *ret)
{
    const struct credential *c = e->credentials[at];
    const struct credential *waiting = waiting_of(e, c->kind);
    int64_t own = waiting != NULL ? waiting->before_wall_ms : c->expires_wall_ms;
    const struct credential *shorter = NULL;
    if (s->until <= now_wall_ms || own <= now_wall_ms) {
        return OK;
    }
    TRY(credential_until(c, earlier(s->until, own), &shorter));
    ret->items[ret->n++] = shorter;
    return OK;
}

/* What stays beside the new credential: all of other kinds, and of its own the one that stands. */
static enum err keep_others(const struct directory_entry *e, enum credential_kind kind,
                            const struct succession *s, int64_t now_wall_ms,
                            struct credential_list *ret)
{
    int standing = standing_of(e, kind);
    for (size_t i = 0; i < e->n_credentials; i++) {
        if (e->credentials[i]->kind != kind) {
            ret->items[ret->n++] = credential_ref(e->credentials[i]);
        } else if ((int)i == standing) {
            TRY(keep_standing(e, i, s, now_wall_ms, ret));
        }
    }
    return OK;
}

/* What a new credential takes over from the one that stands, and whether there is one to wait for.
 */
static void follow(const struct directory_entry *e, struct credential *fresh,
                   const struct succession *s, const struct credential_list *kept)
{
    const struct credential *waiting = waiting_of(e, fresh->kind);
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        int64_t silence = atomic_load(&c->silence_ms);
        if (c->kind == fresh->kind && silence > atomic_load(&fresh->silence_ms)) {
            atomic_store(&fresh->silence_ms, silence);
        }
    }
    for (size_t i = 0; s->waits && i < kept->n; i++) {
        if (kept->items[i]->kind == fresh->kind) {
            int standing = standing_of(e, fresh->kind);
            fresh->is_unconfirmed = true;
            fresh->tail_ms = s->tail_ms;
            fresh->before_wall_ms = waiting != NULL ? waiting->before_wall_ms
                                                    : e->credentials[standing]->expires_wall_ms;
        }
    }
}

static enum err put_beside(struct directory *d, struct slice name,
                           const struct directory_secret *secret, const struct succession *s,
                           int64_t now_wall_ms, struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    if (e->principal->status == PRINCIPAL_REVOKED) {
        why_set(why, "%s is revoked for good: remove it and add it anew", e->principal->name);
        return ERR_DENIED;
    }
    struct credential *c = NULL;
    AUTO(credential_list_done) struct credential_list list = {0};
    TRY(credential_make(d, next, name, secret, now_wall_ms, &c, why));
    AUTO(credential_autofree) struct credential *fresh = c;
    TRY(keep_others(e, secret->kind, s, now_wall_ms, &list));
    if (list.n == DIRECTORY_CREDENTIALS_MAX) {
        return ERR_LIMIT;
    }
    follow(e, fresh, s, &list);
    list.items[list.n++] = credential_ref(fresh);
    uint64_t id = e->principal->id;
    if (credential_is_secret(fresh) && s->until > now_wall_ms && !id_list_has(&d->unsettled, id)) {
        TRY(id_list_add(&d->unsettled, id));
    }
    return entry_replace(d, &next, e, e->principal->own_status, slice_text(e->reason), list.items,
                         list.n);
}

enum err directory_rotate(struct directory *d, struct slice name,
                          const struct directory_secret *secret, int64_t overlap_ms,
                          int64_t now_wall_ms, struct why *why)
{
    struct succession s = {0};
    if (overlap_ms < 0 || __builtin_add_overflow(now_wall_ms, overlap_ms, &s.until)) {
        return ERR_MALFORMED;
    }
    return put_beside(d, name, secret, &s, now_wall_ms, why);
}

enum err directory_succeed(struct directory *d, struct slice name,
                           const struct directory_secret *secret, int64_t tail_ms,
                           int64_t now_wall_ms, struct why *why)
{
    struct succession s = {
        .until = secret_waits_until(&d->ages, now_wall_ms), .waits = true, .tail_ms = tail_ms};
    if (tail_ms < 0 || secret->kind == CREDENTIAL_X509) {
        return ERR_MALFORMED;
    }
    return put_beside(d, name, secret, &s, now_wall_ms, why);
}

/* ---- by hand ---- */

/* Whether something of this kind is there to be decided about. */
static bool is_open(const struct directory_entry *e, enum credential_kind kind,
                    enum directory_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_credentials; i++) {
        n += e->credentials[i]->kind == kind ? 1 : 0;
    }
    return verdict == DIRECTORY_ABORT ? waiting_of(e, kind) != NULL : n > 1;
}

static enum err decide_one(const struct directory_entry *e, size_t at,
                           enum directory_verdict verdict, struct credential_list *ret)
{
    const struct credential *c = e->credentials[at];
    const struct credential *waiting = waiting_of(e, c->kind);
    const struct credential *changed = NULL;
    if (verdict == DIRECTORY_ABORT && c == waiting) {
        return OK;
    }
    if (verdict == DIRECTORY_ABORT) {
        TRY(credential_until(c, waiting->before_wall_ms, &changed));
    } else if (newest_of(e, at) != at) {
        return OK;
    } else {
        TRY(credential_confirmed(c, &changed));
    }
    ret->items[ret->n++] = changed;
    return OK;
}

enum err directory_decide(struct directory *d, struct slice name, unsigned kinds,
                          enum directory_verdict verdict, struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    AUTO(credential_list_done) struct credential_list list = {0};
    bool is_any = false;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < e->n_credentials; i++) {
        enum credential_kind kind = e->credentials[i]->kind;
        if ((kinds == 0 || (kinds & 1U << kind) != 0) && is_open(e, kind, verdict)) {
            is_any = true;
            TRY(decide_one(e, i, verdict, &list));
        } else {
            list.items[list.n++] = credential_ref(e->credentials[i]);
        }
    }
    if (!is_any) {
        why_set(why,
                verdict == DIRECTORY_ABORT
                    ? "no new secret of %s waits for its device: there is nothing to take back. "
                      "`device show %s` says which credentials it has"
                    : "%s has one credential of each kind: there is nothing to cut over. `device "
                      "rotate %s` makes new ones, and ends the old ones at once",
                e->principal->name, e->principal->name);
        return ERR_NOT_FOUND;
    }
    return entry_replace(d, &next, e, e->principal->own_status, slice_text(e->reason), list.items,
                         list.n);
}

/* ---- as devices come ---- */

size_t directory_unsettled(const struct directory *d)
{
    return d->unsettled.n;
}

void directory_set_ages(struct directory *d, const struct secret_ages *ages)
{
    d->ages = *ages;
}

/* What is to be done about one credential. */
enum settling { SETTLE_NOTHING, SETTLE_LATER, SETTLE_CONFIRM, SETTLE_END, SETTLE_FORGET };

/* all has what was said of the newer ones: one of them may be used meanwhile, and old and new must
 * go by the same answer. */
static enum settling settling_of(const struct directory_entry *e, size_t at,
                                 const enum settling all[], int64_t now_wall_ms)
{
    const struct credential *c = e->credentials[at];
    size_t newest = newest_of(e, at);
    if (!credential_is_secret(c)) {
        return SETTLE_NOTHING;
    }
    if (newest == at) {
        return !c->is_unconfirmed    ? SETTLE_NOTHING
               : credential_waits(c) ? SETTLE_LATER
                                     : SETTLE_CONFIRM;
    }
    if (e->credentials[newest]->is_unconfirmed) { /* its end comes with the newest one's use */
        return all[newest] == SETTLE_CONFIRM ? SETTLE_END : SETTLE_LATER;
    }
    return credential_is_live(c, now_wall_ms) ? SETTLE_LATER : SETTLE_FORGET;
}

static int64_t tail_end(const struct credential *old, const struct credential *used,
                        int64_t now_wall_ms)
{
    int64_t end;
    if (__builtin_add_overflow(now_wall_ms, used->tail_ms, &end)) {
        end = CREDENTIAL_NEVER;
    }
    return earlier(end, old->expires_wall_ms);
}

struct settled {
    struct directory_confirmation *items; /* DIRECTORY_SETTLE_MAX */
    size_t n;
    bool changed;
};

static void tell(struct settled *s, const struct directory_entry *e, const struct credential *used,
                 int64_t ends_wall_ms)
{
    struct directory_confirmation *to = &s->items[s->n++];
    *to = (struct directory_confirmation){.kind = used->kind, .ends_wall_ms = ends_wall_ms};
    (void)slice_to_text(slice_text(e->principal->name), to->name, sizeof to->name);
}

static enum err settle_one(const struct directory_entry *e, size_t at, enum settling what,
                           int64_t now_wall_ms, struct settled *s, struct credential_list *ret)
{
    const struct credential *c = e->credentials[at];
    const struct credential *changed = NULL;
    if (what == SETTLE_FORGET) {
        return OK;
    }
    if (what == SETTLE_CONFIRM) {
        TRY(credential_confirmed(c, &changed));
    } else if (what == SETTLE_END) {
        int64_t ends = tail_end(c, e->credentials[newest_of(e, at)], now_wall_ms);
        tell(s, e, c, ends);
        if (ends <= now_wall_ms) {
            return OK;
        }
        TRY(credential_until(c, ends, &changed));
    } else {
        changed = credential_ref(c);
    }
    ret->items[ret->n++] = changed;
    return OK;
}

/* *ret_done: nothing will be to be done about it later. */
static enum err settle_entry(struct directory *d, uint64_t id, int64_t now_wall_ms,
                             struct settled *s, bool *ret_done)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    AUTO(credential_list_done) struct credential_list list = {0};
    const struct directory_version *last = d->draft != NULL ? d->draft : d->current;
    const struct directory_entry *e = directory_find_id(last, id);
    enum settling what[DIRECTORY_CREDENTIALS_MAX];
    bool is_change = false;
    *ret_done = true;
    for (size_t i = e != NULL ? e->n_credentials : 0; i > 0; i--) {
        what[i - 1] = settling_of(e, i - 1, what, now_wall_ms);
        *ret_done = *ret_done && what[i - 1] == SETTLE_NOTHING;
        is_change = is_change || what[i - 1] > SETTLE_LATER;
    }
    if (!is_change) {
        return OK;
    }
    TRY(change_begin(d, &next));
    for (size_t i = 0; i < e->n_credentials; i++) {
        TRY(settle_one(e, i, what[i], now_wall_ms, s, &list));
    }
    s->changed = true;
    return entry_replace(d, &next, e, e->principal->own_status, slice_text(e->reason), list.items,
                         list.n);
}

static enum err settle_all(struct directory *d, int64_t now_wall_ms, struct settled *s)
{
    size_t kept = 0, i = 0;
    enum err err = OK;
    for (; err == OK && i < d->unsettled.n && s->n + CREDENTIAL_KINDS <= DIRECTORY_SETTLE_MAX;
         i++) {
        bool is_done = false;
        err = settle_entry(d, d->unsettled.p[i], now_wall_ms, s, &is_done);
        if (err != OK || !is_done) {
            d->unsettled.p[kept++] = d->unsettled.p[i];
        }
    }
    for (; i < d->unsettled.n; i++) {
        d->unsettled.p[kept++] = d->unsettled.p[i];
    }
    d->unsettled.n = kept;
    return err;
}

enum err directory_settle(struct directory *d, int64_t now_wall_ms,
                          struct directory_confirmation ret[DIRECTORY_SETTLE_MAX], size_t *ret_n,
                          bool *ret_changed)
{
    struct settled s = {.items = ret};
    *ret_n = 0;
    *ret_changed = false;
    directory_begin(d);
    enum err err = settle_all(d, now_wall_ms, &s);
    if (err == OK) {
        err = directory_commit(d);
    }
    if (err != OK) {
        directory_rollback(d);
        return err;
    }
    *ret_n = s.n;
    *ret_changed = s.changed;
    return OK;
}

enum err directory_find_unsettled(struct directory *d)
{
    size_t at = 0;
    const struct directory_entry *e;
    while ((e = directory_next(d->current, &at)) != NULL) {
        bool is_one = false;
        for (size_t i = 0; i < e->n_credentials; i++) {
            const struct credential *c = e->credentials[i];
            is_one =
                is_one || (credential_is_secret(c) && (c->is_unconfirmed || newest_of(e, i) != i));
        }
        TRY(is_one ? id_list_add(&d->unsettled, e->principal->id) : OK);
    }
    return OK;
}
