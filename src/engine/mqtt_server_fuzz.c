#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "engine/mqtt_server.h"
#include "wire/mqtt/connack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { ASKS = 128 };

struct party {
    struct mqtt_server *e;
    uint32_t asks[ASKS]; /* open ones */
    size_t n_asks;
    uint64_t now_ms;
    bool is_over; /* an error was told: the owner stops reading */
};

static void take(struct party *p, struct slice in)
{
    struct mqtt_event ev;
    struct mqtt_fault fault = {0};
    enum err err = OK;
    while (!p->is_over && p->n_asks < ASKS &&
           (err = mqtt_server_next(p->e, &in, p->now_ms, &fault, &ev)) == OK) {
        assert(ev.kind != MQTT_EVENT_PUBLISH || ev.publish.topic.n > 0);
        if (ev.kind == MQTT_EVENT_AUTH) {
            (void)!mqtt_server_auth(p->e, MQTT_SUCCESS,
                                    mqtt_props_text(&ev.auth.props, MQTT_PROP_AUTH_DATA));
        }
        if (ev.ask != 0) {
            p->asks[p->n_asks++] = ev.ask;
        }
    }
    if (err != OK && err != ERR_AGAIN) {
        assert(mqtt_server_is_closing(p->e) && fault.err == err && fault.reason >= 0x80);
        p->is_over = true;
    }
}

static void answer(struct party *p, uint8_t which, enum mqtt_reason reason)
{
    if (p->n_asks > 0) {
        size_t i = which % p->n_asks;
        mqtt_server_answer(p->e, p->asks[i], reason);
        p->asks[i] = p->asks[--p->n_asks];
    }
}

/* A message to the client, its topic and payload from the fuzzer, the payload lent or not: as large
 * as the client takes, or not at all. */
static void deliver(struct party *p, struct slice bytes, uint8_t argument)
{
    uint8_t out[512];
    struct wr w = wr_into(out, sizeof(out));
    struct msg *m = NULL;
    size_t topic_n = argument % (bytes.n + 1);
    if (topic_n == 0 || msg_new(slice_head(bytes, topic_n), (struct slice){0},
                                slice_from(bytes, topic_n), &m) != OK) {
        return;
    }
    struct delivery d = {.msg = m, .qos = argument >> 7, .packet_id = 1};
    struct lending lending = {.least = 16};
    enum err err =
        mqtt_server_deliver(p->e, &d, p->now_ms, &w, (argument & 1) != 0 ? &lending : NULL);
    assert(err == OK ? w.at + lending.bytes <= mqtt_server_terms(p->e)->client_packet_max
                     : w.at == 0 && lending.n == 0);
    lending_done(&lending);
    msg_unref(m);
}

/* Whoever is told of a subscription hears the truth, or nothing more. */
static void suback(struct party *p, uint8_t argument)
{
    uint8_t codes[] = {argument & 1,
                       (argument & 2) != 0 ? MQTT_NOT_AUTHORIZED : MQTT_GRANTED_QOS_2};
    enum err err = mqtt_server_suback(p->e, 1, slice_of(codes, sizeof(codes)));
    bool is_unsayable = codes[1] > 2 && mqtt_server_terms(p->e)->version == MQTT_V31;
    assert(!is_unsayable || (err != OK && (err == ERR_NOMEM || mqtt_server_is_closing(p->e))));
    assert(is_unsayable || err != ERR_UNSUPPORTED);
}

/* Steps of {what, argument, length, bytes}: input, answers in any order, output, time, and
 * allocations that fail are the fuzzer's. What leaves is whole packets of a server. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    uint8_t setup = rd_u8(&r), out[512];
    const struct mqtt_wire_limits limits = {
        .topic_bytes = 32, .topic_levels = 4, .filters_per_packet = 2, .topic_alias_max = 2};
    struct mqtt_terms terms = {
        .version = (setup & 1) != 0 ? MQTT_V5 : ((setup & 0x40) != 0 ? MQTT_V31 : MQTT_V311),
        .packet_max = 256,
        .client_packet_max = (setup & 0x80) != 0 ? 40 : UINT32_MAX,
        .wants_reasons = (setup & 0x40) != 0,
        .receive_max = (uint16_t)(1 + (setup >> 1 & 7)),
        .client_receive_max = 4,
        .keep_alive_s = (uint16_t)(setup >> 4),
        .client_alias_max = 2,
        .wire = &limits};
    if ((setup & 0x80) != 0 && terms.version == MQTT_V5) {
        terms.auth_method = "M";
    }
    struct mqtt_connack connack = {.code = MQTT_SUCCESS};
    struct party p = {.now_ms = 1};
    if (mqtt_server_new(&terms, &connack, p.now_ms, &p.e) != OK) {
        return 0;
    }
    while (rd_left(&r) > 2) {
        uint8_t what = rd_u8(&r), argument = rd_u8(&r);
        struct slice bytes = rd_bytes(&r, rd_u8(&r));
        (void)mem_fail_after((what & 0x80) != 0 ? what >> 4 & 3 : -1);
        switch (what & 7) {
        case 0:
        case 1:
        case 2:
            take(&p, bytes);
            break;
        case 3:
            answer(&p, argument, MQTT_SUCCESS);
            break;
        case 4:
            answer(&p, argument, MQTT_NOT_AUTHORIZED);
            break;
        case 5:
            p.now_ms += (uint64_t)argument * 100;
            (void)!mqtt_server_tick(p.e, p.now_ms);
            break;
        case 6:
            (void)mqtt_server_output(p.e, out, argument);
            break;
        default:
            if (bytes.n > 1) {
                deliver(&p, bytes, argument);
            } else if (argument >= 0x80) {
                suback(&p, argument);
            } else if (bytes.n > 0) {
                (void)!mqtt_server_pubrel(p.e, (uint16_t)(argument + 1u), MQTT_SUCCESS);
            }
            break;
        }
        (void)mem_fail_after(-1);
    }
    mqtt_server_free(p.e);
    return 0;
}
