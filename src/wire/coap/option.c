#include "wire/coap/option.h"

#include "base/scope.h"
#include "base/utf8.h"

#define EMPTY  COAP_OPTION_IS_EMPTY
#define OPAQUE COAP_OPTION_IS_OPAQUE
#define UINT   COAP_OPTION_IS_UINT
#define STRING COAP_OPTION_IS_STRING

/* Ascending numbers. SPEC: RFC7252 5.10, RFC7641 2, RFC7959 2.1, RFC7967 2, RFC8613 2, RFC8768 3,
 * RFC9175 2.2.1 and 3.2.1, RFC9177 4.1, RFC9668 3.1 */
static const struct coap_option_info table[] = {
    {COAP_OPTION_IF_MATCH, 0, 8, OPAQUE, true, "If-Match"},
    {COAP_OPTION_URI_HOST, 1, 255, STRING, false, "Uri-Host"},
    {COAP_OPTION_ETAG, 1, 8, OPAQUE, true, "ETag"},
    {COAP_OPTION_IF_NONE_MATCH, 0, 0, EMPTY, false, "If-None-Match"},
    {COAP_OPTION_OBSERVE, 0, 3, UINT, false, "Observe"},
    {COAP_OPTION_URI_PORT, 0, 2, UINT, false, "Uri-Port"},
    {COAP_OPTION_LOCATION_PATH, 0, 255, STRING, true, "Location-Path"},
    {COAP_OPTION_OSCORE, 0, 255, OPAQUE, false, "OSCORE"},
    {COAP_OPTION_URI_PATH, 0, 255, STRING, true, "Uri-Path"},
    {COAP_OPTION_CONTENT_FORMAT, 0, 2, UINT, false, "Content-Format"},
    {COAP_OPTION_MAX_AGE, 0, 4, UINT, false, "Max-Age"},
    {COAP_OPTION_URI_QUERY, 0, 255, STRING, true, "Uri-Query"},
    {COAP_OPTION_HOP_LIMIT, 1, 1, UINT, false, "Hop-Limit"},
    {COAP_OPTION_ACCEPT, 0, 2, UINT, false, "Accept"},
    {COAP_OPTION_Q_BLOCK1, 0, 3, UINT, false, "Q-Block1"},
    {COAP_OPTION_LOCATION_QUERY, 0, 255, STRING, true, "Location-Query"},
    {COAP_OPTION_EDHOC, 0, 0, EMPTY, false, "EDHOC"},
    {COAP_OPTION_BLOCK2, 0, 3, UINT, false, "Block2"},
    {COAP_OPTION_BLOCK1, 0, 3, UINT, false, "Block1"},
    {COAP_OPTION_SIZE2, 0, 4, UINT, false, "Size2"},
    {COAP_OPTION_Q_BLOCK2, 0, 3, UINT, true, "Q-Block2"},
    {COAP_OPTION_PROXY_URI, 1, 1034, STRING, false, "Proxy-Uri"},
    {COAP_OPTION_PROXY_SCHEME, 1, 255, STRING, false, "Proxy-Scheme"},
    {COAP_OPTION_SIZE1, 0, 4, UINT, false, "Size1"},
    {COAP_OPTION_ECHO, 1, 40, OPAQUE, false, "Echo"},
    {COAP_OPTION_NO_RESPONSE, 0, 1, UINT, false, "No-Response"},
    {COAP_OPTION_REQUEST_TAG, 0, 8, OPAQUE, true, "Request-Tag"},
};

const struct coap_option_info *coap_option_find(uint16_t number)
{
    size_t low = 0, high = COUNT_OF(table);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table[middle].number == number) {
            return &table[middle];
        }
        if (table[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool has_valid_value(const struct coap_option_info *info, struct slice value)
{
    if (value.n < info->min_bytes || value.n > info->max_bytes) {
        return false;
    }
    return info->format != COAP_OPTION_IS_STRING || utf8_check(value, UTF8_MQTT, NULL) == OK;
}

static bool is_understood(struct coap_option option, bool is_repeated, uint64_t understood)
{
    const struct coap_option_info *info = coap_option_find(option.number);
    if (info == NULL || option.number >= 64 || (understood & COAP_OPTION_BIT(option.number)) == 0) {
        return false;
    }
    if (is_repeated && !info->repeatable) {
        return false; /* SPEC: RFC7252 5.4.5 */
    }
    return has_valid_value(info, option.value); /* SPEC: RFC7252 5.4.3 */
}

enum err coap_options_check(struct slice options, uint64_t understood, uint16_t *ret_number)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    uint32_t previous = UINT32_MAX;
    while (coap_options_next(&it, &option)) {
        bool is_repeated = option.number == previous;
        previous = option.number;
        if (coap_option_is_critical(option.number) &&
            !is_understood(option, is_repeated, understood)) {
            *ret_number = option.number;
            return ERR_UNSUPPORTED; /* SPEC: RFC7252 5.4.1 */
        }
    }
    return coap_options_finish(&it);
}

bool coap_options_find(struct slice options, uint16_t number, struct slice *ret)
{
    const struct coap_option_info *info = coap_option_find(number);
    struct coap_options it = coap_options_from(options);
    struct coap_option option;
    while (coap_options_next(&it, &option) && option.number <= number) {
        if (option.number == number && (info == NULL || has_valid_value(info, option.value))) {
            *ret = option.value;
            return true;
        }
    }
    return false;
}

bool coap_options_find_uint(struct slice options, uint16_t number, uint32_t *ret)
{
    struct slice value;
    return coap_options_find(options, number, &value) && coap_option_uint(value, ret) == OK;
}
