/* The two things an administrator does to the directory itself: exceptions, and the first login. */
#include "base/mem.h"
#include "base/utf8.h"
#include "service/directory/directory_private.h"

enum { ALLOW_ALL = DIRECTORY_ALLOW_PLAINTEXT | DIRECTORY_ALLOW_ANONYMOUS };

/* ---- exceptions ---- */

static enum err check_exception(const struct directory_exception_order *o, struct why *why)
{
    if (o->reason.n == 0 || o->reason.n > DIRECTORY_REASON_MAX ||
        utf8_check(o->reason, UTF8_STRICT, NULL) != OK) {
        why_set(why, "an exception needs a reason of 1 to %d bytes, without control characters",
                DIRECTORY_REASON_MAX);
        return ERR_MALFORMED;
    }
    if (o->for_ms <= 0 || o->for_ms > (int64_t)DIRECTORY_EXCEPTION_MAX_S * 1000) {
        why_set(why, "an exception lasts at most 7 days");
        return ERR_MALFORMED;
    }
    if (o->allow == 0 || (o->allow & ~(unsigned)ALLOW_ALL) != 0) {
        why_set(why, "an exception allows `plaintext`, `anonymous`, or both");
        return ERR_MALFORMED;
    }
    if (!principal_name_ok(o->listener) || o->listener.n > DIRECTORY_LISTENER_MAX) {
        why_set(why, "an exception names one listener");
        return ERR_MALFORMED;
    }
    if ((o->allow & DIRECTORY_ALLOW_ANONYMOUS) != 0 && !principal_name_ok(o->role)) {
        why_set(why, "anonymous clients need a role: --role ROLE says what they may do");
        return ERR_MALFORMED;
    }
    return OK;
}

/* Both copies were checked to fit. */
static void copy_text(char *dst, size_t cap, struct slice s)
{
    if (!slice_to_text(s, dst, cap)) {
        dst[0] = '\0';
    }
}

/* All but the ended ones and the one with this id. */
static size_t keep_exceptions(const struct directory_version *v, uint64_t without_id,
                              int64_t now_wall_ms,
                              struct directory_exception ret[DIRECTORY_EXCEPTIONS_MAX])
{
    size_t n_all = 0;
    size_t n = 0;
    const struct directory_exception *all = directory_exceptions(v, &n_all);
    for (size_t i = 0; i < n_all; i++) {
        if (all[i].id != without_id && now_wall_ms < all[i].ends_wall_ms) {
            ret[n++] = all[i];
        }
    }
    return n;
}

enum err directory_exception_add(struct directory *d, const struct directory_exception_order *o,
                                 int64_t now_wall_ms, uint64_t *ret_id, struct why *why)
{
    TRY(check_exception(o, why));
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    struct directory_exception items[DIRECTORY_EXCEPTIONS_MAX];
    size_t n = keep_exceptions(next, 0, now_wall_ms, items);
    if (n == DIRECTORY_EXCEPTIONS_MAX) {
        why_set(why, "%d exceptions are in force: end one first", DIRECTORY_EXCEPTIONS_MAX);
        return ERR_LIMIT;
    }
    struct directory_exception *e = &items[n++];
    *e = (struct directory_exception){.id = next->next_exception++,
                                      .allow = o->allow,
                                      .created_wall_ms = now_wall_ms,
                                      .ends_wall_ms = now_wall_ms + o->for_ms};
    copy_text(e->listener, sizeof e->listener, o->listener);
    copy_text(e->reason, sizeof e->reason, o->reason);
    if ((o->allow & DIRECTORY_ALLOW_ANONYMOUS) != 0) {
        copy_text(e->role, sizeof e->role, o->role);
    }
    TRY(version_set_exceptions(next, items, n));
    TRY(change_finish(d, &next));
    *ret_id = e->id;
    return OK;
}

enum err directory_exception_end(struct directory *d, uint64_t id)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    struct directory_exception items[DIRECTORY_EXCEPTIONS_MAX];
    size_t n_before = 0;
    (void)directory_exceptions(next, &n_before);
    size_t n = keep_exceptions(next, id, INT64_MIN, items);
    if (n == n_before) {
        return ERR_NOT_FOUND;
    }
    TRY(version_set_exceptions(next, items, n));
    return change_finish(d, &next);
}

/* ---- the one-time secret ---- */

enum err directory_admin_secret(struct directory *d, int64_t now_wall_ms,
                                char ret[PASSWORD_GENERATED_BYTES])
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    char secret[PASSWORD_GENERATED_BYTES];
    password_generate(&d->random, secret);
    enum err err = password_hash(slice_text(secret), next->admin_phc);
    next->admin_expires_wall_ms = now_wall_ms + (int64_t)DIRECTORY_ADMIN_SECRET_S * 1000;
    if (err == OK) {
        err = change_finish(d, &next);
    }
    if (err == OK) {
        memcpy(ret, secret, sizeof secret);
    }
    mem_wipe(secret, sizeof secret);
    return err;
}

enum err directory_admin_login(struct directory *d, struct slice presented, int64_t now_wall_ms)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    const char *phc[] = {next->admin_phc};
    enum err err = password_verify(presented, phc, next->admin_phc[0] != '\0' ? 1 : 0, NULL);
    TRY(err == ERR_TOO_LARGE ? ERR_AUTH : err);
    if (now_wall_ms >= next->admin_expires_wall_ms) {
        return ERR_EXPIRED;
    }
    mem_wipe(next->admin_phc, sizeof next->admin_phc);
    next->admin_expires_wall_ms = 0;
    return change_finish(d, &next);
}
