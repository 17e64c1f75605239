/* What the log says about itself. */
#include <inttypes.h>
#include <stdio.h>

#include "store/log_private.h"

enum { LOG_EVENTS_MAX = 100 };

static void tell(struct log *l, const struct event *e)
{
    if (l->setup.event != NULL) {
        l->setup.event(l->setup.ctx, e);
    }
}

void log_event(struct log *l, enum event_category c, enum event_severity severity,
               const char *reason)
{
    struct event e = event_make(c);
    e.severity = severity;
    e.wall_ms = l->setup.clock.wall_ms(l->setup.clock.ctx);
    EVENT_TEXT(&e, target, slice_text(STORE_DIR));
    event_reason(&e, "%s", reason);
    tell(l, &e);
}

void log_damage_event(struct log *l, uint32_t segment, uint32_t offset, const char *what,
                      const struct record_head *head)
{
    if (l->n_events >= LOG_EVENTS_MAX) {
        if (!l->is_told_too_many) {
            l->is_told_too_many = true;
            log_event(l, EVENT_store_integrity, SEVERITY_ALERT,
                      "more damage follows, not named one by one; status counts it. Restore a "
                      "backup, and check the disk");
        }
        return;
    }
    l->n_events++;
    struct event e = event_make(EVENT_store_integrity);
    e.wall_ms = l->setup.clock.wall_ms(l->setup.clock.ctx);
    char name[SEGMENT_NAME_BYTES], where[64];
    segment_name(segment, name);
    (void)snprintf(where, sizeof where, "%s@%" PRIu32, name, offset);
    EVENT_TEXT(&e, target, slice_text(where));
    if (head != NULL) {
        event_reason(&e, "%s; record kind %u, owner %" PRIu64 ", %" PRIu32 " bytes", what,
                     (unsigned)head->kind, head->owner, head->bytes);
    } else {
        event_reason(&e, "%s", what);
    }
    tell(l, &e);
}
