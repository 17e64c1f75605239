/* Alerts as messages: one when a row opens, one when it closes, on $sallyport/alerts/CATEGORY. A
 * row opens once for all that it counts, so no alert, not one about these messages either, makes a
 * flow of them. The topic has no word of a stranger in it, and the payload is JSON in ASCII. */
#include <inttypes.h>

#include "core/passage.h"
#include "service/admin/admin_private.h"

static bool is_said(const struct admin_announced *s, const struct alert *row)
{
    return s->is_open && s->category == row->last.category &&
           s->first_wall_ms == row->first_wall_ms && strcmp(s->principal, row->last.principal) == 0;
}

/* The event as the trail has it, and what a detector said beside it. */
static json_t *raised(const struct alert *row)
{
    AUTO(buf_done) struct buf encoded = {0};
    if (audit_encode(&row->last, &encoded) != OK) {
        return NULL;
    }
    json_t *o = json_loadb((const char *)encoded.p, encoded.n, 0, NULL);
    if (o != NULL && row->finding.detector != NULL) {
        char evidence[4 * ALERTS_EVIDENCE_BYTES];
        admin_shown(slice_text(row->finding.evidence), evidence, sizeof evidence);
        (void)json_object_set_new(o, "detector", json_string(row->finding.detector));
        (void)json_object_set_new(o, "evidence", json_string(evidence));
        (void)json_object_set_new(o, "answer", json_string(row->finding.answer));
    }
    return o;
}

static json_t *cleared(struct admin *a, const struct admin_announced *s)
{
    char principal[4 * sizeof s->principal];
    admin_shown(slice_text(s->principal), principal, sizeof principal);
    json_t *o = json_pack("{s:s,s:s}", "category", event_category_name(s->category), "principal",
                          principal[0] != '\0' ? principal : "-");
    (void)json_object_set_new(o, "time", admin_time(admin_wall_ms(a)));
    return o;
}

/* false: not now; it is tried again with the next turn. */
static bool say(struct admin *a, size_t at, const struct admin_announced *s, json_t *line)
{
    AUTO(admin_json_release) json_t *o = line;
    char topic[sizeof PASSAGE_ALERTS + 40], id[48];
    struct msg *m = NULL;
    (void)snprintf(topic, sizeof topic, PASSAGE_ALERTS "/%s", event_category_name(s->category));
    (void)snprintf(id, sizeof id, "%" PRId64 "-%zu", s->first_wall_ms, at);
    if (o == NULL || json_object_set_new(o, "id", json_string(id)) != 0 ||
        json_object_set_new(o, "state", json_string(s->is_open ? "raised" : "cleared")) != 0 ||
        json_object_set_new(o, "since", admin_time(s->first_wall_ms)) != 0) {
        return false;
    }
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
    enum err err = text != NULL
                       ? msg_new(slice_text(topic), (struct slice){0}, slice_text(text), &m)
                       : ERR_NOMEM;
    free(text); /* the library's own allocation */
    if (err == OK) {
        m->qos = 1;
        m->is_utf8 = true;
        m->content_format = UINT16_MAX;
        err = broker_announce(a->setup.broker, m);
    }
    if (err != OK && m != NULL) {
        msg_unref(m);
    }
    return err == OK;
}

static void close_row(struct admin *a, size_t at)
{
    struct admin_announced gone = a->announced[at];
    gone.is_open = false;
    if (say(a, at, &gone, cleared(a, &gone))) {
        a->announced[at] = gone;
    }
}

static void open_row(struct admin *a, size_t at, const struct alert *row)
{
    struct admin_announced s = {
        .is_open = true, .category = row->last.category, .first_wall_ms = row->first_wall_ms};
    EVENT_TEXT(&s, principal, slice_text(row->last.principal));
    if (a->announced[at].is_open) {
        close_row(a, at); /* it gave way */
    }
    if (!a->announced[at].is_open && say(a, at, &s, raised(row))) {
        a->announced[at] = s;
    }
}

void admin_announce(struct admin *a)
{
    bool is_open[ALERTS_MAX] = {false};
    size_t at = 0;
    int64_t now = admin_wall_ms(a);
    for (const struct alert *row = alerts_next(&a->alerts, &at, now); row != NULL;
         row = alerts_next(&a->alerts, &at, now)) {
        is_open[at - 1] = true;
        if (!is_said(&a->announced[at - 1], row)) {
            open_row(a, at - 1, row);
        }
    }
    for (size_t i = 0; i < ALERTS_MAX; i++) {
        if (a->announced[i].is_open && !is_open[i]) {
            close_row(a, i);
        }
    }
}
