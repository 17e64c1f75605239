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

static enum err list_line(const struct admin *a, const struct expiry_item *item, int64_t now,
                          struct control_reply *reply)
{
    const struct credential *c = item->credential;
    const char *name = item->entry->principal->name;
    char ends[CLOCK_ISO8601_BYTES], used[CLOCK_ISO8601_BYTES], lane[CLOCK_ISO8601_BYTES], text[256];
    int64_t lane_wall_ms = renewals_until(a, item->entry, c, now);
    int64_t left = days_left(c->expires_wall_ms, now);
    admin_time_text(c->expires_wall_ms, ends);
    admin_time_text(atomic_load_explicit(&c->used_wall_ms, memory_order_relaxed), used);
    admin_time_text(lane_wall_ms, lane);
    snprintf(text, sizeof text, "%-24s %-9s %-8s %s  %5lld days  last login %s%s%s%s", name,
             credential_kind_name(c->kind), expiry_state_name(item->state), ends, (long long)left,
             used, item->is_renewed ? "" : "  never renewed",
             lane_wall_ms != 0 ? "  in the renewal lane until " : "",
             lane_wall_ms != 0 ? lane : "");
    return control_line(
        reply, json_pack("{s:s,s:s,s:s,s:s,s:I,s:s,s:b,s:s,s:s}", "name", name, "kind",
                         credential_kind_name(c->kind), "state", expiry_state_name(item->state),
                         "expires", ends, "days", (json_int_t)left, "last_used", used, "renewed",
                         item->is_renewed ? 1 : 0, "lane_until", lane, "text", text));
}

static bool is_asked_for(const struct expiry_item *item, const char *state)
{
    return state == NULL || strcmp(state, expiry_state_name(item->state)) == 0;
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
    for (size_t i = 0; i < l.n; i++) {
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
    static const char *const names[] = {"root authority", "intermediate authority"};
    struct slice pem = pki_ca_pem(a->setup.pki);
    TRY(authority_line("server certificate", pki_server_not_after(a->setup.pki), now, reply));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        TRY(x509_next_pem(&pem, &x));
        TRY(authority_line(names[i], x509_info(x)->not_after_wall_ms, now, reply));
    }
    return OK;
}

static enum err sums(const struct expiry_list *l, struct control_reply *reply)
{
    char text[256];
    snprintf(text, sizeof text,
             "credentials: %zu end, %zu of them are due to be renewed, %zu have expired, %zu were "
             "never renewed; %zu have no end",
             l->n, l->n_due, l->n_over, l->n_never_renewed, l->n_endless);
    return control_line(reply,
                        json_pack("{s:I,s:I,s:I,s:I,s:I,s:s}", "ending", (json_int_t)l->n, "due",
                                  (json_int_t)l->n_due, "expired", (json_int_t)l->n_over,
                                  "never_renewed", (json_int_t)l->n_never_renewed, "endless",
                                  (json_int_t)l->n_endless, "text", text));
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
