/* Records of the trail on their way, and how far the sink has taken them. */
#include "service/courier/errand_private.h"

enum {
    FILL_BYTES = 48 * 1024, /* of one write */
    FILL_RECORDS = 4096     /* looked at for it */
};

static void spot_name(const struct courier_errand *e, char dst[64])
{
    (void)snprintf(dst, 64, COURIER_DIR "/%s", e->sink->name);
}

static void note_gap(struct courier_errand *e, uint64_t seq)
{
    char text[32];
    uint64_t before = e->seq;
    e->seq = seq;
    if (seq > before + 1) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seq);
        courier_say(e->of, e->index, COURIER_LOST, seq - before - 1, text);
        errand_publish(e, 0, 0, 0, seq - before - 1);
    }
}

static bool is_wanted(const struct courier_errand *e, const struct shipment *s)
{
    return !e->sink->only_alerts || (!s->is_checkpoint && s->severity == SEVERITY_ALERT);
}

static enum err pack(struct courier_errand *e, const struct trail_next *next)
{
    AUTO(shipment_done) struct shipment s = {0};
    enum err err = OK;
    if (next->entry.kind == CHAIN_CHECKPOINT) {
        s = shipment_checkpoint(next->entry.wall_ms);
    } else {
        err = shipment_read(next->entry.body, &s);
    }
    if (err == ERR_MALFORMED) {
        return OK; /* of another version: its number is missing, and says so */
    }
    TRY(err);
    if (!is_wanted(e, &s)) {
        return OK;
    }
    s.seq = next->entry.seq;
    s.leaf = next->leaf;
    TRY(shipment_encode(e->sink->format, &s, e->host, &e->out));
    e->first_seq = e->n_waiting == 0 ? s.seq : e->first_seq;
    e->n_waiting++;
    return OK;
}

/* Up to FILL_BYTES more. ERR_AGAIN: there is nothing new. */
enum err errand_fill(struct courier_errand *e)
{
    size_t n = 0;
    enum err err = OK;
    while (err == OK && e->out.n < FILL_BYTES && n < FILL_RECORDS) {
        struct trail_next next;
        err = trail_follow_next(e->follow, &next);
        if (err == OK) {
            note_gap(e, next.entry.seq);
            err = pack(e, &next);
            n++;
        }
    }
    if (n > 0) {
        e->got_ms = e->now_ms;
    }
    if (e->n_waiting > 0 && e->since_ms == 0) {
        e->since_ms = e->now_ms;
    }
    if (n > 0 && e->n_waiting == 0) {
        e->taken = trail_follow_spot(e->follow); /* none of it was for this sink */
        e->is_unsaved = true;
    }
    return n > 0 && err == ERR_AGAIN ? OK : err;
}

void errand_save_taken(struct courier_errand *e)
{
    uint8_t bytes[TRAIL_SPOT_BYTES];
    char name[64];
    spot_name(e, name);
    trail_spot_encode(&e->taken, bytes);
    e->is_unsaved = false;
    if (disk_save(e->disk, name, slice_of(bytes, sizeof bytes)) != OK) {
        (void)snprintf(e->trouble, sizeof e->trouble,
                       "DIR/%s cannot be written, so a restart repeats", name);
        courier_say(e->of, e->index, COURIER_FAILED, 0, e->trouble);
    }
}

void errand_mark_taken(struct courier_errand *e)
{
    uint64_t n = e->n_waiting;
    e->taken = trail_follow_spot(e->follow);
    errand_save_taken(e);
    e->n_waiting = 0;
    e->since_ms = 0;
    e->backoff_ms = 0;
    e->retry_at_ms = 0;
    if (e->has_failed) {
        courier_say(e->of, e->index, COURIER_RECOVERED, n, "");
    }
    e->has_failed = false;
    e->trouble[0] = '\0';
    errand_publish(e, 0, n, 0, 0);
}

/* The receiver has read all: it ended by TLS, all our bytes are with its machine, and that closed
 * the connection instead of resetting it, as it does for what nobody has read. */
void errand_confirmed(struct courier_errand *e)
{
    errand_hang_up(e);
    errand_mark_taken(e);
}

enum err errand_read_spot(struct courier_errand *e)
{
    AUTO(buf_done) struct buf bytes = {0};
    char name[64];
    spot_name(e, name);
    enum err err = disk_load(e->disk, name, TRAIL_SPOT_BYTES, &bytes);
    err = err == OK ? trail_spot_decode(buf_slice(&bytes), &e->taken) : err;
    if (err == ERR_NOT_FOUND || err == ERR_MALFORMED || err == ERR_TOO_LARGE) {
        e->taken = (struct trail_spot){0}; /* rather all again */
        err = OK;
    }
    trail_follow_to(e->follow, &e->taken);
    e->seq = e->taken.seq;
    return err;
}
