/* Guessed secrets: from one network, for one name, of many names from everywhere. And credentials
 * in hands that they do not belong in. */
#include "service/detect/detect_private.h"

static uint32_t since(const struct detect *d, const struct detect_sketch *k, uint32_t length_s)
{
    (void)d;
    return detect_window_since(&k->window, length_s);
}

static void from_source(struct detect *d, const struct sight *s, uint64_t name)
{
    struct source *o = s->source;
    bool has_name = s->e->principal[0] != '\0';
    uint32_t names =
        has_name ? detect_sketch_add(&o->names, d->t.short_window_s, s->n, name, s->now_s) : 0;
    uint32_t n = has_name ? detect_sketch_total(&o->names) : 0;
    if (names >= d->t.source_names || n >= d->t.source_failures) {
        detect_tell(d, DETECTOR_login_source, &o->told_s[DETECTOR_login_source], s,
                    since(d, &o->names, d->t.short_window_s),
                    "%u failed logins under at least %u names, the last as '%.24s'", n, names,
                    s->e->principal);
    }
}

static void for_name(struct detect *d, const struct sight *s, uint64_t network)
{
    struct identity *i = s->identity;
    uint32_t n = detect_window_add(&i->failures, d->t.short_window_s, s->n, s->now_s);
    uint32_t networks =
        detect_sketch_add(&i->sources, d->t.places_window_s, s->n, network, s->now_s);
    if (n >= d->t.name_failures) {
        detect_tell(d, DETECTOR_login_name, &i->told_s[DETECTOR_login_name], s,
                    detect_window_since(&i->failures, d->t.short_window_s),
                    "%u failed logins in its name within %u s", n, 2 * d->t.short_window_s);
    } else if (networks >= d->t.name_sources) {
        detect_tell(d, DETECTOR_login_name, &i->told_s[DETECTOR_login_name], s,
                    since(d, &i->sources, d->t.places_window_s),
                    "%u failed logins in its name from at least %u networks",
                    detect_sketch_total(&i->sources), networks);
    }
}

static void anywhere(struct detect *d, const struct sight *s, uint64_t name, uint64_t network)
{
    uint32_t length_s = d->t.places_window_s;
    uint32_t names = detect_sketch_add(&d->spray_names, length_s, s->n, name, s->now_s);
    uint32_t networks = detect_sketch_add(&d->spray_sources, length_s, s->n, network, s->now_s);
    if (names >= d->t.spray_names && networks >= d->t.spray_sources) {
        struct sight all = *s;
        all.identity = NULL; /* it is about nobody in particular */
        detect_tell(d, DETECTOR_login_spray, &d->spray_told_s, &all,
                    since(d, &d->spray_names, length_s),
                    "%u failed logins under more than %u names from at least %u networks",
                    detect_sketch_total(&d->spray_names), names, networks);
    }
}

static void failed(struct detect *d, const struct sight *s)
{
    uint64_t name = detect_hash(d, slice_text(s->e->principal));
    uint64_t network =
        detect_hash(d, slice_of(s->source->prefix.bytes, sizeof(s->source->prefix.bytes)));
    struct sight stranger = *s;
    stranger.identity = NULL; /* a name that somebody claims is not who does it */
    from_source(d, &stranger, name);
    if (s->identity != NULL) {
        for_name(d, s, network);
    }
    if (s->e->principal[0] != '\0') {
        anywhere(d, s, name, network);
    }
}

/* Of a device that has its row, or, when it does not exist any more, of where it comes from. */
static void foreign_key(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    struct detect_window *w = i != NULL ? &i->certificates : &s->source->certificates;
    uint32_t *told_s = i != NULL ? i->told_s : s->source->told_s;
    uint32_t n = detect_window_add(w, d->t.long_window_s, s->n, s->now_s);
    if (n >= d->t.certificate_misuse) {
        detect_tell(d, DETECTOR_certificate_key, &told_s[DETECTOR_certificate_key], s,
                    detect_window_since(w, d->t.long_window_s),
                    "%u logins with a certificate that we signed for '%.24s', and a foreign key", n,
                    s->e->principal);
    }
}

static void count(struct detect *d, const struct sight *s, enum detector which,
                  struct detect_window *w, uint32_t most, const char *what)
{
    uint32_t n = detect_window_add(w, d->t.long_window_s, s->n, s->now_s);
    if (n >= most) {
        detect_tell(d, which, &s->identity->told_s[which], s,
                    detect_window_since(w, d->t.long_window_s), "%u %s", n, what);
    }
}

void logins_see(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    const struct event *e = s->e;
    bool is_failure = e->category == EVENT_auth_fail ||
                      (e->category == EVENT_tls_reject && e->is_claimed); /* a pre-shared key */
    if (is_failure && (e->is_claimed || e->principal[0] == '\0')) {
        failed(d, s);
    } else if (e->is_foreign_key) {
        foreign_key(d, s);
    } else if (i != NULL && e->category == EVENT_revoked && !e->is_claimed && !e->is_unasked) {
        count(d, s, DETECTOR_revoked_use, &i->revoked, d->t.revoked_uses,
              "logins after it was revoked or disabled");
    } else if (i != NULL && e->category == EVENT_identity_mismatch) {
        count(d, s, DETECTOR_impersonation, &i->impersonations, d->t.impersonations,
              "claims of an identity or segment that is not its own");
    }
}
