/* The durable scenario's sleepers: they leave their sessions with the server, come back for what
 * was promised, and end them. */
#include "app/cli/client_load_private.h"
#include "wire/mqtt/fixed.h"

/* Every sleeper says goodbye; its session stays with the server. */
void load_sleep(struct load *l)
{
    for (uint32_t i = l->o->n_publishers; l->code == GO_ON && i < l->n_conns; i++) {
        struct conn *c = &l->conns[i];
        uint8_t bytes[2] = {MQTT_DISCONNECT << 4, 0};
        struct slice goodbye_bytes = slice_of(bytes, sizeof(bytes));
        if (c->acks.n > 0 || stream_write(c->stream, l->io, &goodbye_bytes, 1) != OK) {
            load_give_up(l, cli_fail(l->cli, "a sleeper could not say goodbye"));
        }
        c->session = stream_session_free(c->session);
        c->session = stream_session(c->stream);
        c->stream = stream_free(c->stream);
        c->phase = ASLEEP;
        c->rest.n = 0;
        l->n_ready--;
    }
}

/* They connect again, for what the stage says, until all are ready. */
static void wake_all(struct load *l, enum stage stage)
{
    uint64_t end_ms = load_now_ms(l) + OPEN_MS;
    l->stage = stage;
    for (uint32_t i = l->o->n_publishers; l->code == GO_ON && i < l->n_conns; i++) {
        load_open(l, i);
        load_turn(l, 0);
    }
    while (l->code == GO_ON && l->n_ready < l->n_conns && load_now_ms(l) < end_ms) {
        load_turn(l, 10);
    }
    if (l->code == GO_ON && l->n_ready < l->n_conns) {
        load_give_up(l,
                     cli_fail(l->cli, "the sleepers did not get back within %d s", OPEN_MS / 1000));
    }
}

/* Everything that was acknowledged is there for each of them. */
void load_collect(struct load *l)
{
    uint64_t expected = l->r.sent * l->o->n_subscribers;
    uint64_t had = 0, end_ms = load_now_ms(l) + DRAIN_MS;
    wake_all(l, STAGE_WAKE);
    while (l->code == GO_ON && l->n_woken < expected && load_now_ms(l) < end_ms) {
        load_turn(l, 10);
        end_ms = l->n_woken > had ? load_now_ms(l) + DRAIN_MS : end_ms;
        had = l->n_woken;
    }
    l->r.lost += expected - l->n_woken;
    for (int i = 0; l->code == GO_ON && l->n_dirty > 0 && i < 100; i++) {
        load_turn(l, 10); /* the last acknowledgements leave */
    }
    load_sleep(l);
    wake_all(l, STAGE_ERASE);
}
