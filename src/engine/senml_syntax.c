/* How packs are written: in JSON and in CBOR. SPEC: RFC8428 5, 6 */
#include "engine/senml_syntax.h"

#include "base/scope.h"
#include "wire/cbor/item.h"
#include "wire/json/text.h"

/* SPEC: RFC8428 4.3, 6 */
static const struct {
    const char *text;
    int number;
} labels[SENML_FIELDS] = {
    [SENML_BN] = {"bn", -2}, [SENML_BT] = {"bt", -3}, [SENML_BU] = {"bu", -4},
    [SENML_BV] = {"bv", -5}, [SENML_BS] = {"bs", -6}, [SENML_BVER] = {"bver", -1},
    [SENML_N] = {"n", 0},    [SENML_U] = {"u", 1},    [SENML_V] = {"v", 2},
    [SENML_VS] = {"vs", 3},  [SENML_VB] = {"vb", 4},  [SENML_VD] = {"vd", 8},
    [SENML_S] = {"s", 5},    [SENML_T] = {"t", 6},    [SENML_UT] = {"ut", 7},
};

const char *senml_label_text(enum senml_field field)
{
    return labels[field].text;
}

enum senml_field senml_find_label(struct slice text)
{
    enum senml_field field = SENML_BN;
    while (field < SENML_FIELDS && !slice_is(text, labels[field].text)) {
        field++;
    }
    return field;
}

/* ---- JSON ---- */

static bool json_is_type(struct slice value, enum senml_type type)
{
    switch (type) {
    case SENML_TEXT:
    case SENML_DATA:
        return json_is_string(value);
    case SENML_BOOL:
        return json_is_bool(value);
    case SENML_NUMBER:
    case SENML_COUNT:
        break;
    }
    return json_is_number(value);
}

static bool next_json_member(struct rd *r, struct senml_member *ret)
{
    struct json_member m;
    if (!json_next_member(r, &m)) {
        return false;
    }
    *ret = (struct senml_member){m.name, m.value};
    return true;
}

static enum err json_label(struct slice label, struct wr *w, enum senml_field *ret)
{
    json_string_write(label, w);
    *ret = senml_find_label(wr_slice(w));
    return w->err;
}

static bool is_same_json_label(struct slice a, struct slice b)
{
    struct json_member x = {.name = a, .is_plain = json_is_plain(a)};
    struct json_member y = {.name = b, .is_plain = json_is_plain(b)};
    return json_is_same_name(&x, &y);
}

static void json_text(struct slice string, struct wr *w)
{
    json_string_write(json_content(string), w);
}

static struct slice json_label_of(enum senml_field field)
{
    return slice_text(labels[field].text);
}

static struct slice json_neutral(enum senml_field field)
{
    bool is_number = field == SENML_BT || field == SENML_BV;
    return slice_text(field == SENML_BN ? "\"\"" : is_number ? "0" : NULL);
}

static void json_open(struct wr *w, bool is_object, bool is_first)
{
    if (!is_first) {
        wr_u8(w, ',');
    }
    wr_u8(w, is_object ? '{' : '[');
}

static void json_field(struct wr *w, bool is_first, struct slice label, struct slice value)
{
    if (!is_first) {
        wr_u8(w, ',');
    }
    wr_u8(w, '"');
    wr_bytes(w, label);
    wr_u8(w, '"');
    wr_u8(w, ':');
    wr_bytes(w, value);
}

static void json_close(struct wr *w, bool is_object, size_t from, size_t n)
{
    (void)from, (void)n;
    wr_u8(w, is_object ? '}' : ']');
}

const struct senml_syntax senml_json = {
    .check = json_check,
    .what = "it is not JSON in UTF-8, or too deep",
    .trim = json_trim,
    .is_array = json_is_array,
    .is_object = json_is_object,
    .is_null = json_is_null,
    .is_type = json_is_type,
    .parts = json_parts,
    .next_element = json_next_element,
    .next_member = next_json_member,
    .label = json_label,
    .is_same_label = is_same_json_label,
    .number = json_number,
    .text = json_text,
    .label_of = json_label_of,
    .neutral = json_neutral,
    .open = json_open,
    .field = json_field,
    .close = json_close,
};

/* ---- CBOR ---- */

static struct slice cbor_trim(struct slice text)
{
    return text;
}

static bool cbor_is_array(struct slice value)
{
    return cbor_major(value) == CBOR_ARRAY;
}

static bool cbor_is_object(struct slice value)
{
    return cbor_major(value) == CBOR_MAP;
}

/* SPEC: RFC8428 6: strings in one piece, versions unsigned */
static bool cbor_is_type(struct slice value, enum senml_type type)
{
    double ignored = 0;
    switch (type) {
    case SENML_TEXT:
        return cbor_major(value) == CBOR_TEXT && cbor_is_definite(value);
    case SENML_DATA:
        return cbor_major(value) == CBOR_BYTES && cbor_is_definite(value);
    case SENML_BOOL:
        return cbor_is_bool(value);
    case SENML_COUNT:
        return cbor_major(value) == CBOR_UNSIGNED;
    case SENML_NUMBER:
        break;
    }
    return cbor_number(value, &ignored) != ERR_MALFORMED;
}

static bool next_cbor_member(struct rd *r, struct senml_member *ret)
{
    return cbor_next(r, &ret->label) && cbor_next(r, &ret->value);
}

/* What has a number is not written as text, too: who looks for the number would not see it.
 * SPEC: RFC8428 6 */
static enum err cbor_label(struct slice label, struct wr *w, enum senml_field *ret)
{
    uint64_t number;
    if (cbor_major(label) == CBOR_TEXT && cbor_is_definite(label)) {
        wr_bytes(w, cbor_string(label));
        *ret = senml_find_label(wr_slice(w));
        return *ret == SENML_FIELDS ? w->err : ERR_PROTOCOL;
    }
    if (!cbor_integer(label, &number) || number > INT8_MAX) {
        return ERR_PROTOCOL;
    }
    int wanted = cbor_major(label) == CBOR_NEGATIVE ? -1 - (int)number : (int)number;
    enum senml_field field = SENML_BN;
    while (field < SENML_FIELDS && labels[field].number != wanted) {
        field++;
    }
    *ret = field;
    return field < SENML_FIELDS ? OK : ERR_PROTOCOL;
}

static bool is_same_cbor_label(struct slice a, struct slice b)
{
    uint64_t x = 0, y = 0;
    bool is_number = cbor_integer(a, &x);
    if (cbor_major(a) != cbor_major(b)) {
        return false;
    }
    return is_number ? cbor_integer(b, &y) && x == y : slice_equal(cbor_string(a), cbor_string(b));
}

static void cbor_text(struct slice string, struct wr *w)
{
    wr_bytes(w, cbor_string(string));
}

static struct slice cbor_label_of(enum senml_field field)
{
    static const uint8_t small[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t negative[] = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25};
    int number = labels[field].number;
    return slice_of(number >= 0 ? &small[number] : &negative[-1 - number], 1);
}

static struct slice cbor_neutral(enum senml_field field)
{
    static const uint8_t empty[] = {0x60}, zero[] = {0};
    if (field == SENML_BN) {
        return slice_of(empty, sizeof(empty));
    }
    return field == SENML_BT || field == SENML_BV ? slice_of(zero, sizeof(zero))
                                                  : (struct slice){0};
}

static void cbor_open(struct wr *w, bool is_object, bool is_first)
{
    (void)w, (void)is_object, (void)is_first; /* how many are in it is known at its end */
}

static void cbor_field(struct wr *w, bool is_first, struct slice label, struct slice value)
{
    (void)is_first;
    wr_bytes(w, label);
    wr_bytes(w, value);
}

/* SPEC: RFC8428 6: of a pack that is no stream, the count stands in front */
static void cbor_close(struct wr *w, bool is_object, size_t from, size_t n)
{
    cbor_wrap(w, from, is_object ? CBOR_MAP : CBOR_ARRAY, n);
}

const struct senml_syntax senml_cbor = {
    .check = cbor_check,
    .what = "it is not CBOR with its text in UTF-8, or too deep",
    .trim = cbor_trim,
    .is_array = cbor_is_array,
    .is_object = cbor_is_object,
    .is_null = cbor_is_null,
    .is_type = cbor_is_type,
    .parts = cbor_parts,
    .next_element = cbor_next,
    .next_member = next_cbor_member,
    .label = cbor_label,
    .is_same_label = is_same_cbor_label,
    .number = cbor_number,
    .text = cbor_text,
    .label_of = cbor_label_of,
    .neutral = cbor_neutral,
    .open = cbor_open,
    .field = cbor_field,
    .close = cbor_close,
};
