#include "net/oscore_duo_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Each step: what, a length, and so many bytes. Strangers' datagrams from the server's address, its
 * own, recorded ones again and changed, requests and observations, and a server that forgets. What
 * the client does not open never comes up, and no number is given for two requests. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct duo d;
    struct rd r = rd_from(slice_of(data, n));
    uint16_t mid = 0;
    duo_init(&d);
    for (int step = 0; step < 64 && rd_left(&r) > 0; step++) {
        unsigned what = rd_u8(&r);
        struct slice bytes = rd_bytes(&r, rd_u8(&r));
        switch (what % 8) {
        case 0:
            dtls_input(d.client, &d.server_peer, bytes, d.pair.now_ms);
            break;
        case 1:
            mid++;
            (void)!duo_ask(&d, mid, (struct slice){0}, what >= 128);
            duo_up(&d, 0);
            break;
        case 2:
            duo_down(&d);
            break;
        case 3:
            if (bytes.n > 1 && d.pair.out_n > 0) {
                d.pair.out[bytes.p[0] % d.pair.out_n] ^= bytes.p[1];
                duo_down(&d);
            }
            break;
        case 4:
            if (d.pair.id != 0) {
                (void)!duo_answer(&d, COAP_NON, "x", what >= 128);
            }
            break;
        case 5:
            (void)!dtls_send(d.client, d.id, bytes, d.pair.now_ms);
            break;
        case 6:
            dtls_free(d.pair.server);
            d.pair.id = 0;
            pair_serve(&d.pair);
            break;
        default:
            d.has_no_numbers = what >= 128;
            break;
        }
    }
    duo_done(&d);
    return 0;
}
