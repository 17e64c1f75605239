/* certs list, plan: who ends when. */
#include "security/crypto/x509.h"
#include "service/admin/admin_private.h"
#include "service/directory/expiry.h"

enum { BAR_WIDTH = 40 };

/* Whole days, rounded up: what ends in an hour is there today. */
static int64_t days_left(int64_t ends_wall_ms, int64_t now_wall_ms)
{
    int64_t left = ends_wall_ms - now_wall_ms;
    return left > 0 ? (left + EXPIRY_DAY_MS - 1) / EXPIRY_DAY_MS : -(-left / EXPIRY_DAY_MS);
}

/* ---- list ---- */

static const char *state_of(const struct expiry_item *item)
{
    return credential_is_revoked(item->credential) ? "revoked" : expiry_state_name(item->state);
}

static enum err list_line(const struct admin *a, const struct expiry_item *item, int64_t now,
                          struct control_reply *reply)
{
    const struct credential *c = item->credential;
    const char *name = item->entry->principal->name;
    char ends[CLOCK_ISO8601_BYTES], used[CLOCK_ISO8601_BYTES], since[CLOCK_ISO8601_BYTES];
    char text[512], days[24] = "-", hex[SERIAL_HEX_BYTES], lane[CLOCK_ISO8601_BYTES];
    const char *serial = admin_serial_text(c, hex);
    bool has_end = item->ends_wall_ms != CREDENTIAL_NEVER, is_silent = expiry_is_silent(item);
    int64_t lane_wall_ms = renewals_until(a, item->entry, c, now);
    int64_t left = has_end ? days_left(item->ends_wall_ms, now) : 0;
    if (has_end) {
        (void)snprintf(days, sizeof days, "%lld", (long long)left);
    }
    admin_time_text(item->ends_wall_ms, ends);
    admin_time_text(lane_wall_ms, lane);
    admin_time_text(item->waiting != NULL ? item->waiting->created_wall_ms : 0, since);
    admin_time_text(atomic_load_explicit(&c->used_wall_ms, memory_order_relaxed), used);
    int n = snprintf(text, sizeof text, "%-24s %-9s %-8s %s  %5s days  last login %s%s%s%s", name,
                     credential_kind_name(c->kind), state_of(item), ends, days, used,
                     item->is_renewed ? "" : "  never renewed", serial != NULL ? "  serial " : "",
                     serial != NULL ? serial : "");
    if (lane_wall_ms != 0) {
        n += snprintf(text + n, sizeof text - (size_t)n, "  in the renewal lane until %s", lane);
    }
    if (item->waiting != NULL) {
        n +=
            snprintf(text + n, sizeof text - (size_t)n, "  rotation not confirmed since %s", since);
    }
    if (is_silent) {
        (void)snprintf(text + n, sizeof text - (size_t)n,
                       "  silent for up to %lld days, should renew within %lld",
                       (long long)(item->silence_ms / EXPIRY_DAY_MS),
                       (long long)(item->window_ms / EXPIRY_DAY_MS));
    }
    return control_line(
        reply, json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:b,s:s,s:I,s:b,s:s*,s:s,s:s}", "name", name,
                         "kind", credential_kind_name(c->kind), "state", state_of(item), "expires",
                         ends, "days", has_end ? json_integer(left) : json_null(), "last_used",
                         used, "renewed", item->is_renewed ? 1 : 0, "unconfirmed_since", since,
                         "silence_days", (json_int_t)(item->silence_ms / EXPIRY_DAY_MS), "silent",
                         is_silent ? 1 : 0, "serial", serial, "lane_until", lane, "text", text));
}

static bool is_asked_for(const struct expiry_item *item, const char *state)
{
    return state == NULL || strcmp(state, state_of(item)) == 0;
}

enum err verb_certs_list(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    const char *state = control_arg_text(r, "state");
    int64_t now = admin_wall_ms(a);
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    AUTO(expiry_done) struct expiry_list l = {0};
    TRY(expiry_collect(v, now, &l));
    for (size_t i = 0; i < l.n_listed; i++) {
        if (is_asked_for(&l.items[i], state)) {
            TRY(list_line(a, &l.items[i], now, reply));
        }
    }
    return control_finish(reply, 0, NULL);
}

/* ---- plan ---- */

static enum err authority_line(const char *what, int64_t ends_wall_ms, int64_t now,
                               struct control_reply *reply)
{
    char ends[CLOCK_ISO8601_BYTES], text[128];
    int64_t left = days_left(ends_wall_ms, now);
    admin_time_text(ends_wall_ms, ends);
    snprintf(text, sizeof text, "%-24s ends %s, in %lld days", what, ends, (long long)left);
    return control_line(reply, json_pack("{s:s,s:s,s:I,s:s}", "authority", what, "expires", ends,
                                         "days", (json_int_t)left, "text", text));
}

static enum err authorities(const struct admin *a, int64_t now, struct control_reply *reply)
{
    struct slice pem = pki_ca_pem(a->setup.pki);
    enum err err = OK;
    TRY(authority_line("server certificate", pki_server_not_after(a->setup.pki), now, reply));
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        if ((err = x509_next_pem(&pem, &x)) != OK) {
            return err == ERR_NOT_FOUND ? admin_roll_line(a, reply) : err;
        }
        const struct x509_info *i = x509_info(x);
        bool is_root = slice_equal(i->issuer, i->subject);
        TRY(authority_line(is_root ? "root authority" : "intermediate authority",
                           i->not_after_wall_ms, now, reply));
    }
}

static enum err sums(const struct expiry_list *l, struct control_reply *reply)
{
    char text[512];
    snprintf(text, sizeof text,
             "credentials: %zu end, %zu of them are due to be renewed, %zu have expired, %zu were "
             "never renewed; %zu have no end; %zu secrets are old; %zu rotations wait for their "
             "device; %zu devices were silent for longer than the time they have to renew",
             l->n, l->n_due, l->n_over, l->n_never_renewed, l->n_endless, l->n_aged, l->n_waiting,
             l->n_silent);
    return control_line(
        reply, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "ending", (json_int_t)l->n, "due",
                         (json_int_t)l->n_due, "expired", (json_int_t)l->n_over, "never_renewed",
                         (json_int_t)l->n_never_renewed, "endless", (json_int_t)l->n_endless,
                         "aged", (json_int_t)l->n_aged, "unconfirmed", (json_int_t)l->n_waiting,
                         "silent", (json_int_t)l->n_silent, "text", text));
}

struct week {
    int64_t monday;
    size_t n;
    struct expiry_day cliff; /* the largest one in it; n 0: none */
    json_t *days;
};

static enum err week_line(const struct week *w, size_t most, struct control_reply *reply)
{
    char monday[CLOCK_ISO8601_BYTES], cliff[CLOCK_ISO8601_BYTES], bar[BAR_WIDTH + 1], text[256];
    size_t length = (w->n * BAR_WIDTH + most - 1) / most;
    memset(bar, '#', length);
    bar[length] = '\0';
    expiry_day_text(w->monday, monday);
    expiry_day_text(w->cliff.day, cliff);
    snprintf(text, sizeof text, "%s %7zu  %s", monday, w->n, bar);
    if (w->cliff.n > 0) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "  CLIFF: %zu on %s", w->cliff.n, cliff);
    }
    return control_line(reply, json_pack("{s:s,s:I,s:b,s:O,s:s}", "week", monday, "count",
                                         (json_int_t)w->n, "cliff", w->cliff.n > 0 ? 1 : 0, "days",
                                         w->days, "text", text));
}

/* Goes through the days, week by week. With a reply each week is told; *ret_most is the most of one
 * week. */
static enum err weeks(const struct expiry_list *l, size_t most, struct control_reply *reply,
                      size_t *ret_most)
{
    size_t at = 0;
    struct expiry_day day;
    bool more = expiry_next_day(l, &at, &day);
    while (more) {
        AUTO(admin_json_release) json_t *days = json_array();
        struct week w = {.monday = expiry_week_of(day.day), .days = days};
        for (; more && expiry_week_of(day.day) == w.monday; more = expiry_next_day(l, &at, &day)) {
            char text[CLOCK_ISO8601_BYTES];
            expiry_day_text(day.day, text);
            w.n += day.n;
            w.cliff = day.is_cliff && day.n > w.cliff.n ? day : w.cliff;
            if (json_array_append_new(days, json_pack("{s:s,s:I,s:b}", "day", text, "count",
                                                      (json_int_t)day.n, "cliff",
                                                      day.is_cliff ? 1 : 0)) != 0) {
                return ERR_NOMEM;
            }
        }
        if (ret_most != NULL) {
            *ret_most = w.n > *ret_most ? w.n : *ret_most;
        }
        if (reply != NULL) {
            TRY(week_line(&w, most, reply));
        }
    }
    return OK;
}

enum err verb_certs_plan(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    int64_t now = admin_wall_ms(a);
    size_t most = 1;
    (void)r;
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    AUTO(expiry_done) struct expiry_list l = {0};
    TRY(expiry_collect(v, now, &l));
    TRY(authorities(a, now, reply));
    TRY(sums(&l, reply));
    TRY(weeks(&l, 0, NULL, &most));
    TRY(weeks(&l, most, reply, NULL));
    return control_finish(reply, 0, NULL);
}
