/* Alerts of credentials that end: weeks before it hurts, and at once when many end together. */
#include "service/admin/admin_private.h"
#include "service/directory/expiry.h"

enum {
    LOOK_MS = 60 * 60 * 1000,
    SOON_DAYS = 14,
    /* Fewer on one day are a cliff in `certs plan`, but wake nobody. */
    CLIFF_LEAST = 100
};

#define HELD_SOON  "credentials end soon"
#define HELD_CLIFF "credentials end together"

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
    for (size_t i = 0; i < l->n && l->items[i].credential->expires_wall_ms <= until; i++) {
        if (!credential_is_revoked(l->items[i].credential)) { /* somebody wanted that one to end */
            item = item != NULL ? item : &l->items[i];
            n++;
        }
    }
    if (n > 0) {
        const char *name = item->entry->principal->name;
        expiry_day_text(item->credential->expires_wall_ms / EXPIRY_DAY_MS, first);
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
    event_reason(&e,
                 "%zu of %zu credentials end on the same day, %s: what fails then fails for all of "
                 "them. Renew some each day until then (`sallyport device rotate NAME`); "
                 "`sallyport certs plan` shows the days",
                 worst.n, l->n, text);
    hold(a, HELD_CLIFF, worst.n > 0, &a->is_ending_together, &e);
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
}
