/* A file, or journald: written until there is no more, then taken. */
#include "service/courier/errand_private.h"

void errand_turn_writing(struct courier_errand *e)
{
    enum err err = OK;
    uint64_t before = e->n_waiting;
    if (e->out.n == 0) {
        err = errand_fill(e);
        err = err == ERR_AGAIN ? OK : err;
    }
    if (err != OK) {
        errand_fail(e, "the trail cannot be read");
        return;
    }
    bool is_last = e->out.n == 0;
    if (!is_last) {
        bool is_file = e->sink->way == COURIER_FILE;
        err = is_file ? outlet_append(&e->outlet, &e->out) : outlet_send(&e->outlet, &e->out);
        errand_publish(e, e->n_waiting - before, 0, 0, 0);
        e->until_ms = err == OK ? e->now_ms + COURIER_STALL_MS : e->until_ms;
        is_last = err == OK && is_file && outlet_bytes(&e->outlet) >= e->sink->file_bytes;
    }
    if (err == OK && is_last) {
        err = e->sink->way == COURIER_FILE ? outlet_sync(&e->outlet) : OK;
    }
    if (err == ERR_AGAIN) {
        return;
    }
    if (err != OK) {
        char text[COURIER_TEXT_BYTES];
        (void)snprintf(text, sizeof text, "it cannot be written: %s", outlet_error(&e->outlet));
        errand_fail(e, text);
    } else if (is_last) {
        errand_confirmed(e);
    }
}
