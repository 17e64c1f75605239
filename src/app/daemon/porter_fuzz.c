#include <assert.h>

#include "app/daemon/porter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool climbs(const char *path)
{
    struct slice rest = slice_text(path);
    bool more = true;
    while (more) {
        if (slice_is(slice_cut(&rest, '/', &more), "..")) {
            return true;
        }
    }
    return false;
}

/* What is read can be written, as it was; nothing of the scribe's or outside is anybody's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct porter_request q;
    uint8_t again[PORTER_REQUEST_BYTES_MAX];
    size_t m;
    if (porter_request_decode(slice_of(data, n), &q) != OK) {
        return 0;
    }
    enum err err = porter_request_encode(&q, again, sizeof again, &m);
    assert(err == OK && slice_equal(slice_of(again, m), slice_of(data, n)));
    if (porter_may(&q)) {
        assert(q.path[0] != '/' && strncmp(q.path, "scribe", 7) != 0 &&
               strncmp(q.path, "scribe/", 7) != 0 && !climbs(q.path));
        assert(q.to[0] == '\0' || strchr(q.to, '/') == NULL);
    }
    return 0;
}
