/* Contexts derived anew, for a client that has lost its numbers, or whom we have forgotten.
 * SPEC: RFC8613 B.2, B.2.1 */
#include "base/mem.h"
#include "engine/coap_echo.h"
#include "net/oscore_private.h"

enum {
    SALT_BYTES = 8,
    R2_BYTES = SALT_BYTES + COAP_ECHO_BYTES,
    CBOR_BYTES = 0x40,
    CBOR_ONE = 0x58
};

bool oscore_kid_context_read(struct slice wrapped, struct slice *ret)
{
    enum { DIRECT_MAX = 23 };
    struct rd r = rd_from(wrapped);
    unsigned head = rd_u8(&r);
    size_t n = head == CBOR_ONE ? rd_u8(&r) : head - CBOR_BYTES;
    bool is_bytes =
        head == CBOR_ONE ? n > DIRECT_MAX : head >= CBOR_BYTES && head <= CBOR_BYTES + DIRECT_MAX;
    struct slice content = rd_rest(&r);
    if (!is_bytes || content.n != n || n == 0 || n > OSCORE_ID_CONTEXT_MAX) {
        return false;
    }
    *ret = content;
    return true;
}

/* What the proof in an R2 is about: its random part, whose it is, where it goes, and how often
 * this context was derived anew: when it was, all that came before is void. */
static uint64_t renewal_tag(const struct oscore_server *s, struct slice salt, struct slice kid,
                            const struct net_peer *peer, uint32_t n_renewed)
{
    uint8_t bytes[SALT_BYTES + 1 + OSCORE_ID_MAX + sizeof(*peer) + sizeof(n_renewed)];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, salt);
    wr_u8(&w, (uint8_t)kid.n);
    wr_bytes(&w, kid);
    wr_bytes(&w, net_peer_key(peer));
    wr_u32(&w, n_renewed);
    return siphash(&s->renew_key, wr_slice(&w));
}

static void make_r2(struct oscore_server *s, struct slice kid, const struct net_peer *peer,
                    uint32_t n_renewed, uint64_t now_ms, uint8_t dst[R2_BYTES])
{
    s->config.random->fill(s->config.random->ctx, dst, SALT_BYTES);
    uint64_t tag = renewal_tag(s, slice_of(dst, SALT_BYTES), kid, peer, n_renewed);
    coap_echo_make(&s->renew_key, tag, now_ms, dst + SALT_BYTES);
}

bool oscore_is_renewal(const struct oscore_server *s, struct slice id_context, struct slice kid,
                       const struct net_peer *peer, uint32_t n_renewed, uint64_t now_ms)
{
    uint64_t age_ms = 0;
    if (id_context.n <= R2_BYTES) {
        return false; /* the client's part is missing */
    }
    struct slice salt = slice_head(id_context, SALT_BYTES);
    struct slice proof = slice_head(slice_from(id_context, SALT_BYTES), COAP_ECHO_BYTES);
    return coap_echo_check(&s->renew_key, renewal_tag(s, salt, kid, peer, n_renewed), proof, now_ms,
                           OSCORE_ECHO_MS, &age_ms);
}

/* The first context is the client's alone: what opens under it may be years old. So it gets nothing
 * but our part of another one. */
bool oscore_renewal_offer(struct oscore_server *s, const struct net_peer *peer,
                          const struct coap_message *outer, const struct oscore_binding *binding,
                          struct slice id_context, uint32_t n_renewed, uint64_t now_ms)
{
    uint8_t second[OSCORE_ID_CONTEXT_MAX], wrapped[1 + R2_BYTES], room[OSCORE_MESSAGE_MAX];
    struct oscore_found found = {0};
    struct coap_message sealed;
    struct slice kid = oscore_id_slice(&binding->kid);
    if (id_context.n > sizeof(second) - R2_BYTES) {
        return false;
    }
    wrapped[0] = CBOR_BYTES + R2_BYTES;
    make_r2(s, kid, peer, n_renewed, now_ms, wrapped + 1);
    struct wr w = wr_into(second, sizeof(second));
    wr_bytes(&w, slice_of(wrapped + 1, R2_BYTES));
    wr_bytes(&w, id_context);
    struct slice joined = wr_slice(&w);
    enum err err = s->config.find(s->config.ctx, kid, &joined, &found);
    struct oscore_peer p = {&found.keys, s->ccm};
    struct coap_message plain = {.type = outer->type == COAP_CON ? COAP_ACK : COAP_NON,
                                 .code = COAP_UNAUTHORIZED,
                                 .mid = outer->mid,
                                 .token = outer->token};
    if (err == OK) {
        err = oscore_renewal_protect(&p, binding, slice_of(wrapped, sizeof(wrapped)), &plain, room,
                                     &sealed);
    }
    if (err == OK) {
        s->config.counters->challenged++;
        oscore_transmit(s, peer, &sealed);
    }
    oscore_keys_wipe(&found.keys);
    return err == OK;
}
