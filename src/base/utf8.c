#include "base/utf8.h"

/* What a byte can be. The lead bytes E0, ED, F0 and F4 narrow the range of the byte after them,
 * which is why the continuation bytes fall in three classes. */
enum byte_class {
    ILL, /* C0, C1, F5..FF */
    ASCII,
    CONT_80,
    CONT_90,
    CONT_A0,
    LEAD_2,
    LEAD_E0,
    LEAD_3,
    LEAD_ED,
    LEAD_F0,
    LEAD_4,
    LEAD_F4,
    N_CLASSES
};

static const uint8_t class_of[256] = {
    [0x00 ... 0x7f] = ASCII,   [0x80 ... 0x8f] = CONT_80, [0x90 ... 0x9f] = CONT_90,
    [0xa0 ... 0xbf] = CONT_A0, [0xc2 ... 0xdf] = LEAD_2,  [0xe0] = LEAD_E0,
    [0xe1 ... 0xec] = LEAD_3,  [0xed] = LEAD_ED,          [0xee ... 0xef] = LEAD_3,
    [0xf0] = LEAD_F0,          [0xf1 ... 0xf3] = LEAD_4,  [0xf4] = LEAD_F4,
};

/* BAD is 0: what the table does not name is refused. */
enum state { BAD, START, MORE_1, MORE_2, MORE_3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4, N_STATES };

static const uint8_t next_state[N_STATES][N_CLASSES] = {
    [START] = {[ASCII] = START,
               [LEAD_2] = MORE_1,
               [LEAD_E0] = AFTER_E0,
               [LEAD_3] = MORE_2,
               [LEAD_ED] = AFTER_ED,
               [LEAD_F0] = AFTER_F0,
               [LEAD_4] = MORE_3,
               [LEAD_F4] = AFTER_F4},
    [MORE_1] = {[CONT_80] = START, [CONT_90] = START, [CONT_A0] = START},
    [MORE_2] = {[CONT_80] = MORE_1, [CONT_90] = MORE_1, [CONT_A0] = MORE_1},
    [MORE_3] = {[CONT_80] = MORE_2, [CONT_90] = MORE_2, [CONT_A0] = MORE_2},
    [AFTER_E0] = {[CONT_A0] = MORE_1},                     /* else it is overlong */
    [AFTER_ED] = {[CONT_80] = MORE_1, [CONT_90] = MORE_1}, /* else it is a surrogate */
    [AFTER_F0] = {[CONT_90] = MORE_2, [CONT_A0] = MORE_2}, /* else it is overlong */
    [AFTER_F4] = {[CONT_80] = MORE_2},                     /* else it is above U+10FFFF */
};

/* The payload bits of a lead byte; ASCII keeps all of its seven. */
static const uint8_t lead_mask[N_CLASSES] = {
    [ASCII] = 0x7f,   [LEAD_2] = 0x1f,  [LEAD_E0] = 0x0f, [LEAD_3] = 0x0f,
    [LEAD_ED] = 0x0f, [LEAD_F0] = 0x07, [LEAD_4] = 0x07,  [LEAD_F4] = 0x07,
};

static bool is_allowed(uint32_t code_point, enum utf8_mode mode)
{
    if (code_point == 0) {
        return false; /* SPEC: MQTT5-1.5.4-2, MQTT3-1.5.3-2 */
    }
    if (mode == UTF8_MQTT) {
        return true;
    }
    bool is_control = code_point < 0x20 || (code_point >= 0x7f && code_point <= 0x9f);
    bool is_noncharacter =
        (code_point >= 0xfdd0 && code_point <= 0xfdef) || (code_point & 0xfffe) == 0xfffe;
    /* Line ends, and what turns the order of the characters around it: SPEC: UAX9 2 */
    bool is_layout = (code_point >= 0x2028 && code_point <= 0x202e) ||
                     (code_point >= 0x2066 && code_point <= 0x2069);
    return !is_control && !is_noncharacter && !is_layout;
}

/* How many bytes at the front are ASCII without NUL, in words of eight: most text is nothing else.
 */
static size_t plain_front(struct slice s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t n = 0;
    for (uint64_t word; s.n - n >= sizeof(word); n += sizeof(word)) {
        memcpy(&word, s.p + n, sizeof(word));
        /* The subtraction borrows out of a zero byte; other bytes may look like one then, but the
         * zero is there all the same. */
        if (((word | (word - ones)) & highs) != 0) {
            break;
        }
    }
    return n;
}

enum err utf8_check(struct slice s, enum utf8_mode mode, size_t *ret_at)
{
    size_t start = mode == UTF8_MQTT ? plain_front(s) : 0; /* of the code point being read */
    unsigned state = START;
    uint32_t code_point = 0;
    for (size_t i = start; i < s.n; i++) {
        unsigned class = class_of[s.p[i]];
        if (state == START) {
            start = i;
            code_point = s.p[i] & lead_mask[class];
        } else {
            code_point = code_point << 6 | (s.p[i] & 0x3f);
        }
        state = next_state[state][class];
        /* SPEC: MQTT5-1.5.4-1, MQTT3-1.5.3-1 */
        if (state == BAD || (state == START && !is_allowed(code_point, mode))) {
            break;
        }
        if (state == START) {
            start = i + 1;
        }
    }
    if (start < s.n) {
        if (ret_at != NULL) {
            *ret_at = start;
        }
        return ERR_UTF8;
    }
    return OK;
}
