#include "base/rd.h"
#include "service/broker/worker_bench_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const topics[] = {"t/a", "t/b", "w/a", "x/no"};
static const char *const filters[] = {"t/#", "t/+", "w/a", "#"};
static const char *const shared[] = {"$share/g/t/#", "$share/g/t/+", "$share/h/w/a", "$share/g/#"};

/* Steps of {operation, argument}: two parties on two workers connect, speak, acknowledge and are
 * cut; workers turn, the journal commits, time passes and the policy changes when the bytes say so;
 * the last operation gives raw bytes. */
static void step(struct bench *b, struct rd *r)
{
    uint8_t what = rd_u8(r), argument = rd_u8(r);
    struct party *p = &b->parties[what >> 7];
    uint8_t qos = argument % 3, which = argument >> 2 & 3;
    struct hello h = {.client_id = which == 0 ? "other" : "c",
                      .version = (argument & 1) != 0  ? MQTT_V5
                                 : (what & 0x20) != 0 ? MQTT_V31
                                                      : MQTT_V311,
                      .resume = (argument & 2) != 0,
                      .will = (argument & 0x40) != 0 ? topics[which] : NULL,
                      .keep_alive_s = argument >> 4};
    (void)mem_fail_after((what & 0x40) != 0 ? argument & 7 : -1);
    switch (what & 15) {
    case 0:
    case 1:
        is_cut(b, p);
        connects(b, p, device_at(b, (argument & 0x80) != 0 ? 1 : what >> 7, 0), &h);
        break;
    case 2:
    case 3:
        publishes(b, p, topics[which], argument >> 6 == 3 ? "" : "payload", qos,
                  (uint16_t)(1 + (argument >> 4)), (argument & 0x10) != 0);
        break;
    case 4:
    case 5:
        subscribes(b, p, (what & 0x20) != 0 ? shared[which] : filters[which], qos);
        break;
    case 6:
        acks(b, p, (enum mqtt_type)(MQTT_PUBACK + which), (uint16_t)(1 + (argument >> 4)));
        break;
    case 7:
        is_cut(b, p);
        break;
    case 8:
    case 9:
        turn(b, argument & 1);
        break;
    case 10:
        keeper_commit(b->log);
        break;
    case 11:
        b->now_ms += (uint64_t)argument * argument * 100;
        break;
    case 12:
        p->is_deaf = (argument & 1) != 0;
        break;
    case 13:
        (void)mem_fail_after(-1);
        bench_policy(b, (argument & 1) != 0);
        bench_realm(b);
        realm_to(b, argument >> 1 & 1);
        break;
    case 14:
        p->n = 0; /* the client reads */
        break;
    default:
        give(b, p, rd_bytes(r, argument));
        break;
    }
    (void)mem_fail_after(-1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n < 1024 ? n : 1024));
    struct bench *b = bench_open();
    b->mqtts.takes_v31 = true;
    while (rd_left(&r) > 1) {
        step(b, &r);
    }
    b->parties[0].is_deaf = b->parties[1].is_deaf = false;
    b->parties[0].n = b->parties[1].n = 0;
    settle(b);
    bench_close(b);
    return 0;
}
