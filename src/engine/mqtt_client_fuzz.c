#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "engine/mqtt_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Each step: what we do, how much time passes, a length, and so many bytes of the server's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    uint8_t kind = rd_u8(&r);
    uint64_t now_ms = 1;
    struct mqtt_client_setup setup = {.connect = {.version = kind & 1 ? MQTT_V5 : MQTT_V311,
                                                  .clean_start = (kind & 2) != 0,
                                                  .keep_alive_s = 1,
                                                  .client_id = slice_text("c")},
                                      .packet_max = 300,
                                      .output_max = 300,
                                      .answer_ms = 60000,
                                      .receive_max = 3,
                                      .window = 3};
    AUTO(mqtt_client_autofree) struct mqtt_client *e = NULL;
    uint8_t stream[8192], out[512];
    size_t have = 0;
    if (mqtt_client_new(&setup, now_ms, &e) != OK) {
        return 0;
    }
    while (rd_left(&r) > 2 && !mqtt_client_is_closed(e)) {
        uint8_t what = rd_u8(&r), pause = rd_u8(&r);
        struct slice bytes = rd_bytes(&r, rd_u8(&r));
        uint16_t id;
        struct mqtt_publish m = {.topic = slice_text("t"), .payload = bytes, .qos = what & 1};
        now_ms += (uint64_t)pause * pause;
        mem_fail_after(what & 0x80 ? what >> 4 & 7 : -1);
        m.qos = (uint8_t)(what % 3);
        if ((what & 8) != 0 && mqtt_client_publish(e, &m, now_ms, &id) == OK) {
            assert((id == 0) == (m.qos == 0));
        }
        if (have + bytes.n <= sizeof(stream) && bytes.n > 0) {
            memcpy(stream + have, bytes.p, bytes.n);
            have += bytes.n;
        }
        struct slice in = slice_of(stream, have);
        struct mqtt_client_event ev;
        struct mqtt_fault fault;
        while (mqtt_client_next(e, &in, now_ms, &fault, &ev) == OK) {
            if (ev.kind == MQTT_CLIENT_PUBLISH && (what & 4) != 0) {
                (void)!mqtt_client_accept(e, &ev.publish, now_ms);
            }
        }
        have = in.n;
        memmove(stream, in.n > 0 ? in.p : stream, in.n);
        (void)!mqtt_client_tick(e, now_ms);
        if ((what & 0x10) == 0) {
            while (mqtt_client_output(e, out, sizeof(out)) > 0) {
            }
        }
        assert(mqtt_client_n_open(e) <= setup.window);
    }
    mem_fail_after(-1);
    return 0;
}
