/* What the directory wants done by and by: erasing keys, saving times of last use, saying damage.
 */
#include <inttypes.h>

#include "base/log.h"
#include "service/admin/admin_private.h"
#include "service/pki/ticket_file.h"

enum { ERASE_AGAIN_MS = 1000, TICKETS_LOOK_MS = 30 * 1000 };

static void say_erase(struct admin *a, enum event_severity severity, size_t n, const char *what)
{
    struct event e = event_make(EVENT_device_change);
    e.severity = severity;
    event_reason(&e, "removed devices (%zu): their keys %s", n, what);
    admin_event(a, &e);
}

uint64_t admin_erase(struct admin *a, uint64_t now_ms)
{
    struct directory *d = a->setup.directory;
    size_t n = directory_erase_due(d);
    if (n == 0) {
        return UINT64_MAX;
    }
    AUTO(admin_version_release) const struct directory_version *v = directory_current(d);
    if (broker_realm_epoch(a->setup.broker) < directory_version_epoch(v)) {
        return now_ms + ADMIN_POLL_MS;
    }
    if (now_ms < a->erase_at_ms) {
        return a->erase_at_ms;
    }
    enum err err = directory_erase(d);
    if (err == OK) {
        say_erase(a, SEVERITY_NOTICE, n,
                  "are erased: what they had stored is unreadable, also in copies of the store");
        a->is_erase_late = false;
        return UINT64_MAX;
    }
    if (!a->is_erase_late) {
        say_erase(a, SEVERITY_ALERT, n,
                  "are not erased yet: the disk refused. Make room on it, or mend it; it is tried "
                  "again every second, and after a restart");
    }
    a->is_erase_late = true;
    a->erase_at_ms = now_ms + ERASE_AGAIN_MS;
    return a->erase_at_ms;
}

uint64_t admin_keep_uses(struct admin *a, uint64_t now_ms)
{
    if (now_ms >= a->keep_at_ms) {
        (void)!directory_keep_uses(a->setup.directory); /* what failed is among the next ones */
        a->keep_at_ms = now_ms + ADMIN_KEEP_MS;
    }
    return a->keep_at_ms;
}

uint64_t admin_keep_tickets(struct admin *a, uint64_t now_ms)
{
    struct admin_setup *s = &a->setup;
    bool changed = false;
    if (s->tickets == NULL) {
        return UINT64_MAX;
    }
    if (now_ms < a->tickets_at_ms) {
        return a->tickets_at_ms;
    }
    a->tickets_at_ms = now_ms + TICKETS_LOOK_MS;
    enum err err = tls_tickets_rotate(s->tickets, &changed);
    if (err == OK && (changed || a->are_tickets_unsaved)) {
        err = ticket_file_save(s->disk, keyring_root(s->keyring), &s->random, s->tickets);
    }
    if (err != OK && !a->are_tickets_unsaved) {
        /* Nobody is shut out by it. */
        log_line(LOG_WARN,
                 "the keys of TLS tickets are not saved (%s): tickets given from now on end with "
                 "the next restart. Make room on the disk, or mend it; it is tried again",
                 err_name(err));
    }
    a->are_tickets_unsaved = err != OK;
    return a->tickets_at_ms;
}

void admin_directory_report(struct admin *a)
{
    const struct directory_damage *d = directory_damage(a->setup.directory);
    if (d->missing + d->stale + d->returned + d->exceptions + d->head == 0) {
        return;
    }
    struct event e = event_make(EVENT_store_integrity);
    EVENT_TEXT(&e, target, slice_text(d->first));
    event_reason(&e,
                 "%" PRIu64 " devices are lost; of %" PRIu64
                 " only an older state is left (disabled: "
                 "check them, then `device enable`); %" PRIu64 " removed ones and %" PRIu64
                 " exceptions were kept out%s. A backup may have what is missing",
                 d->missing, d->stale, d->returned, d->exceptions,
                 d->head != 0 ? "; secrets in use may be registered twice" : "");
    admin_event(a, &e);
}
