#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "engine/coap_block_body.h"
#include "engine/coap_block_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SENDERS = 4, BODY_MAX = 600 };

/* What is counted is what is there. */
static void check_books(const struct coap_bodies *b)
{
    assert(b->bytes <= b->limits.all_bytes);
    assert(b->by_key.n <= b->limits.all_bodies);
    assert((b->by_key.n == 0) == (b->bytes == 0));
    assert((b->by_key.n == 0) == (b->owners.n == 0));
    assert((b->by_key.n == 0) == (coap_bodies_deadline(b) == UINT64_MAX));
}

/* Requests of some senders: who, flags, options, Block1, payload, time. */
static void fuzz_bodies(struct rd *r)
{
    static const struct siphash_key key = {1, 2};
    static const uint8_t filler[1024];
    struct coap_block_limits l = {.body_bytes = BODY_MAX,
                                  .idle_ms = 1000,
                                  .owner_bytes = 1200,
                                  .all_bytes = 2500,
                                  .owner_bodies = 2,
                                  .all_bodies = 3,
                                  .szx = rd_u8(r) % 7};
    struct coap_bodies b;
    uint64_t now_ms = 0;
    coap_bodies_init(&b, &l, &key);
    while (rd_left(r) > 4) {
        uint8_t who = rd_u8(r), flags = rd_u8(r);
        struct slice value = rd_bytes(r, flags & 3);
        struct slice options = rd_bytes(r, rd_u8(r) % 16);
        struct coap_block_part p = {.owner = who % SENDERS,
                                    .endpoint = who >> 4,
                                    .method = COAP_PUT,
                                    .options = options,
                                    .body_max = flags & 0x40 ? BODY_MAX / 2 : BODY_MAX};
        struct coap_block_taken t = {.is_whole = false};
        now_ms += flags >> 4 & 3 ? 0 : rd_u8(r) * (uint64_t)16;
        if (coap_block_decode(value, &p.block) != OK) {
            continue;
        }
        size_t size = coap_block_bytes(p.block.szx);
        p.payload = slice_of(filler, flags & 4 ? rd_u8(r) : size);
        mem_fail_after(flags & 0x80 ? flags >> 2 & 3 : -1);
        enum err err = coap_bodies_take(&b, &p, now_ms, &t);
        mem_fail_after(-1);
        assert(err != OK || !t.is_whole || t.body.n <= p.body_max);
        assert(err != OK || t.ack.szx <= l.szx || t.ack.szx == p.block.szx);
        buf_done(&t.kept);
        check_books(&b);
        if (who == 0xFF) {
            coap_bodies_end(&b, flags >> 4);
        } else if (who == 0xFE) {
            coap_bodies_forget(&b, &p);
        } else if (who == 0xFD) {
            (void)coap_bodies_shed(&b);
        }
        check_books(&b);
    }
    coap_bodies_done(&b);
}

/* Responses of a server that means no good: what leaves must be well-formed, and it must end. */
static void fuzz_transfer(struct rd *r)
{
    static const uint8_t body[3000];
    uint8_t flags = rd_u8(r);
    struct coap_request a = {.code = flags & 1 ? COAP_PUT : COAP_GET,
                             .options = slice_of("\x60\x51\x61", 3),
                             .payload = slice_of(body, flags & 1 ? sizeof(body) : 0)};
    struct coap_transfer t;
    coap_transfer_init(&t, &a, flags & 2 ? UINT8_MAX : flags >> 2 & 3, flags, BODY_MAX);
    enum coap_transfer_step step = COAP_TRANSFER_SEND;
    while (step == COAP_TRANSFER_SEND && rd_left(r) > 2) {
        struct coap_request request;
        struct coap_message m = {.type = COAP_ACK}, back;
        uint8_t bytes[2048];
        size_t n = 0;
        if (coap_transfer_next(&t, &request) != OK) {
            break;
        }
        struct coap_message out = {
            .code = request.code, .options = request.options, .payload = request.payload};
        assert(request.payload.n <= COAP_BLOCK_BYTES_MAX);
        assert(coap_message_encode(&out, bytes, sizeof(bytes), &n) == OK);
        assert(coap_message_decode(slice_of(bytes, n), 8, &back) == OK);
        struct slice datagram = rd_bytes(r, rd_u8(r));
        if (coap_message_decode(datagram, 8, &m) != OK || coap_transfer_take(&t, &m, &step) != OK) {
            break;
        }
        assert(t.body.n <= BODY_MAX);
    }
    coap_transfer_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    if (rd_u8(&r) & 1) {
        fuzz_transfer(&r);
    } else {
        fuzz_bodies(&r);
    }
    return 0;
}
