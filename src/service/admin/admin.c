#include "service/admin/admin.h"

#include <assert.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "service/admin/revoking.h"

enum { EVENTS_A_TICK = 8192, WAIT_MAX_MS = 60000 };

static const struct control_verb verbs[] = {
    {"device.add", verb_device_add},
    {"device.list", verb_device_list},
    {"device.show", verb_device_show},
    {"device.disable", verb_device_disable},
    {"device.enable", verb_device_enable},
    {"device.revoke", verb_device_revoke},
    {"device.rotate", verb_device_rotate},
    {"device.remove", verb_device_remove},
    {"device.role", verb_device_role},
    {"device.assign", verb_device_assign},
    {"fleet.select", verb_fleet_select},
    {"fleet.change", verb_fleet_change},
    {"fleet.add", verb_fleet_add},
    {"fleet.rotate", verb_fleet_rotate},
    {"policy.check", verb_policy_check},
    {"policy.apply", verb_policy_apply},
    {"policy.explain", verb_policy_explain},
    {"policy.crowd", verb_policy_crowd},
    {"exception.add", verb_exception_add},
    {"exception.list", verb_exception_list},
    {"exception.end", verb_exception_end},
    {"respond.list", verb_respond_list},
    {"respond.start", verb_respond_start},
    {"respond.undo", verb_respond_undo},
    {"status", verb_status},
    {"metrics", verb_metrics},
    {"alerts", verb_alerts},
    {"audit.tail", verb_audit_tail},
    {"audit.anchor", verb_audit_anchor},
    {"audit.roll-key", verb_audit_roll_key},
    {"backup.pin", verb_backup_pin},
    {"certs.renew", verb_certs_renew},
    {"certs.roll", verb_certs_roll},
    {"certs.list", verb_certs_list},
    {"certs.plan", verb_certs_plan},
    {"certs.revoke", verb_certs_revoke},
    {"certs.crl", verb_certs_crl},
    {"enrol.terms", verb_enrol_terms},
    {"enrol.list", verb_enrol_list},
    {"enrol.approve", verb_enrol_approve},
    {"enrol.reject", verb_enrol_reject},
    {"enrol.row", verb_enrol_row},
    {"master-key.rotate", verb_master_key_rotate},
    {"retained.list", verb_retained_list},
    {"retained.purge", verb_retained_purge},
    {"retained.undo", verb_retained_undo},
    {"setaside.list", verb_setaside_list},
    {"setaside.replay", verb_setaside_replay},
    {"setaside.drop", verb_setaside_drop},
};

/* ---- events ---- */

void admin_note(struct admin *a, const struct event *e)
{
    struct event stamped = *e;
    if (stamped.wall_ms == 0) {
        stamped.wall_ms = admin_wall_ms(a);
    }
    audit_note(a->setup.audit, &stamped);
}

/* Whose `device show` tells of it: the principal's, or that of the device a client id names. */
static void recall_event(struct admin *a, const struct directory_version *v, const struct event *e)
{
    struct event claimed = *e;
    if (directory_find(v, slice_text(e->principal)) != NULL) {
        recall_note(a->recall, e);
    } else if (e->principal[0] == '\0' && directory_find(v, slice_text(e->client_id)) != NULL) {
        EVENT_TEXT(&claimed, principal, slice_text(e->client_id));
        claimed.is_claimed = true;
        recall_note(a->recall, &claimed);
    } else {
        recall_note_nameless(a->recall, e);
    }
}

void admin_event(struct admin *a, const struct event *e)
{
    struct event stamped = *e;
    if (stamped.wall_ms == 0) {
        stamped.wall_ms = admin_wall_ms(a);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    struct event whole = stamped;
    bool is_known = directory_find(v, slice_text(stamped.principal)) != NULL;
    if (!is_known && stamped.is_claimed && stamped.category == EVENT_tls_reject) {
        /* Made-up names are nobody's, and no way around the folding of repeats. */
        stamped.principal[0] = '\0';
        stamped.is_claimed = false;
    }
    admin_note(a, &stamped);
    recall_event(a, v, &stamped);
    /* A full disk lasts: admin_conditions holds its alert open, and closes it. */
    if (stamped.category != EVENT_store_space || stamped.principal[0] != '\0') {
        alerts_note(&a->alerts, &stamped, admin_wall_ms(a));
    }
    admin_detect(a, v, &whole); /* with the name that was claimed: it is counted, not kept */
}

void admin_hold(struct admin *a, const char *state, const struct event *e)
{
    admin_note(a, e);
    alerts_hold(&a->alerts, state, e, admin_wall_ms(a));
}

void admin_release(struct admin *a, const char *state)
{
    (void)alerts_release(&a->alerts, state);
}

struct event admin_act_make(struct admin *a, uint64_t token, enum event_category category,
                            enum event_severity severity, const char *target)
{
    struct event e = event_make(category);
    e.severity = severity;
    e.protocol = EVENT_PROTOCOL_control;
    EVENT_TEXT(&e, target, slice_text(target));
    if (token != 0) {
        char peer[32];
        snprintf(peer, sizeof peer, "uid=%u", (unsigned)control_server_uid(a->server, token));
        EVENT_TEXT(&e, principal, slice_text("admin"));
        EVENT_TEXT(&e, peer, slice_text(peer));
    }
    return e;
}

void admin_act(struct admin *a, uint64_t token, enum event_category category,
               enum event_severity severity, const char *target, const char *format, ...)
{
    struct event e = admin_act_make(a, token, category, severity, target);
    char text[2 * sizeof e.reason]; /* longer than the field, so that a cut is marked */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    EVENT_TEXT(&e, reason, slice_text(text));
    admin_event(a, &e);
}

/* ---- changes on their way to the workers ---- */

static void realm_release(const struct realm **r)
{
    *r = realm_unref(*r);
}

void admin_push_realm(struct admin *a)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    AUTO(realm_release) const struct realm *realm = NULL;
    a->is_realm_due = realm_new_revoking(v, a->policy, a->trust, &a->lists, &realm) != OK ||
                      broker_set_realm(a->setup.broker, realm, a->edition) != OK;
}

void admin_set_certificate(struct admin *a, const struct pki *pki, const struct edition *edition)
{
    const struct edition *old = a->edition;
    a->setup.pki = pki;
    if (a->enrol != NULL) {
        enrol_set_ca(a->enrol, pki_ca_pem(pki));
    }
    a->edition = edition_ref(edition);
    a->lists_at_ms = 0; /* it has no word stapled to it yet */
    edition_unref(old);
    admin_push_realm(a);
}

enum err admin_reload(struct admin *a, const struct admin_reload *n, uint64_t *ret_epoch)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct secret_ages before = *directory_ages(v);
    directory_set_ages(a->setup.directory, &n->ages);
    enum err err = directory_policy_changed(a->setup.directory, ret_epoch);
    if (err != OK) {
        directory_set_ages(a->setup.directory, &before);
        return err;
    }
    const struct policy *old_policy = a->policy;
    const struct trust *old_trust = a->trust;
    a->policy = policy_ref(n->policy);
    a->trust = n->trust != NULL ? trust_ref(n->trust) : NULL;
    a->setup.role_start = n->role_start;
    if (n->responses != NULL) {
        respond_set_rules(a->respond, n->responses);
    }
    (void)policy_unref(old_policy);
    trust_unref(old_trust);
    admin_set_extra(a, n->extra);
    admin_set_certificate(a, n->pki, n->edition);
    admin_act(a, 0, EVENT_policy_change, SEVERITY_NOTICE, ADMIN_POLICY_FILE,
              "a new policy is in force");
    return OK;
}

enum err admin_changed(struct admin *a, uint64_t token, struct control_reply *reply, json_t *line)
{
    AUTO(admin_json_release) json_t *owned = line;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    admin_push_realm(a);
    if (owned == NULL) {
        return ERR_NOMEM; /* the change is in force all the same */
    }
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct waiting *w = &a->waiting[i];
        if (w->token == 0) {
            *w = (struct waiting){.token = token,
                                  .epoch = directory_version_epoch(v),
                                  .edition = a->edition != NULL ? a->edition->number : 0,
                                  .until_ms = admin_now_ms(a) + ADMIN_REALM_WAIT_MS,
                                  .erases = directory_erase_due(a->setup.directory) > 0,
                                  .line = TAKE(owned)};
            reply->is_streaming = true;
            return OK;
        }
    }
    return ERR_LIMIT; /* there is a row for every connection */
}

static enum err answer(struct waiting *w, struct control_reply *reply, bool everywhere)
{
    /* A bundle is handed out in any case: its credentials are registered. */
    bool has_bundle =
        json_object_get(w->line, "bundle") != NULL || json_object_get(w->line, "bundles") != NULL;
    if (w->line != NULL && (everywhere || has_bundle)) {
        TRY(control_line(reply, TAKE(w->line)));
    }
    return everywhere ? control_finish(reply, 0, NULL)
                      : control_finish(reply, 1,
                                       "the change is saved and on its way, but after %d s %s; "
                                       "look at `sallyport status`",
                                       ADMIN_REALM_WAIT_MS / 1000,
                                       w->erases ? "not every worker had it, or the disk refused "
                                                   "to erase its key; that is tried again"
                                                 : "not every worker had it");
}

static void waiting_close(struct waiting *w)
{
    json_decref(w->line);
    *w = (struct waiting){0};
}

/* Returns whether somebody still waits. */
static bool answer_waiting(struct admin *a, uint64_t now_ms)
{
    uint64_t epoch = broker_realm_epoch(a->setup.broker);
    uint64_t edition = broker_edition(a->setup.broker);
    bool waits = false;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct waiting *w = &a->waiting[i];
        if (w->token == 0) {
            continue;
        }
        struct control_reply *reply = control_server_reply(a->server, w->token);
        bool everywhere = epoch >= w->epoch && edition >= w->edition &&
                          (!w->erases || directory_erase_due(a->setup.directory) == 0);
        if (reply != NULL && !everywhere && now_ms < w->until_ms) {
            waits = true;
            continue;
        }
        if (reply != NULL && answer(w, reply, everywhere) == OK) {
            control_server_flush(a->server, w->token);
        } else {
            control_server_drop(a->server, w->token);
        }
        waiting_close(w);
    }
    return waits;
}

/* ---- life ---- */

struct admin *admin_free(struct admin *a)
{
    if (a == NULL) {
        return NULL;
    }
    (void)!directory_keep_uses(a->setup.directory);
    a->server = control_server_free(a->server);
    admin_backup_watch(a);
    admin_inquiries_end(a);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        waiting_close(&a->waiting[i]);
        admin_asking_close(&a->asking[i]);
    }
    admin_enrol_end(a);
    admin_scrapes_end(a);
    a->recall = recall_free(a->recall);
    a->detect = detect_free(a->detect);
    a->respond = respond_free(a->respond);
    a->renewals = renewals_free(a->renewals);
    a->policy = policy_unref(a->policy);
    a->trust = trust_unref(a->trust);
    admin_lists_end(a);
    a->edition = edition_unref(a->edition);
    return mem_free(a);
}

enum err admin_new(const struct admin_setup *s, struct admin **ret)
{
    assert(s->n_listeners <= ADMIN_LISTENERS_MAX);
    AUTO(admin_autofree) struct admin *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->setup = *s;
    a->policy = policy_ref(s->policy);
    a->trust = s->trust != NULL ? trust_ref(s->trust) : NULL;
    admin_lists_begin(a);
    a->started_ms = admin_now_ms(a);
    a->started_wall_ms = admin_wall_ms(a);
    a->keep_at_ms = a->started_ms + ADMIN_KEEP_MS;
    for (size_t i = 0; i < s->n_listeners; i++) {
        a->listeners[i] = s->listeners[i].name;
    }
    TRY(recall_new(&a->setup.random, &a->recall));
    admin_scrapes_begin(a);
    TRY(admin_detect_begin(a));
    TRY(admin_enrol_begin(a));
    TRY(renewals_new(&a->renewals));
    struct event damage;
    if (audit_damage(s->audit, &damage)) {
        admin_event(a, &damage);
    }
    admin_restored(a);
    admin_directory_report(a);
    TRY(admin_respond_begin(a));
    (void)admin_exceptions_end(a);
    admin_exceptions_report(a);
    *ret = TAKE(a);
    return OK;
}

static void on_refused(void *ctx, uid_t uid)
{
    struct admin *a = ctx;
    struct event e = event_make(EVENT_admin_auth);
    char peer[32];
    snprintf(peer, sizeof peer, "uid=%u", (unsigned)uid);
    e.severity = SEVERITY_WARNING;
    e.protocol = EVENT_PROTOCOL_control;
    EVENT_TEXT(&e, peer, slice_text(peer));
    event_reason(&e, "a user who may not administer opened the control socket; use root or the "
                     "daemon's own user");
    admin_event(a, &e);
}

static enum err make_server(struct admin *a, int control_fd)
{
    struct control_server_setup setup = {.loop = a->setup.loop,
                                         .listen_fd = control_fd,
                                         .uid = a->setup.uid,
                                         .verbs = verbs,
                                         .n_verbs = COUNT_OF(verbs),
                                         .ctx = a,
                                         .refused = on_refused};
    return control_server_new(&setup, admin_now_ms(a), &a->server);
}

enum err admin_attach(struct admin *a, int control_fd)
{
    assert(a->server == NULL);
    return make_server(a, control_fd);
}

enum err admin_adopt(struct admin *a, int fd)
{
    if (a->server == NULL) {
        TRY(make_server(a, -1));
    }
    return control_server_adopt(a->server, fd);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t admin_tick(struct admin *a)
{
    struct event e;
    unsigned n = 0;
    uint64_t now_ms = admin_now_ms(a);
    while (n < EVENTS_A_TICK && broker_next_event(a->setup.broker, &e)) {
        admin_event(a, &e);
        n++;
    }
    uint64_t conditions_at_ms = admin_conditions(a, now_ms);
    int64_t wall_ms = admin_wall_ms(a);
    int64_t ends_wall_ms = admin_exceptions_end(a), answers_end_wall_ms = admin_responses_end(a);
    ends_wall_ms = answers_end_wall_ms < ends_wall_ms ? answers_end_wall_ms : ends_wall_ms;
    if (a->is_realm_due) {
        admin_push_realm(a);
    }
    uint64_t later_ms = earlier(admin_erase(a, now_ms), admin_keep_uses(a, now_ms));
    later_ms = earlier(later_ms, admin_keep_tickets(a, now_ms));
    later_ms = earlier(later_ms, admin_renew(a, now_ms));
    later_ms = earlier(later_ms, admin_keep_certificate(a, now_ms));
    later_ms = earlier(later_ms, admin_settle(a, now_ms));
    later_ms = earlier(later_ms, admin_keep_lists(a, now_ms));
    later_ms = earlier(later_ms, admin_detect_turn(a, now_ms));
    bool waits = admin_enrol(a, now_ms);
    waits = admin_scrapes(a, now_ms) || waits;
    waits = (a->server != NULL && answer_waiting(a, now_ms)) || waits;
    waits = (a->server != NULL && admin_answer_asking(a, now_ms)) || waits;
    admin_announce(a);
    audit_tick(a->setup.audit, now_ms);
    /* The wall clock may step under a deadline. */
    uint64_t next = earlier(now_ms + WAIT_MAX_MS, earlier(conditions_at_ms, later_ms));
    if (a->server != NULL) {
        admin_follow(a);
        waits = admin_inquire(a) || waits;
        admin_backup_watch(a);
        next = earlier(next, control_server_tick(a->server, now_ms));
    }
    if (n == EVENTS_A_TICK) {
        return now_ms;
    }
    if (waits || a->is_realm_due) {
        next = earlier(next, now_ms + ADMIN_POLL_MS);
    }
    if (ends_wall_ms != INT64_MAX) {
        int64_t left = ends_wall_ms > wall_ms ? ends_wall_ms - wall_ms : 0;
        next = earlier(next, now_ms + (uint64_t)left);
    }
    next = earlier(next, broker_news_at_ms(a->setup.broker, now_ms));
    return earlier(next, audit_deadline(a->setup.audit));
}

/* ---- what verbs share ---- */

void admin_time_text(int64_t wall_ms, char dst[CLOCK_ISO8601_BYTES])
{
    if (wall_ms == 0 || wall_ms == CREDENTIAL_NEVER) {
        snprintf(dst, CLOCK_ISO8601_BYTES, "-");
    } else {
        clock_iso8601(wall_ms, dst);
    }
}

json_t *admin_time(int64_t wall_ms)
{
    char text[CLOCK_ISO8601_BYTES];
    admin_time_text(wall_ms, text);
    return json_string(text);
}

void admin_shown(struct slice text, char *dst, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    while (text.n > 0) {
        size_t good = text.n;
        if (utf8_check(text, UTF8_STRICT, &good) == OK) {
            good = text.n;
        }
        if (good > 0) {
            size_t fits = good < cap - 1 - at ? good : cap - 1 - at;
            while (fits < good && fits > 0 && (text.p[fits] & 0xc0) == 0x80) {
                fits--; /* whole characters only */
            }
            memcpy(dst + at, text.p, fits);
            at += fits;
            if (fits < good) {
                break;
            }
            text = slice_from(text, good);
        } else if (at + 4 < cap) {
            const char hex[] = {'\\', 'x', digits[text.p[0] >> 4], digits[text.p[0] & 15]};
            memcpy(dst + at, hex, sizeof hex);
            at += sizeof hex;
            text = slice_from(text, 1);
        } else {
            break;
        }
    }
    dst[at] = '\0';
}

enum err admin_refuse(struct control_reply *reply, const char *what, enum err e,
                      const struct why *why)
{
    if (why != NULL && why->text[0] != '\0') {
        return control_finish(reply, 1, "%s", why->text);
    }
    switch ((unsigned)e) {
    case ERR_NOT_FOUND:
        return control_finish(reply, 1, "%s is not there", what);
    case ERR_SPACE:
    case ERR_IO:
        return control_finish(reply, 1,
                              "%s: the disk refused (%s); nothing changed. Make room on it, or "
                              "mend it",
                              what, err_name(e));
    default:
        return control_finish(reply, 1, "%s: %s; nothing changed", what, err_name(e));
    }
}
