/* Signals: what both sides say of the connection itself. SPEC: RFC8323 5. */
#include "base/mem.h"
#include "engine/coap_channel_private.h"

enum { SIGNAL_OPTIONS_BYTES = 32, NO_OPTION = -1 };

/* ---- ours ---- */

static enum err send_signal(struct coap_channel *c, uint8_t code, struct slice token,
                            const struct coap_option_writer *options, const char *text)
{
    struct coap_message m = {.code = code, .token = token, .payload = slice_text(text)};
    TRY(coap_option_writer_done(options, &m.options));
    return coap_channel_send(c, &m);
}

/* What we take. The blocks of the topic space are there, and larger ones too (BERT). */
enum err coap_channel_greet(struct coap_channel *c)
{
    uint8_t bytes[SIGNAL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    if (c->has_sent_csm) {
        return OK;
    }
    coap_option_add_uint(&o, COAP_CSM_MAX_MESSAGE_SIZE, c->message_bytes);
    coap_option_add(&o, COAP_CSM_BLOCK_WISE_TRANSFER, (struct slice){0});
    if (c->limits->token_bytes > COAP_TOKEN_BYTES) {
        coap_option_add_uint(&o, COAP_CSM_EXTENDED_TOKEN_LENGTH, c->limits->token_bytes);
    }
    TRY(send_signal(c, COAP_CSM, (struct slice){0}, &o, NULL));
    c->has_sent_csm = true;
    return OK;
}

void coap_channel_lost(struct coap_channel *c)
{
    coap_channel_over(c, COAP_CHANNEL_NO_MEMORY, "there was no memory for what it had to be told");
}

/* SPEC: RFC8323 3.3: also before an Abort, a CSM is the first that leaves. */
static enum err say_last(struct coap_channel *c, uint8_t code, const char *text, int bad_option)
{
    uint8_t bytes[SIGNAL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    TRY(coap_channel_greet(c));
    if (bad_option != NO_OPTION) {
        coap_option_add_uint(&o, COAP_ABORT_BAD_CSM_OPTION, (uint32_t)bad_option);
    }
    enum err err = send_signal(c, code, (struct slice){0}, &o, text);
    if (err == ERR_TOO_LARGE) { /* the peer takes so little that the words do not fit */
        err = send_signal(c, code, (struct slice){0}, &o, NULL);
    }
    return err;
}

void coap_channel_fail(struct coap_channel *c, enum coap_channel_end end, const char *why,
                       int bad_option)
{
    enum err err = say_last(c, COAP_ABORT, why, bad_option);
    coap_channel_over(c, err == ERR_NOMEM ? COAP_CHANNEL_NO_MEMORY : end, why);
}

void coap_channel_close(struct coap_channel *c, enum coap_signal signal, const char *text)
{
    if (c->state != COAP_CHANNEL_OVER) {
        enum err err = say_last(c, (uint8_t)signal, text, NO_OPTION);
        (void)err; /* without memory it ends without a word */
        coap_channel_over(c, COAP_CHANNEL_ENDED_HERE, "");
    }
}

void coap_channel_ping(struct coap_channel *c, uint64_t now_ms)
{
    uint8_t bytes[SIGNAL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    if (send_signal(c, COAP_PING, (struct slice){0}, &o, NULL) == ERR_NOMEM) {
        coap_channel_lost(c);
    }
    c->pinged_at_ms = now_ms;
}

static void pong(struct coap_channel *c, struct slice token, bool has_custody)
{
    uint8_t bytes[SIGNAL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    if (has_custody) {
        coap_option_add(&o, COAP_PING_CUSTODY, (struct slice){0});
    }
    enum err err = send_signal(c, COAP_PONG, token, &o, NULL);
    if (err == ERR_NOMEM) {
        coap_channel_lost(c);
    } /* over its own Max-Message-Size it gets none */
}

void coap_channel_settle(struct coap_channel *c)
{
    if (c->n_exchanges > 0 || c->state == COAP_CHANNEL_OVER) {
        return;
    }
    if (c->pong_waits) {
        c->pong_waits = false;
        pong(c, slice_of(c->pong_token, c->pong_token_n), true);
    }
    /* To a client the answers that are left come yet, and then the end of the transport. A server
     * that asks waits for no device that leaves. */
    if (c->state == COAP_CHANNEL_LEAVING && (!c->is_client || c->n_pending == 0)) {
        coap_channel_over(c, COAP_CHANNEL_RELEASED, "");
    }
}

/* ---- the peer's ---- */

/* Which options of a signal mean something here. */
static bool is_known(uint8_t code, uint16_t number)
{
    switch (code) {
    case COAP_CSM:
        return number == COAP_CSM_MAX_MESSAGE_SIZE || number == COAP_CSM_BLOCK_WISE_TRANSFER ||
               number == COAP_CSM_EXTENDED_TOKEN_LENGTH;
    case COAP_PING:
    case COAP_PONG:
        return number == COAP_PING_CUSTODY;
    case COAP_RELEASE:
        return number == COAP_RELEASE_ALTERNATIVE_ADDRESS || number == COAP_RELEASE_HOLD_OFF;
    case COAP_ABORT:
        return number == COAP_ABORT_BAD_CSM_OPTION;
    default:
        return false;
    }
}

/* The first of this number; a second one counts as unknown, and is elective. */
static bool find(struct slice options, uint16_t number, struct slice *ret)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number == number) {
            *ret = o.value;
            return true;
        }
    }
    return false;
}

/* SPEC: RFC8323 5.2 */
static bool is_understood(struct coap_channel *c, const struct coap_message *m)
{
    struct coap_options it = coap_options_from(m->options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (coap_option_is_critical(o.number) && !is_known(m->code, o.number)) {
            bool is_csm = m->code == COAP_CSM;
            coap_channel_fail(c, COAP_CHANNEL_PROTOCOL,
                              is_csm ? "a critical option of its CSM is not known here"
                                     : "a critical option of a signal is not known here",
                              is_csm ? (int)o.number : NO_OPTION);
            return false;
        }
    }
    return true;
}

/* What it does not say stays as it was. SPEC: RFC8323 5.3 */
static void take_csm(struct coap_channel *c, const struct coap_message *m)
{
    struct slice value;
    uint32_t most = 0;
    if (find(m->options, COAP_CSM_MAX_MESSAGE_SIZE, &value) &&
        coap_option_uint(value, &most) == OK) {
        if (most < COAP_CHANNEL_PEER_LEAST) {
            coap_channel_fail(c, COAP_CHANNEL_PROTOCOL,
                              "its Max-Message-Size is too small for any answer",
                              COAP_CSM_MAX_MESSAGE_SIZE);
            return;
        }
        c->peer_message_bytes = most;
    }
    if (find(m->options, COAP_CSM_BLOCK_WISE_TRANSFER, &value)) {
        c->peer_takes_blocks = true;
    }
    enum err err = coap_channel_greet(c);
    if (err != OK) {
        coap_channel_lost(c);
    } else if (c->state == COAP_CHANNEL_CSM_AWAITED) {
        c->state = COAP_CHANNEL_OPEN;
    }
}

/* Who asks for custody is answered behind all that it asked before. SPEC: RFC8323 5.4.1 */
static void take_ping(struct coap_channel *c, const struct coap_message *m)
{
    struct slice ignored;
    bool has_custody = find(m->options, COAP_PING_CUSTODY, &ignored);
    if (!has_custody || c->n_exchanges == 0) {
        pong(c, m->token, has_custody);
        return;
    }
    struct wr w = wr_into(c->pong_token, sizeof(c->pong_token));
    wr_bytes(&w, m->token);
    c->pong_token_n = (uint8_t)m->token.n;
    c->pong_waits = true; /* and with it the reading */
}

void coap_channel_take_signal(struct coap_channel *c, const struct coap_message *m)
{
    if (!is_understood(c, m)) {
        return;
    }
    switch (m->code) {
    case COAP_CSM:
        take_csm(c, m);
        break;
    case COAP_PING:
        take_ping(c, m);
        break;
    case COAP_RELEASE:
        c->state = COAP_CHANNEL_LEAVING;
        coap_channel_settle(c);
        break;
    case COAP_ABORT:
        coap_channel_over(c, COAP_CHANNEL_ABORTED,
                          c->is_client ? "the server aborted the connection"
                                       : "the client aborted the connection");
        break;
    default: /* a Pong: it was heard, and that is all; or one that means nothing here */
        break;
    }
}
