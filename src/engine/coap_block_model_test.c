/*
 * Two endpoints and a network between them that loses, repeats and reorders: bodies go up and come
 * down in blocks, or fail as a whole. What arrives is what was sent once, never a mixture.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "engine/coap_block_body.h"
#include "engine/coap_block_client.h"

enum {
    AIR_MAX = 64,
    DATAGRAM = 1200,
    BODY_MAX = 3000,
    SERVER = 0,
    CLIENT = 1,
    TURNS_MAX = 200000,
    SEEDS = 300,
    PLAN_DELAY_MS = 4000,
    STRAYS = 4
};

/* A block that came before, as it came. */
struct stray {
    struct coap_block block;
    size_t n, n_options;
    uint8_t payload[COAP_BLOCK_BYTES_MAX], options[128];
};

struct flying {
    uint64_t at_ms;
    int to;
    size_t n; /* 0: no datagram */
    uint8_t bytes[DATAGRAM];
};

struct world {
    uint64_t seed, now_ms;
    unsigned lost, repeated, late; /* of 100 */
    struct coap_limits limits;
    struct coap_counters counters[2];
    struct coap_endpoint *ends[2];
    struct flying air[AIR_MAX];
    /* the server */
    struct coap_bodies bodies;
    uint32_t version;
    size_t value_n;
    unsigned changes; /* of 100 requests, the value changes before so many */
    unsigned n_taken;
    unsigned stray; /* of 100 blocks, before so many an earlier one comes once more */
    size_t n_strays;
    struct stray strays[STRAYS];
    /* the client */
    struct coap_transfer transfer;
    uint32_t request, mark;
    uint8_t up[BODY_MAX];
    bool is_over;
    enum err err;
};

static uint64_t draw(struct world *w, uint64_t below)
{
    struct random_source r = random_seeded(&w->seed);
    return random_u64(&r) % below;
}

/* Every byte of a body says which one it is of. */
static void write_body(uint32_t mark, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = (uint8_t)(mark * 37 + i * 5 + i / 256);
    }
}

static bool is_body(uint32_t mark, struct slice body)
{
    uint8_t whole[BODY_MAX];
    write_body(mark, whole, sizeof(whole));
    return slice_equal(body, slice_of(whole, body.n));
}

/* ---- the network ---- */

static void launch(struct world *w, int to, struct slice datagram)
{
    bool is_late = draw(w, 100) < w->late;
    for (size_t i = 0; i < AIR_MAX; i++) {
        if (w->air[i].n == 0) {
            w->air[i].at_ms = w->now_ms + 1 + (is_late ? draw(w, PLAN_DELAY_MS) : draw(w, 20));
            w->air[i].to = to;
            w->air[i].n = datagram.n;
            slice_copy(w->air[i].bytes, datagram);
            return;
        }
    }
}

static void send_all(struct world *w, int from)
{
    uint8_t out[DATAGRAM];
    size_t n;
    while ((n = coap_endpoint_output(w->ends[from], out, sizeof(out))) > 0) {
        if (draw(w, 100) >= w->lost) {
            launch(w, 1 - from, slice_of(out, n));
        }
        if (draw(w, 100) < w->repeated) {
            launch(w, 1 - from, slice_of(out, n));
        }
    }
}

/* ---- the server ---- */

static void respond(struct world *w, uint32_t exchange, uint8_t code, const uint32_t *block1,
                    const uint32_t *block2, struct slice payload)
{
    uint8_t bytes[64], etag[4] = {(uint8_t)(w->version >> 8), (uint8_t)w->version, 1, 1};
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    struct coap_answer a = {.code = code, .payload = payload};
    if (code == COAP_CONTENT) {
        coap_option_add(&o, COAP_OPTION_ETAG, slice_of(etag, sizeof(etag)));
    }
    if (block2 != NULL) {
        coap_option_add_uint(&o, COAP_OPTION_BLOCK2, *block2);
    }
    if (block1 != NULL) {
        coap_option_add_uint(&o, COAP_OPTION_BLOCK1, *block1);
    }
    assert_int_equal(coap_option_writer_done(&o, &a.options), OK);
    (void)!coap_endpoint_respond(w->ends[SERVER], exchange, &a, w->now_ms);
}

static void serve_get(struct world *w, const struct coap_event *ev)
{
    uint8_t value[BODY_MAX];
    struct coap_block want = {.szx = 4}, got;
    struct slice piece;
    if (draw(w, 100) < w->changes) {
        w->version++;
        w->value_n = 1 + draw(w, BODY_MAX - 1);
    }
    write_body(w->version, value, w->value_n);
    (void)!coap_block_find(ev->m.options, COAP_OPTION_BLOCK2, &want);
    want.szx = want.szx > 4 ? 4 : want.szx;
    if (coap_block_cut(slice_of(value, w->value_n), want, &got, &piece) != OK) {
        respond(w, ev->id, COAP_BAD_REQUEST, NULL, NULL, (struct slice){0});
        return;
    }
    uint32_t number = coap_block_value(got);
    respond(w, ev->id, COAP_CONTENT, NULL, &number, piece);
}

static void take_whole(struct world *w, const struct coap_block_taken *t)
{
    assert_true(is_body(w->mark, t->body));
    assert_int_equal(t->body.n, w->transfer.ask.payload.n);
    w->n_taken++;
}

/* What a client that repeats itself under new message ids would do. */
static void serve_stray(struct world *w)
{
    const struct stray *s = &w->strays[draw(w, w->n_strays < STRAYS ? w->n_strays : STRAYS)];
    struct coap_block_taken t = {.is_whole = false};
    struct coap_block_part p = {.owner = 1,
                                .endpoint = 1,
                                .method = COAP_PUT,
                                .options = slice_of(s->options, s->n_options),
                                .payload = slice_of(s->payload, s->n),
                                .block = s->block,
                                .body_max = BODY_MAX};
    if (coap_bodies_take(&w->bodies, &p, w->now_ms, &t) == OK && t.is_whole) {
        take_whole(w, &t);
    }
    buf_done(&t.kept);
}

static void remember_stray(struct world *w, const struct coap_block_part *p)
{
    struct stray *s = &w->strays[w->n_strays++ % STRAYS];
    assert_true(p->options.n <= sizeof(s->options) && p->payload.n <= sizeof(s->payload));
    s->block = p->block;
    s->n = p->payload.n;
    s->n_options = p->options.n;
    slice_copy(s->payload, p->payload);
    slice_copy(s->options, p->options);
}

static void serve_put(struct world *w, const struct coap_event *ev)
{
    struct coap_block_part p = {.owner = 1,
                                .endpoint = 1,
                                .method = ev->m.code,
                                .options = ev->m.options,
                                .payload = ev->m.payload,
                                .body_max = BODY_MAX};
    struct coap_block_taken t;
    bool has_block = coap_block_find(ev->m.options, COAP_OPTION_BLOCK1, &p.block) == OK;
    if (has_block && w->n_strays > 0 && draw(w, 100) < w->stray) {
        serve_stray(w);
    }
    if (has_block) {
        remember_stray(w, &p);
    }
    enum err err = coap_bodies_take(&w->bodies, &p, w->now_ms, &t);
    uint32_t ack = coap_block_value(err == OK ? t.ack : p.block);
    if (err != OK) {
        respond(w, ev->id, err == ERR_NOT_FOUND ? COAP_REQUEST_INCOMPLETE : COAP_INTERNAL_ERROR,
                &ack, NULL, (struct slice){0});
        return;
    }
    if (t.is_whole) {
        take_whole(w, &t);
    }
    respond(w, ev->id, t.is_whole ? COAP_CHANGED : COAP_CONTINUE, has_block ? &ack : NULL, NULL,
            (struct slice){0});
    buf_done(&t.kept);
}

/* ---- the client ---- */

static void client_sends(struct world *w)
{
    struct coap_request r;
    w->err = coap_transfer_next(&w->transfer, &r);
    if (w->err == OK) {
        w->err = coap_endpoint_request(w->ends[CLIENT], &r, w->now_ms, &w->request);
    }
    w->is_over = w->err != OK;
}

static void client_hears(struct world *w, const struct coap_event *ev)
{
    enum coap_transfer_step step = COAP_TRANSFER_DONE;
    if (ev->kind == COAP_EVENT_RESPONSE && ev->id == w->request) {
        w->err = coap_transfer_take(&w->transfer, &ev->m, &step);
        if (w->err == OK && step == COAP_TRANSFER_SEND) {
            client_sends(w);
            return;
        }
        w->is_over = true;
    } else if (ev->kind == COAP_EVENT_GIVE_UP || ev->kind == COAP_EVENT_RESET) {
        w->err = ERR_TIMEOUT;
        w->is_over = true;
    }
}

/* ---- time ---- */

static void handle(struct world *w, int who, const struct coap_event *ev)
{
    if (who == CLIENT) {
        client_hears(w, ev);
    } else if (ev->kind == COAP_EVENT_REQUEST && ev->m.code == COAP_GET) {
        serve_get(w, ev);
    } else if (ev->kind == COAP_EVENT_REQUEST) {
        serve_put(w, ev);
    }
}

static uint64_t next_time(const struct world *w)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < AIR_MAX; i++) {
        at = w->air[i].n > 0 && w->air[i].at_ms < at ? w->air[i].at_ms : at;
    }
    for (int who = 0; who < 2; who++) {
        uint64_t due = coap_endpoint_deadline(w->ends[who]);
        at = due < at ? due : at;
    }
    return at;
}

static void turn(struct world *w)
{
    struct coap_event ev;
    uint64_t at = next_time(w);
    w->now_ms = at != UINT64_MAX && at > w->now_ms ? at : w->now_ms + 1;
    for (size_t i = 0; i < AIR_MAX; i++) {
        struct flying *f = &w->air[i];
        if (f->n > 0 && f->at_ms <= w->now_ms) {
            struct flying landed = *f;
            f->n = 0;
            assert_int_equal(coap_endpoint_datagram(w->ends[landed.to],
                                                    slice_of(landed.bytes, landed.n), w->now_ms,
                                                    &ev),
                             OK);
            handle(w, landed.to, &ev);
        }
    }
    for (int who = 0; who < 2; who++) {
        do {
            assert_int_equal(coap_endpoint_tick(w->ends[who], w->now_ms, &ev), OK);
            handle(w, who, &ev);
        } while (ev.kind != COAP_EVENT_NONE);
        send_all(w, who);
    }
    coap_bodies_expire(&w->bodies, w->now_ms);
}

static void run_transfer(struct world *w, const struct coap_request *ask)
{
    uint8_t szx = (uint8_t)draw(w, 6);
    coap_transfer_init(&w->transfer, ask, szx < 5 ? szx : UINT8_MAX, draw(w, UINT64_MAX), BODY_MAX);
    w->is_over = false;
    w->n_strays = 0;
    client_sends(w);
    send_all(w, CLIENT);
    for (int i = 0; i < TURNS_MAX && !w->is_over; i++) {
        turn(w);
    }
    assert_true(w->is_over);
}

/* ---- runs ---- */

static void world_open(struct world *w, uint64_t seed)
{
    static const struct siphash_key key = {5, 6};
    struct coap_block_limits l = coap_block_limits_default();
    *w = (struct world){.seed = seed, .limits = coap_limits_default(), .value_n = 1};
    l.szx = (uint8_t)draw(w, 5);
    l.body_bytes = BODY_MAX;
    coap_bodies_init(&w->bodies, &l, &key);
    w->limits.understood |=
        COAP_OPTION_BIT(COAP_OPTION_BLOCK1) | COAP_OPTION_BIT(COAP_OPTION_BLOCK2);
    for (int who = 0; who < 2; who++) {
        struct coap_endpoint_setup s = {.limits = &w->limits,
                                        .counters = &w->counters[who],
                                        .peer = slice_text("peer"),
                                        .seed = seed + (uint64_t)who,
                                        .proven = true};
        assert_int_equal(coap_endpoint_new(&s, 0, &w->ends[who]), OK);
    }
}

static void world_close(struct world *w)
{
    coap_bodies_done(&w->bodies);
    for (int who = 0; who < 2; who++) {
        coap_endpoint_free(w->ends[who]);
    }
}

/* One after the other, under one name: an older one's late datagrams meet the newer one's. */
static unsigned run_seed(uint64_t seed, bool is_put, unsigned stray)
{
    struct world *w = mem_zalloc(sizeof(*w));
    unsigned n_ok = 0;
    assert_non_null(w);
    world_open(w, seed);
    w->lost = (unsigned)draw(w, 30);
    w->repeated = (unsigned)draw(w, 30);
    w->late = (unsigned)draw(w, 40);
    w->changes = (unsigned)draw(w, 15);
    w->stray = stray;
    for (int i = 0; i < 3; i++) {
        size_t n = 1 + draw(w, BODY_MAX - 1);
        w->mark++;
        write_body(w->mark, w->up, n);
        struct coap_request ask = {.confirmable = true,
                                   .code = is_put ? COAP_PUT : COAP_GET,
                                   .options = slice_text("\xb1\x61"),
                                   .payload = slice_of(w->up, is_put ? n : 0)};
        unsigned before = w->n_taken;
        run_transfer(w, &ask);
        bool is_ok = w->err == OK && coap_code_is_success(w->transfer.code);
        if (is_ok && is_put) {
            /* once, however often datagrams were repeated */
            assert_true(stray > 0 ? w->n_taken > before : w->n_taken == before + 1);
        } else if (is_ok) {
            assert_true(is_body(w->version, buf_slice(&w->transfer.body)));
            assert_int_equal(w->transfer.body.n, w->value_n);
        }
        n_ok += is_ok;
        coap_transfer_done(&w->transfer);
    }
    world_close(w);
    mem_free(w);
    return n_ok;
}

static void uploads(void **state)
{
    (void)state;
    unsigned n_ok = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        n_ok += run_seed(seed, true, 0);
    }
    assert_true(n_ok > SEEDS); /* most do get through */
}

/* Earlier blocks come again at any time: the transfer may fail or be made twice, never wrong. */
static void uploads_with_strays(void **state)
{
    (void)state;
    unsigned n_ok = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        n_ok += run_seed(seed, true, 1 + (unsigned)(seed % 20));
    }
    assert_true(n_ok > SEEDS);
}

static void downloads(void **state)
{
    (void)state;
    unsigned n_ok = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        n_ok += run_seed(seed, false, 0);
    }
    assert_true(n_ok > SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uploads),
        cmocka_unit_test(uploads_with_strays),
        cmocka_unit_test(downloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
