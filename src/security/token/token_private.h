/* token_private - JSON as tokens and key sets have it. */
#ifndef SECURITY_TOKEN_TOKEN_PRIVATE_H
#define SECURITY_TOKEN_TOKEN_PRIVATE_H

#include <jansson.h>

#include "base/err.h"
#include "base/slice.h"

/* token_parse - one JSON object, no member twice at any depth, no NUL in a text. ERR_MALFORMED,
 * ERR_NOMEM. SPEC: RFC7515 4, 10.12. */
MUST_USE static inline enum err token_parse(struct slice text, json_t **ret)
{
    json_error_t error;
    json_t *json =
        json_loadb(text.n > 0 ? (const char *)text.p : "", text.n, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        return json_error_code(&error) == json_error_out_of_memory ? ERR_NOMEM : ERR_MALFORMED;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return ERR_MALFORMED;
    }
    *ret = json;
    return OK;
}

/* token_text - the bytes of a text; empty for everything else. */
static inline struct slice token_text(const json_t *string)
{
    return json_is_string(string) ? slice_of(json_string_value(string), json_string_length(string))
                                  : (struct slice){0};
}

static inline void token_json_autofree(json_t **json)
{
    json_decref(*json);
}

#endif
