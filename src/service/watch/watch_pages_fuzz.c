/* A client of a metrics listener: by its first byte on loopback or without the certificate that it
 * would need elsewhere, then requests in pieces, answers and time, all out of the data. Who may
 * not, asks nothing. */
#include "base/rd.h"
#include "service/broker/http_conn.h"
#include "service/broker/scrape.h"
#include "service/broker/worker_bench_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct scene {
    struct bench *b;
    struct http_door *door;
    bool is_open;
};

static enum err on_scrape(void *ctx, struct scrape *s)
{
    struct scene *scene = ctx;
    assert(scene->is_open); /* the other has shown no certificate */
    s->status = 200;
    struct wmsg m = {.kind = WMSG_SCRAPED, .scrape = s};
    if (buf_append(&s->text, slice_text("page\n"), SIZE_MAX) != OK ||
        ring_push(&scene->b->service[0], &m) != OK) {
        scrape_free(s);
        return ERR_AGAIN;
    }
    return OK;
}

static void on_event(void *ctx, const struct event *e)
{
    (void)ctx;
    assert(e->protocol == EVENT_PROTOCOL_metrics && e->reason[0] != '\0');
    (void)e;
}

static void play(struct scene *s, struct http_conn *c, struct rd *r)
{
    static uint8_t out[4096];
    struct bench *b = s->b;
    while (rd_left(r) > 0) {
        uint8_t size = rd_u8(r);
        if (size < 0xf0) {
            if (http_conn_wants_input(c)) {
                http_conn_input(c, rd_bytes(r, size < rd_left(r) ? size : rd_left(r)), b->now_ms);
            }
        } else {
            b->now_ms += (uint64_t)(size & 7) * 2000;
            worker_turn(b->workers[0], b->now_ms, b->wall_ms);
            http_door_turn(s->door, b->now_ms, b->wall_ms);
        }
        if ((size & 8) != 0) {
            (void)http_conn_output(c, out, sizeof out, b->now_ms);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct scene s = {.b = bench_open()};
    struct rd r = rd_from(slice_of(data, n));
    struct http_conn *c = NULL;
    struct net_peer peer;
    s.is_open = rd_u8(&r) % 2 == 0;
    struct entrance entrance = {.name = "metrics",
                                .protocol = EVENT_PROTOCOL_metrics,
                                .is_metrics = true,
                                .is_open = s.is_open};
    struct http_door_setup setup = {.worker = s.b->workers[0],
                                    .entrance = &entrance,
                                    .pages = &watch_pages,
                                    .key = bench_key,
                                    .counters = &s.b->counters[0],
                                    .ctx = &s,
                                    .event = on_event,
                                    .scrape = on_scrape};
    must(http_door_new(&setup, s.b->now_ms, &s.door));
    must(net_peer_parse(slice_text("127.0.0.1:40000"), &peer));
    must(http_conn_open(s.door, &peer, &s, s.b->now_ms + 10000, s.b->now_ms, &c));
    play(&s, c, &r);
    http_conn_gone(c);
    http_door_free(s.door);
    bench_close(s.b);
    return 0;
}
