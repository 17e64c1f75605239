/* Alerts of credentials that end: weeks before it hurts, and at once when many end together. */
#include "service/admin/admin_private.h"
#include "service/directory/expiry.h"

enum {
    LOOK_MS = 60 * 60 * 1000,
    SOON_DAYS = 14,
    AUTHORITY_DAYS = 180, /* twice the life of what it signs */
    /* Fewer on one day are a cliff in `certs plan`, but wake nobody. */
    CLIFF_LEAST = 100,
    /* So long a device may sleep before somebody should look whether it has its new bundle. */
    WAITS_DAYS = 7
};

#define HELD_AUTHORITY "authority ends"
#define HELD_SOON      "credentials end soon"
#define HELD_CLIFF     "credentials end together"
#define HELD_AGED      "secrets are old"
#define HELD_WAITS     "rotations are not confirmed"

static void hold(struct admin *a, const char *state, bool is_on, bool *was_on, struct event *e)
{
    e->severity = SEVERITY_ALERT;
    if (is_on) {
        alerts_hold(&a->alerts, state, e, admin_wall_ms(a));
    } else {
        (void)alerts_release(&a->alerts, state);
    }
    if (is_on && !*was_on) {
        admin_note(a, e); /* once in the trail; the alert stays in sight */
    }
    *was_on = is_on;
}

static void watch_soon(struct admin *a, const struct expiry_list *l, int64_t now)
{
    struct event e = event_make(EVENT_credential_expiring);
    char first[CLOCK_ISO8601_BYTES];
    const struct expiry_item *item = NULL; /* the first */
    size_t n = 0;
    int64_t until = now + SOON_DAYS * EXPIRY_DAY_MS;
    for (size_t i = 0; i < l->n && l->items[i].ends_wall_ms <= until; i++) {
        if (!credential_is_revoked(l->items[i].credential)) { /* somebody wanted that one to end */
            item = item != NULL ? item : &l->items[i];
            n++;
        }
    }
    if (n > 0) {
        const char *name = item->entry->principal->name;
        expiry_day_text(item->ends_wall_ms / EXPIRY_DAY_MS, first);
        EVENT_TEXT(&e, target, slice_text(name));
        event_reason(&e,
                     "%zu credentials have expired or end within %d days, the first is that of %s, "
                     "on %s: then it is refused. `sallyport certs list` names them; give each a "
                     "new one: `sallyport device rotate NAME`",
                     n, (int)SOON_DAYS, name, first);
    }
    hold(a, HELD_SOON, n > 0, &a->is_ending_soon, &e);
}

static void watch_cliffs(struct admin *a, const struct expiry_list *l)
{
    struct event e = event_make(EVENT_credential_expiring);
    struct expiry_day day, worst = {0};
    char text[CLOCK_ISO8601_BYTES];
    size_t at = 0;
    while (expiry_next_day(l, &at, &day)) {
        worst = day.is_cliff && day.n >= CLIFF_LEAST && day.n > worst.n ? day : worst;
    }
    expiry_day_text(worst.day, text);
    EVENT_TEXT(&e, target, slice_text(text));
    event_reason(
        &e,
        "%zu of %zu credentials end on the same day, %s: what fails then fails for all of "
        "them. Renew some each day until it is taken back (`sallyport device rotate NAME`); "
        "`sallyport certs plan` shows the days",
        worst.n, l->n, text);
    hold(a, HELD_CLIFF, worst.n > 0, &a->is_ending_together, &e);
}

static void watch_authority(struct admin *a, int64_t now)
{
    struct event e = event_make(EVENT_credential_expiring);
    char ends[CLOCK_ISO8601_BYTES];
    int64_t at = pki_issuer_not_after(a->setup.pki);
    expiry_day_text(at / EXPIRY_DAY_MS, ends);
    EVENT_TEXT(&e, target, slice_text("authority"));
    event_reason(&e,
                 "the authority that signs ends on %s, and nothing that it signs lives longer: "
                 "begin its roll-over now, `sallyport certs roll switch` (or, for a new root, "
                 "`certs roll prepare` first)",
                 ends);
    hold(a, HELD_AUTHORITY, at - now < AUTHORITY_DAYS * EXPIRY_DAY_MS, &a->is_authority_ending, &e);
}

static void watch_aged(struct admin *a, const struct expiry_list *l, int64_t now,
                       const struct secret_ages *ages)
{
    struct event e = event_make(EVENT_credential_expiring);
    const struct expiry_item *oldest = NULL;
    for (size_t i = 0; i < l->n_listed; i++) {
        const struct credential *c = l->items[i].credential;
        if (secret_reported_at(ages, c) <= now &&
            (oldest == NULL || c->created_wall_ms < oldest->credential->created_wall_ms)) {
            oldest = &l->items[i];
        }
    }
    if (oldest != NULL) {
        const char *name = oldest->entry->principal->name;
        char since[CLOCK_ISO8601_BYTES];
        expiry_day_text(oldest->credential->created_wall_ms / EXPIRY_DAY_MS, since);
        EVENT_TEXT(&e, target, slice_text(name));
        event_reason(&e,
                     "%zu secrets are older than psk_age, oscore_age or password_age allow, the "
                     "oldest is the %s of %s, of %s. `certs list --state aged`; give each a new "
                     "one: `device rotate NAME --overlap 24h`",
                     l->n_aged, credential_kind_name(oldest->credential->kind), name, since);
    }
    hold(a, HELD_AGED, oldest != NULL, &a->has_aged, &e);
}

static void watch_waiting(struct admin *a, const struct expiry_list *l, int64_t now)
{
    struct event e = event_make(EVENT_credential_expiring);
    const struct expiry_item *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < l->n_listed; i++) {
        const struct expiry_item *item = &l->items[i];
        if (item->waiting != NULL &&
            item->waiting->created_wall_ms + WAITS_DAYS * EXPIRY_DAY_MS <= now) {
            n++;
            first =
                first == NULL || item->waiting->created_wall_ms < first->waiting->created_wall_ms
                    ? item
                    : first;
        }
    }
    if (first != NULL) {
        const char *name = first->entry->principal->name;
        char since[CLOCK_ISO8601_BYTES], ends[CLOCK_ISO8601_BYTES];
        expiry_day_text(first->waiting->created_wall_ms / EXPIRY_DAY_MS, since);
        expiry_day_text(first->ends_wall_ms / EXPIRY_DAY_MS, ends);
        EVENT_TEXT(&e, target, slice_text(name));
        event_reason(&e,
                     "%zu rotations are not confirmed after %d days. %s has not used its new %s "
                     "since %s; its old one opens until %s. Give it the bundle, or `device rotate "
                     "NAME --abort`",
                     n, (int)WAITS_DAYS, name, credential_kind_name(first->waiting->kind), since,
                     first->ends_wall_ms == CREDENTIAL_NEVER ? "that" : ends);
    }
    hold(a, HELD_WAITS, first != NULL, &a->has_waiting, &e);
}

void admin_watch_expiry(struct admin *a, uint64_t now_ms)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    uint64_t epoch = directory_version_epoch(v);
    if (now_ms < a->expiry_at_ms && epoch == a->expiry_epoch) {
        return;
    }
    AUTO(expiry_done) struct expiry_list l = {0};
    int64_t now = admin_wall_ms(a);
    if (expiry_collect(v, now, &l) != OK) {
        return; /* memory is short: looked at again with the next one */
    }
    a->expiry_at_ms = now_ms + LOOK_MS;
    a->expiry_epoch = epoch;
    watch_soon(a, &l, now);
    watch_cliffs(a, &l);
    watch_authority(a, now);
    watch_aged(a, &l, now, directory_ages(v));
    watch_waiting(a, &l, now);
}
