#include "engine/coap_block_client.h"

#include <assert.h>

#include "base/mem.h"

void coap_transfer_init(struct coap_transfer *t, const struct coap_request *ask, uint8_t szx,
                        uint64_t seed, size_t body_max)
{
    assert(szx <= COAP_BLOCK_SZX_MAX || szx == UINT8_MAX);
    *t = (struct coap_transfer){.ask = *ask,
                                .seed = seed,
                                .body_max = body_max,
                                .szx = szx <= COAP_BLOCK_SZX_MAX ? szx : COAP_BLOCK_SZX_MAX,
                                .wants_szx = szx <= COAP_BLOCK_SZX_MAX};
    t->is_blockwise = ask->payload.n > coap_block_bytes(t->szx);
    t->fetch_szx = t->szx;
}

void coap_transfer_reliable(struct coap_transfer *t, size_t whole_max)
{
    t->is_reliable = true;
    t->is_blockwise = t->ask.payload.n > whole_max;
    t->wants_szx = false; /* what bounds the request does not bound the answer */
    t->fetch_szx = COAP_BLOCK_SZX_MAX;
}

void coap_transfer_done(struct coap_transfer *t)
{
    buf_done(&t->body);
}

/* ---- what to send ---- */

/* A number of a block-wise option, put where it belongs among the others. */
struct extra {
    uint16_t number;
    bool is_tag;
    uint32_t value;
    uint64_t tag;
};

/* Copies the options of the request with those of the block among them, in ascending order. */
static enum err write_options(struct coap_transfer *t, const struct extra *extras, size_t n,
                              bool with_observe, struct slice *ret)
{
    struct coap_option_writer o = coap_option_writer_into(t->options, sizeof(t->options));
    struct coap_options it = coap_options_from(t->ask.options);
    struct coap_option option = {.number = 0};
    bool has_option = coap_options_next(&it, &option);
    size_t at = 0;
    while (has_option || at < n) {
        if (at < n && (!has_option || extras[at].number < option.number)) {
            if (extras[at].is_tag) {
                coap_option_add(&o, extras[at].number,
                                slice_of(&extras[at].tag, sizeof(extras[at].tag)));
            } else {
                coap_option_add_uint(&o, extras[at].number, extras[at].value);
            }
            at++;
            continue;
        }
        if (option.number != COAP_OPTION_OBSERVE || with_observe) {
            coap_option_add(&o, option.number, option.value);
        }
        has_option = coap_options_next(&it, &option);
    }
    TRY(coap_options_finish(&it));
    enum err err = coap_option_writer_done(&o, ret);
    return err == ERR_SPACE ? ERR_TOO_LARGE : err;
}

/* SPEC: RFC7959 2.4: the next block of the answer; the request's body has been given. Of a FETCH it
 * says which answer that is, so it is given again, when it is one message. SPEC: RFC8132 2 */
static enum err next_fetch(struct coap_transfer *t, struct coap_request *ret)
{
    struct coap_block want;
    TRY(coap_block_at(t->body.n, t->fetch_szx, false, &want));
    uint32_t value = coap_block_value(want) | (t->is_bert ? COAP_BLOCK_SZX_BERT : 0U);
    struct extra extras[] = {{.number = COAP_OPTION_BLOCK2, .value = value}};
    if (t->ask.code != COAP_FETCH || t->is_blockwise) {
        ret->payload = (struct slice){0};
    }
    return write_options(t, extras, 1, false, &ret->options);
}

static enum err next_block(struct coap_transfer *t, struct coap_request *ret)
{
    struct slice rest = slice_from(t->ask.payload, t->sent_at);
    size_t size = coap_block_bytes(t->szx);
    struct coap_block block;
    struct extra extras[3];
    size_t n = 0;
    bool has_more = rest.n > size;
    TRY(coap_block_at(t->sent_at, t->szx, has_more, &block));
    extras[n++] = (struct extra){.number = COAP_OPTION_BLOCK1, .value = coap_block_value(block)};
    if (t->sent_at == 0) {
        extras[n++] =
            (struct extra){.number = COAP_OPTION_SIZE1, .value = (uint32_t)t->ask.payload.n};
    }
    /* Blocks of two tries never become one body. SPEC: RFC9175 3.4, 3.5.1 */
    extras[n++] = (struct extra){
        .number = COAP_OPTION_REQUEST_TAG, .is_tag = true, .tag = t->seed + t->n_restarts};
    ret->payload = has_more ? slice_head(rest, size) : rest;
    t->sent_n = ret->payload.n;
    return write_options(t, extras, n, true, &ret->options);
}

enum err coap_transfer_next(struct coap_transfer *t, struct coap_request *ret)
{
    struct coap_request r = t->ask;
    if (t->is_fetching && t->body.n > 0) {
        TRY(next_fetch(t, &r));
    } else if (t->is_blockwise) {
        TRY(next_block(t, &r));
    } else if (t->wants_szx && t->ask.payload.n == 0) {
        struct extra extras[] = {{.number = COAP_OPTION_BLOCK2, .value = t->fetch_szx}};
        TRY(write_options(t, extras, 1, !t->is_fetching, &r.options));
    } else {
        TRY(write_options(t, NULL, 0, !t->is_fetching, &r.options));
    }
    *ret = r;
    return OK;
}

/* ---- what comes ---- */

static enum err restart(struct coap_transfer *t)
{
    buf_done(&t->body);
    t->sent_at = 0;
    return ++t->n_restarts > COAP_TRANSFER_RESTARTS_MAX ? ERR_AGAIN : OK;
}

static void remember_version(struct coap_transfer *t, const struct coap_message *m)
{
    struct slice etag = {0};
    uint32_t format = UINT16_MAX;
    (void)coap_options_find(m->options, COAP_OPTION_ETAG, &etag);
    (void)coap_options_find_uint(m->options, COAP_OPTION_CONTENT_FORMAT, &format);
    t->etag_n = (uint8_t)etag.n; /* the registry of options allows no more than 8 */
    slice_copy(t->etag, etag);
    t->format = (uint16_t)format;
}

static bool is_same_version(const struct coap_transfer *t, const struct coap_message *m)
{
    struct slice etag = {0};
    uint32_t format = UINT16_MAX;
    (void)coap_options_find(m->options, COAP_OPTION_ETAG, &etag);
    (void)coap_options_find_uint(m->options, COAP_OPTION_CONTENT_FORMAT, &format);
    return slice_equal(etag, slice_of(t->etag, t->etag_n)) && format == t->format;
}

/* Are n bytes as many as a block has that others follow? */
static bool is_whole(struct coap_block block, bool is_bert, size_t n)
{
    size_t size = coap_block_bytes(block.szx);
    return !block.has_more || n == size || (is_bert && n > 0 && n % size == 0);
}

/* A response that is, or begins, the answer. */
static enum err take_answer(struct coap_transfer *t, const struct coap_message *m,
                            enum coap_transfer_step *ret)
{
    struct coap_block block = {.szx = COAP_BLOCK_SZX_MAX};
    bool is_bert = false;
    enum err err = t->is_reliable
                       ? coap_block_find_bert(m->options, COAP_OPTION_BLOCK2, &block, &is_bert)
                       : coap_block_find(m->options, COAP_OPTION_BLOCK2, &block);
    bool has_block = err == OK;
    if (err != OK && err != ERR_NOT_FOUND) {
        return ERR_MALFORMED;
    }
    if (t->is_fetching && has_block && block.number > 0 && t->body.n > 0 &&
        !is_same_version(t, m)) {
        if (t->ask.code != COAP_GET) {
            return ERR_AGAIN; /* asking anew would do anew what was asked */
        }
        TRY(restart(t)); /* SPEC: RFC7959 2.4: from the first block of what is there now */
        *ret = COAP_TRANSFER_SEND;
        return OK;
    }
    if (!has_block || block.number == 0) {
        buf_clear(&t->body);
        remember_version(t, m);
    }
    if (coap_block_offset(block) != t->body.n || !is_whole(block, is_bert, m->payload.n)) {
        return ERR_MALFORMED; /* SPEC: RFC7959 2.3 */
    }
    TRY(buf_append(&t->body, m->payload, t->body_max));
    t->code = m->code;
    t->is_bert = is_bert;
    t->fetch_szx = block.szx < t->fetch_szx ? block.szx : t->fetch_szx;
    t->is_fetching = has_block && block.has_more;
    if (!t->is_fetching && !t->is_blockwise) {
        t->n_restarts = 0; /* an observation may go on for years */
    }
    *ret = t->is_fetching ? COAP_TRANSFER_SEND : COAP_TRANSFER_DONE;
    return OK;
}

/* A block of ours was taken: the next one, in the size that the server would rather have. */
static void advance(struct coap_transfer *t, const struct coap_message *m)
{
    struct coap_block ack;
    t->sent_at += t->sent_n;
    if (coap_block_find(m->options, COAP_OPTION_BLOCK1, &ack) == OK && ack.szx < t->szx) {
        t->szx = ack.szx; /* SPEC: RFC7959 2.5 */
    }
}

/* 4.13 to the first block, with a smaller size: it is to be tried so. SPEC: RFC7959 2.9.3 */
static bool wants_smaller(struct coap_transfer *t, const struct coap_message *m)
{
    struct coap_block ack;
    if (m->code != COAP_REQUEST_TOO_LARGE || t->ask.payload.n == 0 ||
        coap_block_find(m->options, COAP_OPTION_BLOCK1, &ack) != OK || ack.szx >= t->szx) {
        return false;
    }
    t->szx = ack.szx;
    t->is_blockwise = true;
    return true;
}

enum err coap_transfer_take(struct coap_transfer *t, const struct coap_message *m,
                            enum coap_transfer_step *ret)
{
    bool has_left = t->is_blockwise && !t->is_fetching && t->sent_at < t->ask.payload.n &&
                    t->sent_at + t->sent_n < t->ask.payload.n;
    if (has_left && coap_code_is_success(m->code)) {
        advance(t, m);
        *ret = COAP_TRANSFER_SEND;
        return OK;
    }
    bool is_lost = t->is_blockwise && m->code == COAP_REQUEST_INCOMPLETE;
    if ((is_lost || wants_smaller(t, m)) && t->n_restarts < COAP_TRANSFER_RESTARTS_MAX) {
        TRY(restart(t)); /* under another Request-Tag */
        *ret = COAP_TRANSFER_SEND;
        return OK;
    }
    if (t->is_fetching && !coap_code_is_success(m->code)) {
        buf_clear(&t->body); /* the answer is the refusal */
        t->is_fetching = false;
    }
    return take_answer(t, m, ret);
}
