/* A client of an HTTP server: pieces, answers and time are all out of the data. See act. */
#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "engine/http_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void answer(struct http_server *h, unsigned which, uint64_t now_ms)
{
    static const uint8_t body[300];
    struct http_answer a = {.status = 100 + which,
                            .type = which % 2 == 0 ? "text/plain" : NULL,
                            .body = slice_of(body, which),
                            .fields = {{"Retry-After", "5"}},
                            .close = which % 5 == 0};
    if (http_server_is_asked(h)) {
        (void)!http_server_answer(h, &a, now_ms);
    }
}

static void feed(struct http_server *h, struct slice in, uint64_t now_ms)
{
    const struct http_request *r = NULL;
    bool wants = http_server_wants_input(h);
    size_t before = in.n;
    enum err err = http_server_next(h, &in, now_ms, &r);
    assert(wants || in.n == before);
    if (err == OK) {
        assert(http_server_is_asked(h) && r->body.n <= HTTP_BODY_MAX && r->path.n > 0 &&
               r->path.p[0] == '/');
    } else {
        assert(in.n == 0 || http_server_has_ended(h) || http_server_is_asked(h));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    AUTO(http_server_autofree) struct http_server *h = NULL;
    static uint8_t out[4096];
    struct rd r = rd_from(slice_of(data, n));
    uint64_t now_ms = 1;
    if (http_server_new(&limits, now_ms, &h) != OK) {
        return 0;
    }
    uint8_t first = rd_u8(&r);
    (void)mem_fail_after((first & 0xf0) == 0xf0 ? first & 15 : -1);
    while (rd_left(&r) > 0) {
        uint8_t command = rd_u8(&r), size = rd_u8(&r);
        switch (command % 4) {
        case 0:
        case 1:
            feed(h, rd_bytes(&r, size < rd_left(&r) ? size : rd_left(&r)), now_ms);
            break;
        case 2:
            answer(h, size, now_ms);
            (void)http_server_output(h, out, (command & 8) != 0 ? size : sizeof out);
            break;
        default:
            now_ms += (uint64_t)size * 500;
            http_server_tick(h, now_ms);
            assert(http_server_deadline(h) > now_ms);
            break;
        }
    }
    (void)mem_fail_after(-1);
    http_server_close(h);
    assert(http_server_has_ended(h));
    return 0;
}
