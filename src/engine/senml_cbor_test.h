/* senml_cbor_test - a JSON pack of a test written in CBOR, so that each case is one in both forms.
 */
#ifndef ENGINE_SENML_CBOR_TEST_H
#define ENGINE_SENML_CBOR_TEST_H

#include <math.h>
#include <stdlib.h>

#include "engine/senml_syntax.h"
#include "wire/cbor/item.h"
#include "wire/json/text.h"

static inline void cbor_value(struct wr *w, struct slice value, bool is_pack, bool is_data);

static inline void cbor_number_write(struct wr *w, struct slice value)
{
    double number = 0;
    uint64_t bits;
    if (json_number(value, &number) != OK) {
        number = HUGE_VAL; /* what is beyond a double is so in both */
    }
    bool is_small = number > -1e15 && number < 1e15;
    if (is_small && number - (double)(int64_t)number == 0) {
        cbor_wrap(w, w->at, number < 0 ? CBOR_NEGATIVE : CBOR_UNSIGNED,
                  (uint64_t)(number < 0 ? -1 - number : number));
        return;
    }
    memcpy(&bits, &number, sizeof(bits));
    wr_u8(w, 0xFB);
    wr_be(w, bits, sizeof(bits));
}

static inline void cbor_string_write(struct wr *w, struct slice content, enum cbor_major major)
{
    size_t from = w->at;
    json_string_write(content, w);
    cbor_wrap(w, from, major, w->at - from);
}

static inline void cbor_members(struct wr *w, struct slice value, bool is_record)
{
    struct rd members = json_parts(value);
    struct json_member m;
    size_t from = w->at, n = 0;
    for (; json_next_member(&members, &m); n++) {
        uint8_t text[64];
        struct wr t = wr_into(text, sizeof(text));
        json_string_write(m.name, &t);
        enum senml_field field = is_record ? senml_find_label(wr_slice(&t)) : SENML_FIELDS;
        if (field < SENML_FIELDS) {
            wr_bytes(w, senml_cbor.label_of(field));
        } else {
            cbor_string_write(w, m.name, CBOR_TEXT);
        }
        cbor_value(w, m.value, false, field == SENML_VD);
    }
    cbor_wrap(w, from, CBOR_MAP, n);
}

static inline void cbor_value(struct wr *w, struct slice value, bool is_pack, bool is_data)
{
    size_t from = w->at, n = 0;
    if (json_is_object(value)) {
        cbor_members(w, value, is_pack);
    } else if (json_is_array(value)) {
        struct rd elements = json_parts(value);
        struct slice element;
        for (; json_next_element(&elements, &element); n++) {
            cbor_value(w, element, is_pack, false);
        }
        cbor_wrap(w, from, CBOR_ARRAY, n);
    } else if (json_is_string(value)) {
        cbor_string_write(w, json_content(value), is_data ? CBOR_BYTES : CBOR_TEXT);
    } else if (json_is_number(value)) {
        cbor_number_write(w, value);
    } else {
        wr_u8(w, json_is_null(value) ? 0xF6 : slice_is(value, "true") ? 0xF5 : 0xF4);
    }
}

/* In CBOR; empty when it is not JSON. */
static inline struct slice in_cbor(struct slice json, uint8_t *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    if (json_check(json) != OK) {
        return (struct slice){0};
    }
    cbor_value(&w, json_trim(json), true, false);
    return wr_slice(&w);
}

#endif
