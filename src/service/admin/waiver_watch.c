/* What becomes of the doctor's waivers, for the audit trail. They are a file that the command line
 * writes, with or without a daemon, and that an editor may; so what is told is the difference
 * between that file and what was told last (WAIVERS_TOLD_FILE), whoever made it, and at the next
 * start what was done meanwhile. After a crash between the two it is told again. */
#include "base/mem.h"
#include "service/admin/admin_private.h"
#include "service/doctor/waivers.h"

enum { IS_TOLD_OVER = 0 /* as the end of a waiver in WAIVERS_TOLD_FILE */ };

static void tell(struct admin *a, const struct waiver *w, enum event_severity severity,
                 const char *what)
{
    struct event e = event_make(EVENT_config_change);
    char until[CLOCK_ISO8601_BYTES];
    char which[sizeof WAIVERS_FILE + 12]; /* else two that differ in numbers fold into one line */
    admin_time_text(w->ends_wall_ms, until);
    (void)snprintf(which, sizeof which, WAIVERS_FILE "#%u", w->id);
    e.severity = severity;
    EVENT_TEXT(&e, target, slice_text(which));
    event_reason(&e, "waiver %u %s: %s%s%.60s of %s until %s, by %s: %.80s", w->id, what, w->rule,
                 w->object[0] != '\0' ? "=" : "", w->object, facts_product_name(w->product), until,
                 w->by, w->reason);
    admin_event(a, &e);
}

static void tell_unread(struct admin *a, const char *why)
{
    struct event e = event_make(EVENT_config_change);
    e.severity = SEVERITY_WARNING;
    EVENT_TEXT(&e, target, slice_text(WAIVERS_FILE));
    event_reason(&e,
                 "the waivers of the doctor do not read, and none counts: %.120s. Mend the "
                 "file, or take it away and waive anew",
                 why);
    admin_event(a, &e);
}

/* An id is given again when all before it are forgotten; the time is another then. */
static struct waiver *find(const struct waivers *l, const struct waiver *w)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->items[i].id == w->id && l->items[i].made_wall_ms == w->made_wall_ms) {
            return &l->items[i];
        }
    }
    return NULL;
}

/* before: as it was told last, or NULL; returns the end to note as told. */
static int64_t tell_one(struct admin *a, const struct waiver *w, const struct waiver *before,
                        int64_t now)
{
    bool is_over = !waiver_is_in_force(w, now);
    if (before == NULL) {
        tell(a, w, SEVERITY_NOTICE, "is in force");
    } else if (before->ends_wall_ms == IS_TOLD_OVER) {
        if (!is_over) {
            tell(a, w, SEVERITY_WARNING, "had ended, and is in force again");
        }
        return is_over ? IS_TOLD_OVER : w->ends_wall_ms;
    } else if (before->ends_wall_ms != w->ends_wall_ms && is_over) {
        tell(a, w, SEVERITY_NOTICE, "was ended before its time");
        return IS_TOLD_OVER;
    } else if (before->ends_wall_ms != w->ends_wall_ms) {
        tell(a, w, SEVERITY_WARNING, "has another end now");
    }
    if (is_over) {
        tell(a, w, SEVERITY_NOTICE, "is over, what it was about counts again");
    }
    return is_over ? IS_TOLD_OVER : w->ends_wall_ms;
}

/* ERR_NOT_FOUND: there is no such file. */
static enum err load(struct admin *a, const char *path, struct waivers *ret, struct digest *ret_sum,
                     struct why *why)
{
    AUTO(buf_done) struct buf text = {0};
    why_set(why, "%s cannot be read", path);
    TRY(disk_load(a->setup.disk, path, WAIVERS_BYTES_MAX, &text));
    TRY(digest_sha256(buf_slice(&text), ret_sum));
    return waivers_read(buf_slice(&text), ret, why);
}

static enum err save_told(struct admin *a, const struct waivers *told)
{
    AUTO(buf_done) struct buf text = {0};
    TRY(waivers_write(told, 0, &text)); /* at this time nothing is old enough to be left out */
    return disk_save(a->setup.disk, WAIVERS_TOLD_FILE, buf_slice(&text));
}

/* *due: when the first of them ends by itself. What cannot be saved is told again by the next
 * daemon. ERR_NOMEM: nothing was told. */
static enum err tell_all(struct admin *a, const struct waivers *all, int64_t now, int64_t *due)
{
    AUTO(waivers_done) struct waivers told = {0};
    AUTO(waivers_done) struct waivers next = {0};
    struct digest ignored;
    struct why why;
    enum err err = load(a, WAIVERS_TOLD_FILE, &told, &ignored, &why);
    if (err == ERR_NOMEM) {
        return err; /* of one that does not read all is told again */
    }
    next.items = mem_zalloc((all->n + 1) * sizeof *next.items);
    if (next.items == NULL) {
        return ERR_NOMEM;
    }
    *due = INT64_MAX;
    for (size_t i = 0; i < all->n; i++) {
        const struct waiver *w = &all->items[i];
        next.items[i] = *w;
        next.items[i].ends_wall_ms = tell_one(a, w, find(&told, w), now);
        if (waiver_is_in_force(w, now) && w->ends_wall_ms < *due) {
            *due = w->ends_wall_ms;
        }
    }
    next.n = all->n;
    for (size_t i = 0; i < told.n; i++) {
        const struct waiver *w = &told.items[i];
        if (w->ends_wall_ms != IS_TOLD_OVER && find(all, w) == NULL) {
            tell(a, w, SEVERITY_WARNING, "was taken out of the file");
        }
    }
    if (all->n + told.n > 0) {
        enum err saved = save_told(a, &next);
        (void)saved;
    }
    return OK;
}

void admin_watch_waivers(struct admin *a)
{
    AUTO(waivers_done) struct waivers all = {0};
    struct digest sum = {{0}};
    struct why why;
    int64_t now = admin_wall_ms(a), due = INT64_MAX;
    enum err err = load(a, WAIVERS_FILE, &all, &sum, &why);
    bool is_same = slice_equal(digest_slice(&sum), digest_slice(&a->waivers_seen)) &&
                   now < a->waivers_due_wall_ms;
    if (err == ERR_NOMEM || (is_same && a->has_seen_waivers)) {
        return;
    }
    if (err != OK && err != ERR_NOT_FOUND) {
        tell_unread(a, why.text);
    } else if (tell_all(a, &all, now, &due) != OK) {
        return; /* at the next look */
    }
    a->waivers_seen = sum;
    a->waivers_due_wall_ms = due;
    a->has_seen_waivers = true;
}
