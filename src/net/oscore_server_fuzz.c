#include "net/oscore_device_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The Echo of the last answer, when it is one. */
static struct slice echo_of(struct pair *p, uint8_t room[OSCORE_MESSAGE_MAX])
{
    struct coap_message m;
    struct coap_oscore o;
    struct slice echo = {0};
    if (pair_answer(p, room, &m, &o) == OK) {
        (void)coap_options_find(m.options, COAP_OPTION_ECHO, &echo);
    }
    return echo;
}

/* From here on the client uses another ID Context: our part that the last answer offers it, if it
 * does, and these bytes. */
static void use_context(struct pair *p, struct slice bytes)
{
    enum { R2_BYTES = 20, HEAD_BYTES = 2 };
    /* The client sends no longer ones. */
    static uint8_t joined[OSCORE_ID_CONTEXT_MAX - HEAD_BYTES], wrapped[OSCORE_ID_CONTEXT_MAX];
    struct coap_message m;
    struct coap_oscore o = {0};
    struct slice value;
    struct wr w = wr_into(joined, sizeof(joined)), k = wr_into(wrapped, sizeof(wrapped));
    if (coap_message_decode(slice_of(p->out, p->out_n), COAP_ENDPOINT_TOKEN_MAX, &m) == OK &&
        coap_options_find(m.options, COAP_OPTION_OSCORE, &value) &&
        coap_oscore_decode(value, &o) == OK && o.kid_context.n == R2_BYTES + 1) {
        wr_bytes(&w, slice_from(o.kid_context, 1));
    }
    wr_bytes(&w, bytes);
    struct slice id_context = wr_slice(&w);
    wr_u8(&k, id_context.n > 23 ? 0x58 : (uint8_t)(0x40 + id_context.n));
    if (id_context.n > 23) {
        wr_u8(&k, (uint8_t)id_context.n);
    }
    wr_bytes(&k, id_context);
    p->kid_context = id_context.n > 0 ? wr_slice(&k) : id_context;
    p->keys = pair_derive(false, id_context.n > 0 ? &id_context : NULL);
}

static void respond(struct pair *p, uint8_t code, struct slice payload)
{
    uint8_t bytes[2048];
    size_t n = 0;
    struct coap_message request;
    if (p->id == 0 || coap_message_decode(slice_of(p->plain, p->plain_n), COAP_ENDPOINT_TOKEN_MAX,
                                          &request) != OK) {
        return;
    }
    struct coap_message m = {.type = COAP_ACK,
                             .code = code,
                             .mid = request.mid,
                             .token = request.token,
                             .payload = payload};
    if (coap_message_encode(&m, bytes, sizeof(bytes), &n) == OK) {
        (void)!dtls_send(p->server, p->id, slice_of(bytes, n), p->now_ms);
    }
}

/* The server asks its client. */
static void ask(struct pair *p, uint8_t name, struct slice payload)
{
    uint8_t bytes[512];
    size_t n = 0;
    uint8_t token[] = {name % 8, 1, 2, 3, 4, 5, 6, 7};
    struct coap_message m = {.type = COAP_CON,
                             .code = COAP_PUT,
                             .mid = (uint16_t)(0x5000 + name),
                             .token = slice_of(token, sizeof(token)),
                             .payload = payload};
    if (p->id != 0 && coap_message_encode(&m, bytes, sizeof(bytes), &n) == OK) {
        (void)!dtls_send(p->server, p->id, slice_of(bytes, n), p->now_ms);
    }
}

/* What the client would answer to what left last, when that was such a question and is its. */
static struct slice answered(struct pair *p, enum coap_type type, uint8_t dst[2048])
{
    static struct taken t;
    struct slice value;
    struct oscore_peer client = {&p->keys, p->ccm};
    memcpy(t.bytes, p->out, p->out_n);
    bool is_question =
        coap_message_decode(slice_of(t.bytes, p->out_n), COAP_ENDPOINT_TOKEN_MAX, &t.outer) == OK &&
        t.outer.code == COAP_POST &&
        coap_options_find(t.outer.options, COAP_OPTION_OSCORE, &value) &&
        coap_oscore_decode(value, &t.option) == OK &&
        oscore_request_open(&client, &t.outer, &t.option, t.room, &t.inner, &t.binding) == OK;
    return is_question ? answer_with(p, &t, type, NULL, COAP_CHANGED, (struct slice){0}, dst)
                       : (struct slice){0};
}

/* Each step: what, from where, how much time passes, a length, and so many bytes. Strangers'
 * datagrams, our client's, also under contexts derived anew, recorded ones again and changed,
 * numbers that come or do not, answers, questions of ours and what comes to them, the end of an
 * association. What comes out is never longer
 * than three times what an unproven address sent. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct pair p;
    uint8_t request[2048], room[OSCORE_MESSAGE_MAX];
    struct slice recorded = {0};
    struct rd r = rd_from(slice_of(data, n));
    uint64_t first = 0;
    pair_init(&p);
    for (int step = 0; step < 64 && rd_left(&r) > 0; step++) {
        unsigned what = rd_u8(&r), from = rd_u8(&r) % 3;
        p.now_ms += (uint64_t)rd_u8(&r) * 500;
        struct slice bytes = rd_bytes(&r, rd_u8(&r));
        switch (what % 16) {
        case 0:
            pair_input(&p, from, bytes);
            break;
        case 1:
            recorded = pair_request(&p, (struct slice){0}, what >= 128, request);
            pair_input(&p, from, recorded);
            break;
        case 2:
            recorded = pair_request(&p, echo_of(&p, room), what >= 128, request);
            pair_input(&p, from, recorded);
            break;
        case 3:
            pair_input(&p, from, recorded);
            break;
        case 4:
            if (recorded.n > 0 && bytes.n > 1) {
                request[bytes.p[0] % recorded.n] ^= bytes.p[1];
                pair_input(&p, from, recorded);
            }
            break;
        case 5:
            oscore_server_numbers(p.server,
                                  &(struct oscore_id){.n = 2, .bytes = {pair_kid[0], pair_kid[1]}},
                                  PAIR_CREDENTIAL, first, first + 3, p.now_ms);
            first += 3;
            break;
        case 6:
            respond(&p, what >= 128 ? COAP_CONTENT : COAP_EMPTY, bytes);
            break;
        case 7:
            ask(&p, from == 0 ? 1 : (uint8_t)(what >> 4), bytes);
            break;
        case 8:
            use_context(&p, bytes);
            break;
        case 9:
            recorded = answered(&p, what >= 128 ? COAP_CON : COAP_ACK, request);
            pair_input(&p, from, recorded);
            break;
        default:
            p.refuses = what >= 128;
            if (p.id != 0) {
                dtls_close(p.server, p.id);
                p.id = 0;
            }
            break;
        }
        dtls_tick(p.server, p.now_ms);
        assert(p.counters.unproven_bytes_out <= 3 * p.counters.unproven_bytes_in);
    }
    pair_done(&p);
    return 0;
}
