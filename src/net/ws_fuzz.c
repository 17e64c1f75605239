#include <assert.h>

#include "base/mem.h"
#include "net/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TOTAL_MAX = 64 * 1024 };

/* For frames it is CoAP's, so that the ends of messages are looked at, too. */
static const char good[] =
    "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: coap\r\n\r\n";

struct result {
    uint8_t data[TOTAL_MAX];
    size_t n;
    size_t n_ends;
    uint64_t ends; /* all of them, folded */
    enum err failure;
    unsigned status;
};

static void feed(struct ws *w, struct slice piece, struct result *r)
{
    uint8_t out[WS_OUTPUT_BYTES];
    uint8_t *copy = mem_alloc(piece.n);
    assert(copy != NULL);
    slice_copy(copy, piece);
    struct slice data = ws_input(w, copy, piece.n, 0);
    assert(data.n <= piece.n && data.n <= TOTAL_MAX - r->n);
    slice_copy(&r->data[r->n], data);
    size_t n_ends = 0, before = 0;
    const uint32_t *ends = ws_ends(w, &n_ends);
    for (size_t i = 0; i < n_ends; i++) {
        assert(ends[i] >= before && ends[i] <= data.n);
        before = ends[i];
        r->ends = r->ends * 31 + r->n + ends[i];
    }
    r->n_ends += n_ends;
    r->n += data.n;
    mem_free(copy);
    assert(ws_output(w, out, sizeof(out)) <= sizeof(out));
}

static void run(bool is_frames, struct slice in, size_t step, struct result *r)
{
    static const struct slice origin = {(const uint8_t *)"https://dash.example", 20};
    static const struct ws_rules rules[] = {
        {.path = {(const uint8_t *)"/mqtt", 5},
         .origins = &origin,
         .n_origins = 1,
         .frame_max = 4096},
        {.path = {(const uint8_t *)"/mqtt", 5}, .frame_max = 4096, .is_coap = true}};
    struct ws *w = NULL;
    r->n = r->n_ends = 0;
    r->ends = 0;
    if (ws_new(&rules[is_frames], NULL, &w) != OK) {
        return;
    }
    if (is_frames) {
        feed(w, slice_text(good), r);
        assert(ws_is_open(w));
    }
    while (in.n > 0) {
        feed(w, slice_head(in, step), r);
        in = slice_from(in, step);
    }
    r->failure = ws_failure(w);
    r->status = ws_status(w);
    assert(ws_is_over(w) == (r->failure != OK));
    ws_close(w);
    uint8_t out[WS_OUTPUT_BYTES];
    (void)ws_output(w, out, sizeof(out));
    assert(ws_is_over(w));
    ws_free(w);
}

/* The first byte says whether the rest is a request or frames, and how it is cut: whichever way,
 * the same comes out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct result whole, cut;
    struct slice in = slice_of(data, n);
    if (n < 1 || n > TOTAL_MAX) {
        return 0;
    }
    bool is_frames = (in.p[0] & 1) != 0;
    size_t step = (in.p[0] >> 1) + 1u;
    in = slice_from(in, 1);
    run(is_frames, in, TOTAL_MAX, &whole);
    run(is_frames, in, step, &cut);
    assert(whole.failure == cut.failure && whole.status == cut.status);
    assert(whole.n_ends == cut.n_ends && whole.ends == cut.ends);
    assert(slice_equal(slice_of(whole.data, whole.n), slice_of(cut.data, cut.n)));
    return 0;
}
