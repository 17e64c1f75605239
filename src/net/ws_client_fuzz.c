#include <assert.h>

#include "base/mem.h"
#include "net/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { TOTAL_MAX = 64 * 1024, NOW_MS = 1000 };

/* The first byte says how the server's bytes are cut, and whether a good answer came before them.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct ws_rules rules = {.path = {(const uint8_t *)"/mqtt", 5}, .frame_max = 4096};
    uint64_t seed = 1;
    struct random_source random = random_seeded(&seed);
    struct ws_target target = {.host = "h", .port = 1, .path = "/mqtt"};
    uint8_t out[WS_OUTPUT_BYTES];
    struct slice in = slice_of(data, n);
    AUTO(ws_autofree) struct ws *client = NULL;
    AUTO(ws_autofree) struct ws *server = NULL;
    if (n < 1 || n > TOTAL_MAX || ws_client_new(&target, &random, 4096, &client) != OK ||
        ws_new(&rules, NULL, &server) != OK) {
        return 0;
    }
    bool is_answered = (in.p[0] & 1) != 0;
    size_t step = (in.p[0] >> 1) + 1u;
    size_t said = ws_output(client, out, sizeof(out));
    if (is_answered) {
        (void)ws_input(server, out, said, NOW_MS);
        said = ws_output(server, out, sizeof(out));
        (void)ws_input(client, out, said, NOW_MS);
        assert(ws_is_open(client));
    }
    for (in = slice_from(in, 1); in.n > 0; in = slice_from(in, step)) {
        struct slice piece = slice_head(in, step);
        uint8_t *copy = mem_alloc(piece.n);
        assert(copy != NULL);
        slice_copy(copy, piece);
        struct slice got = ws_input(client, copy, piece.n, NOW_MS);
        assert(got.n <= piece.n);
        mem_free(copy);
        assert(ws_output(client, out, sizeof(out)) <= sizeof(out));
    }
    assert(ws_is_over(client) == (ws_failure(client) != OK));
    return 0;
}
