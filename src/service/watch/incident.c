/* The file of an incident, written. */
#include "service/watch/incident.h"

#include "base/clock.h"
#include "base/hex.h"
#include "service/watch/incident_tally.h"
#include "service/watch/trail.h"

enum { FORM = 1 };

struct writer {
    const struct incident_order *o;
    struct incident_report report;
    struct incident_tally tally;
    bool has_begun, has_ended; /* the head was written; the checkpoint behind until_ms was */
    struct digest head;        /* of the last record */
    json_t *leaves;            /* of records left out, not written yet */
    enum err err;
};

static void writer_done(struct writer *w)
{
    incident_tally_done(&w->tally);
    json_decref(w->leaves);
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

/* Takes line; NULL: no memory. */
static enum err put(struct writer *w, json_t *line)
{
    AUTO(json_release) json_t *owned = line;
    AUTO(buf_done) struct buf text = {0};
    size_t n = line != NULL ? json_dumpb(line, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;
    uint8_t *room;
    if (n == 0) {
        return ERR_NOMEM;
    }
    TRY(buf_room(&text, n + 1, INCIDENT_LINE_MAX + 1, &room));
    if (json_dumpb(line, (char *)room, n, JSON_COMPACT | JSON_ENSURE_ASCII) != n) {
        return ERR_NOMEM;
    }
    room[n] = '\n';
    return w->o->write(w->o->ctx, slice_of(room, n + 1));
}

static json_t *hex_json(struct slice s)
{
    char text[2 * CHAIN_CHECKPOINT_BYTES + 1];
    if (s.n > CHAIN_CHECKPOINT_BYTES) {
        return NULL;
    }
    hex_write(s, text);
    return json_string(text);
}

static enum err begin(struct writer *w)
{
    char since[CLOCK_ISO8601_BYTES];
    char until[CLOCK_ISO8601_BYTES];
    char made[CLOCK_ISO8601_BYTES];
    if (w->has_begun) {
        return OK;
    }
    w->has_begun = true;
    clock_iso8601(w->o->since_ms, since);
    clock_iso8601(w->o->until_ms, until);
    clock_iso8601(w->o->made_ms, made);
    return put(w, json_pack("{s:i,s:s,s:s,s:s,s:s,s:s}", "sallyport_incident", (int)FORM, "device",
                            w->o->device, "since", since, "until", until, "made", made, "version",
                            SALLYPORT_VERSION));
}

static enum err put_leaves(struct writer *w)
{
    if (json_array_size(w->leaves) == 0) {
        return OK;
    }
    json_t *line = json_pack("{s:o}", "leaves", w->leaves);
    w->leaves = json_array();
    TRY(put(w, line));
    return w->leaves != NULL ? OK : ERR_NOMEM;
}

static void note_event(struct writer *w, int64_t wall_ms)
{
    if (w->report.events == 0 || wall_ms < w->report.first_ms) {
        w->report.first_ms = wall_ms;
    }
    if (w->report.events == 0 || wall_ms > w->report.last_ms) {
        w->report.last_ms = wall_ms;
    }
    w->report.events++;
}

static enum err put_record(struct writer *w, const struct chain_entry *e, const char *what,
                           json_t *body)
{
    AUTO(json_release) json_t *owned = body;
    TRY(put_leaves(w));
    return put(w, json_pack("{s:I,s:I,s:o,s:O}", "seq", (json_int_t)e->seq, "ms",
                            (json_int_t)e->wall_ms, "salt",
                            hex_json(slice_of(e->salt, sizeof e->salt)), what, body));
}

static bool is_in_time(const struct writer *w, int64_t wall_ms)
{
    return wall_ms >= w->o->since_ms && wall_ms < w->o->until_ms;
}

static enum err take_event(struct writer *w, const struct chain_entry *e, const struct digest *leaf)
{
    AUTO(json_release)
    json_t *event = json_loadb((const char *)e->body.p, e->body.n, 0, NULL);
    if (is_in_time(w, e->wall_ms) && incident_is_about(event, w->o->device)) {
        TRY(incident_tally_add(&w->tally, event));
        note_event(w, e->wall_ms);
        return put_record(w, e, "event", json_stringn((const char *)e->body.p, e->body.n));
    }
    w->report.left_out++;
    if (json_array_append_new(w->leaves, hex_json(digest_slice(leaf))) != 0) {
        return ERR_NOMEM;
    }
    return json_array_size(w->leaves) == INCIDENT_LEAVES_MAX ? put_leaves(w) : OK;
}

/* The chain is followed from the first record of the time on. */
static enum err follow(struct writer *w, const struct chain_entry *e)
{
    bool goes_on = w->report.records > 0 && e->seq == w->report.last + 1 &&
                   slice_equal(digest_slice(&e->prev), digest_slice(&w->head));
    if (goes_on) {
        return OK;
    }
    if (w->report.records == 0) {
        w->report.first = e->seq;
    } else {
        w->report.breaks++;
    }
    TRY(begin(w));
    TRY(put_leaves(w));
    return put(w, json_pack("{s:I,s:o}", "from", (json_int_t)e->seq, "prev",
                            hex_json(digest_slice(&e->prev))));
}

static enum err take_entry(struct writer *w, struct slice plain)
{
    struct chain_entry e;
    struct digest leaf;
    TRY(chain_entry_decode(plain, &e));
    if (w->report.records == 0 && e.wall_ms >= w->o->until_ms) {
        w->has_ended = true; /* nothing was written in that time */
    }
    if (w->has_ended || (w->report.records == 0 && e.wall_ms < w->o->since_ms)) {
        return OK;
    }
    TRY(chain_leaf(plain, &leaf));
    TRY(follow(w, &e));
    TRY(chain_head(&e.prev, &leaf, &w->head));
    w->report.records++;
    w->report.last = e.seq;
    if (e.kind == CHAIN_EVENT) {
        return take_event(w, &e, &leaf);
    }
    w->report.checkpoints++;
    w->report.signed_to = e.seq;
    w->has_ended = e.wall_ms >= w->o->until_ms;
    return put_record(w, &e, "checkpoint", hex_json(e.body));
}

/* Of before the chain: by the time that the line itself says. */
static enum err take_line(struct writer *w, struct slice line)
{
    char since[CLOCK_ISO8601_BYTES];
    char until[CLOCK_ISO8601_BYTES];
    AUTO(json_release) json_t *event = json_loadb((const char *)line.p, line.n, 0, NULL);
    const char *time = json_string_value(json_object_get(event, "time"));
    clock_iso8601(w->o->since_ms, since);
    clock_iso8601(w->o->until_ms, until);
    if (time == NULL || strcmp(time, since) < 0 || strcmp(time, until) >= 0 ||
        !incident_is_about(event, w->o->device)) {
        return OK;
    }
    w->report.older++;
    TRY(incident_tally_add(&w->tally, event));
    TRY(begin(w));
    return put(w, json_pack("{s:s%}", "unproven", line.p, line.n));
}

static void on_piece(void *ctx, const struct trail_piece *p)
{
    struct writer *w = ctx;
    bool is_moved = p->written_file != p->file || p->written_offset != p->offset;
    if (w->err != OK) {
        return;
    }
    if (p->kind == TRAIL_PIECE_ENTRY && !is_moved) {
        w->err = take_entry(w, p->plain);
    } else if (p->kind == TRAIL_PIECE_LINE) {
        w->err = take_line(w, p->plain);
    }
}

enum err incident_write(const struct incident_order *o, struct incident_report *ret)
{
    AUTO(writer_done) struct writer w = {.o = o, .leaves = json_array()};
    struct trail_report report;
    TRY(incident_tally_init(&w.tally));
    if (w.leaves == NULL) {
        return ERR_NOMEM;
    }
    struct trail_sink sink = {.ctx = &w, .piece = on_piece};
    TRY(trail_read(o->disk, o->root, 0, &sink, &report));
    TRY(w.err);
    if (!w.has_begun) {
        return ERR_NOT_FOUND;
    }
    TRY(put_leaves(&w));
    TRY(put(&w, incident_end_line(&w.tally, &w.report)));
    *ret = w.report;
    return OK;
}
