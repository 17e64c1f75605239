/* What is asked for: topics of others, far too many topics, topics that give commands. */
#include "core/topic.h"
#include "service/detect/detect_private.h"

static const char *const command_levels[] = {"cmd", "command", "commands", "set",   "rpc",
                                             "ota", "fw",      "firmware", "reboot"};

bool topic_gives_commands(struct slice topic)
{
    bool has_more = true, found = false;
    while (has_more && !found) {
        struct slice level = slice_cut(&topic, '/', &has_more);
        for (size_t i = 0; i < COUNT_OF(command_levels); i++) {
            found = found || slice_is(level, command_levels[i]);
        }
    }
    return found;
}

/* The first level is already a wildcard; of a shared subscription that behind the group. */
static bool is_wide(struct slice filter)
{
    bool has_more;
    struct slice level = slice_cut(&filter, '/', &has_more);
    if (slice_is(level, "$share") && has_more) {
        (void)slice_cut(&filter, '/', &has_more);
        level = slice_cut(&filter, '/', &has_more);
    }
    return slice_is(level, "#") || slice_is(level, "+");
}

static void probed(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    uint64_t target = detect_hash(d, slice_text(s->e->target));
    uint32_t n = detect_sketch_add(&i->targets, d->t.short_window_s, s->n, target, s->now_s);
    if (n >= d->t.probe_targets) {
        detect_tell(d, DETECTOR_probing, &i->told_s[DETECTOR_probing], s,
                    detect_window_since(&i->targets.window, d->t.short_window_s),
                    "%u refusals for at least %u topics, the last '%.40s'",
                    detect_sketch_total(&i->targets), n, s->e->target);
    }
}

static void went_wide(struct detect *d, const struct sight *s, uint32_t points)
{
    struct identity *i = s->identity;
    uint32_t n = detect_window_add(&i->wildcards, d->t.long_window_s, points, s->now_s);
    if (n >= d->t.wildcard_points) {
        detect_tell(d, DETECTOR_wide_filter, &i->told_s[DETECTOR_wide_filter], s,
                    detect_window_since(&i->wildcards, d->t.long_window_s),
                    "%u points of %u for wide or costly filters, the last '%.40s'", n,
                    d->t.wildcard_points, s->e->target);
    }
}

static void commanded(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    uint32_t n = detect_window_add(&i->commands, d->t.long_window_s, s->n, s->now_s);
    if (n >= d->t.command_refusals) {
        detect_tell(d, DETECTOR_command_write, &i->told_s[DETECTOR_command_write], s,
                    detect_window_since(&i->commands, d->t.long_window_s),
                    "%u refusals of command topics, the last '%.40s'", n, s->e->target);
    }
}

/* A stranger at a door, or a client at a path that is not there. */
static void looked(struct detect *d, const struct sight *s)
{
    struct source *o = s->source;
    uint32_t n = detect_window_add(&o->probes, d->t.short_window_s, s->n, s->now_s);
    if (n >= d->t.probe_asks) {
        detect_tell(d, DETECTOR_probing, &o->told_s[DETECTOR_probing], s,
                    detect_window_since(&o->probes, d->t.short_window_s),
                    "%u requests for what is not there within %u s", n, 2 * d->t.short_window_s);
    }
}

void asks_see(struct detect *d, const struct sight *s)
{
    const struct event *e = s->e;
    struct slice target = slice_text(e->target);
    if (e->category == EVENT_probe) {
        looked(d, s);
    }
    if (s->identity == NULL || target.n == 0 || e->is_unasked) {
        return;
    }
    bool is_denied = e->category == EVENT_acl_deny;
    if (is_denied) {
        probed(d, s);
    }
    if (is_denied && !topic_has_wildcard(target) && topic_gives_commands(target)) {
        commanded(d, s);
    }
    if (e->category == EVENT_wildcard) {
        went_wide(d, s, d->t.wildcard_refused); /* what is retained under it costs too much */
    } else if (is_wide(target) && (is_denied || e->category == EVENT_allow)) {
        uint32_t filter = (uint32_t)detect_hash(d, target);
        bool is_again = filter == s->identity->wide; /* who reconnects asks for the same */
        s->identity->wide = filter;
        went_wide(d, s, is_denied && !is_again ? d->t.wildcard_refused : 1);
    }
}
