/* Any event becomes one line of ASCII that jansson reads back. */
#include <assert.h>
#include <jansson.h>

#include "base/rd.h"
#include "service/watch/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    struct event e = event_make((enum event_category)(rd_u8(&r) % EVENT_COUNT));
    struct buf line = {0};
    e.severity = (enum event_severity)(rd_u8(&r) % 4);
    e.protocol = (enum event_protocol)(rd_u8(&r) % 5);
    e.count = rd_u32(&r);
    e.wall_ms = (int64_t)rd_u64(&r);
    EVENT_TEXT(&e, principal, rd_bytes(&r, rd_u8(&r) % (rd_left(&r) + 1)));
    EVENT_TEXT(&e, client_id, rd_bytes(&r, rd_u8(&r) % (rd_left(&r) + 1)));
    EVENT_TEXT(&e, peer, rd_bytes(&r, rd_u8(&r) % (rd_left(&r) + 1)));
    EVENT_TEXT(&e, target, rd_bytes(&r, rd_u8(&r) % (rd_left(&r) + 1)));
    EVENT_TEXT(&e, reason, rd_rest(&r));
    enum err err = audit_encode(&e, &line);
    assert(err == OK);
    struct slice bytes = buf_slice(&line);
    assert(bytes.n <= AUDIT_LINE_MAX && slice_find(bytes, '\n') == bytes.n - 1);
    for (size_t i = 0; i + 1 < bytes.n; i++) {
        assert(bytes.p[i] >= 0x20 && bytes.p[i] < 0x7f);
    }
    json_t *back = json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, NULL);
    assert(json_object_size(back) == 11);
    json_decref(back);
    buf_done(&line);
    return 0;
}
