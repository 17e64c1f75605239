#include "wire/coap/block.h"

enum { SZX_MASK = 7, MORE = 8, NUMBER_SHIFT = 4, VALUE_BYTES_MAX = 3 };

enum err coap_block_at(uint64_t offset, uint8_t szx, bool has_more, struct coap_block *ret)
{
    uint64_t number = offset / coap_block_bytes(szx);
    if (number > COAP_BLOCK_NUMBER_MAX) {
        return ERR_LIMIT;
    }
    *ret = (struct coap_block){.number = (uint32_t)number, .szx = szx, .has_more = has_more};
    return OK;
}

enum err coap_block_decode(struct slice value, struct coap_block *ret)
{
    uint32_t bits = 0;
    if (value.n > VALUE_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(coap_option_uint(value, &bits));
    uint8_t szx = bits & SZX_MASK;
    if (szx > COAP_BLOCK_SZX_MAX) {
        return ERR_MALFORMED; /* SPEC: RFC7959 2.2 */
    }
    *ret = (struct coap_block){
        .number = bits >> NUMBER_SHIFT, .szx = szx, .has_more = (bits & MORE) != 0};
    return OK;
}

enum err coap_block_find(struct slice options, uint16_t number, struct coap_block *ret)
{
    struct slice value;
    return coap_options_find(options, number, &value) ? coap_block_decode(value, ret)
                                                      : ERR_NOT_FOUND;
}

enum err coap_block_find_bert(struct slice options, uint16_t number, struct coap_block *ret,
                              bool *ret_is_bert)
{
    struct slice value;
    uint32_t bits = 0;
    if (!coap_options_find(options, number, &value)) {
        return ERR_NOT_FOUND;
    }
    bool is_bert = value.n <= VALUE_BYTES_MAX && coap_option_uint(value, &bits) == OK &&
                   (bits & SZX_MASK) == COAP_BLOCK_SZX_BERT;
    if (is_bert) {
        *ret = (struct coap_block){.number = bits >> NUMBER_SHIFT,
                                   .szx = COAP_BLOCK_SZX_MAX,
                                   .has_more = (bits & MORE) != 0};
    } else {
        TRY(coap_block_decode(value, ret));
    }
    *ret_is_bert = is_bert;
    return OK;
}

uint32_t coap_block_value(struct coap_block b)
{
    return b.number << NUMBER_SHIFT | (b.has_more ? MORE : 0U) | b.szx;
}

enum err coap_block_cut(struct slice body, struct coap_block want, struct coap_block *ret,
                        struct slice *ret_piece)
{
    uint64_t offset = coap_block_offset(want);
    size_t size = coap_block_bytes(want.szx);
    if (offset > 0 && offset >= body.n) {
        return ERR_NOT_FOUND;
    }
    struct slice rest = slice_from(body, (size_t)offset);
    *ret = (struct coap_block){.number = want.number, .szx = want.szx, .has_more = rest.n > size};
    *ret_piece = rest.n > size ? slice_head(rest, size) : rest;
    return OK;
}
