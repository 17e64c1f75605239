#include "wire/mqtt/props.h"

#include "wire/mqtt/golden_private.h"
#include "wire/mqtt/varint.h"

/* Each property once, with a value that is legal everywhere it may stand, and the places as
 * letters: W will, C CONNECT, K CONNACK, P PUBLISH, a the acknowledgements (PUBACK to PUBCOMP,
 * SUBACK, UNSUBACK), S SUBSCRIBE, U UNSUBSCRIBE, D DISCONNECT, A AUTH. */
static const struct {
    unsigned id;
    const char *bytes, *places;
} all[] = {
    {1, "01 01", "WP"},
    {2, "02 00 00 00 00", "WP"},
    {3, "03 00 01 't'", "WP"},
    {8, "08 00 01 'r'", "WP"},
    {9, "09 00 02 ff 00", "WP"},
    {11, "0b 80 80 80 01", "PS"},
    {17, "11 ff ff ff ff", "CKD"},
    {18, "12 00 00", "K"},
    {19, "13 00 00", "K"},
    {21, "15 00 01 'm'", "CKA"},
    {22, "16 00 00", "CKA"},
    {23, "17 00", "C"},
    {24, "18 00 00 00 09", "W"},
    {25, "19 01", "C"},
    {26, "1a 00 01 'i'", "K"},
    {28, "1c 00 01 's'", "KD"},
    {31, "1f 00 03 'why'", "KaDA"},
    {33, "21 00 01", "CK"},
    {34, "22 00 00", "CK"},
    {35, "23 ff ff", "P"},
    {36, "24 01", "K"},
    {37, "25 00", "K"},
    {38, "26 00 01 'k' 00 01 'v'", "WCKPaSUDA"},
    {39, "27 00 00 00 01", "CK"},
    {40, "28 01", "K"},
    {41, "29 01", "K"},
    {42, "2a 01", "K"},
};

static const char place_letters[16] = {'W', 'C', 'K', 'P', 'a', 'a', 'a', 'a',
                                       'S', 'a', 'U', 'a', ' ', ' ', 'D', 'A'};

static enum err decode(struct slice block, unsigned where, size_t user_max,
                       struct mqtt_fault *fault, struct mqtt_props *ret)
{
    static uint8_t bytes[GOLDEN_MAX + 4];
    struct wr w = wr_into(bytes, sizeof bytes);
    mqtt_varint_write(&w, block.n);
    wr_bytes(&w, block);
    struct rd r = rd_from(wr_slice(&w));
    TRY(mqtt_props_decode(&r, where, user_max, fault, ret));
    return rd_finish(&r);
}

/* Every property in every place, once and twice. */
static void test_places_and_repeats(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        for (unsigned where = 0; where < 16; where++) {
            uint8_t bytes[GOLDEN_MAX];
            size_t n = golden_bytes(all[i].bytes, bytes);
            memcpy(bytes + n, bytes, n);
            struct mqtt_fault fault = {0};
            struct mqtt_props p;
            bool here =
                place_letters[where] != ' ' && strchr(all[i].places, place_letters[where]) != NULL;
            enum err e = decode(slice_of(bytes, n), where, 9, &fault, &p);
            if (e != (here ? OK : ERR_MALFORMED)) {
                fail_msg("property %u in %u: %s", all[i].id, where, err_name(e));
            }
            assert_true(!here || mqtt_props_has(&p, (enum mqtt_prop_id)all[i].id));
            bool repeats = all[i].id == 38 || (all[i].id == 11 && where == MQTT_PUBLISH);
            e = decode(slice_of(bytes, 2 * n), where, 9, &fault, &p);
            if (here && e != (repeats ? OK : ERR_PROTOCOL)) {
                fail_msg("property %u twice in %u: %s", all[i].id, where, err_name(e));
            }
        }
    }
}

/* Everything else that an id can be is refused, in every place. */
static void test_unknown_ids(void **state)
{
    (void)state;
    for (unsigned id = 0; id < 128; id++) {
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(all); i++) {
            known |= all[i].id == id;
        }
        assert_int_equal(strcmp(mqtt_prop_name(id), "unknown") != 0, known);
        uint8_t bytes[8] = {(uint8_t)id};
        struct mqtt_fault fault = {0};
        struct mqtt_props p;
        for (unsigned where = 0; where < 16 && !known; where++) {
            assert_int_equal(decode(slice_of(bytes, 8), where, 9, &fault, &p), ERR_MALFORMED);
        }
    }
    assert_string_equal(mqtt_prop_name(UINT32_MAX), "unknown");
}

/* In whatever order they came: user properties keep theirs, the rest is written by id. */
static void test_order_and_iterator(void **state)
{
    (void)state;
    uint8_t bytes[GOLDEN_MAX], out[64], want[GOLDEN_MAX];
    struct mqtt_props p;
    size_t n = golden_bytes(
        "26 00 01 'b' 00 01 '1' 0b 02 03 00 01 't' 26 00 01 'a' 00 01 '2' 0b 01 01 00", bytes);
    assert_int_equal(decode(slice_of(bytes, n), MQTT_PUBLISH, 2, NULL, &p), OK);
    assert_int_equal(p.n_user, 2);
    assert_int_equal(p.n_subscription_ids, 2);
    assert_int_equal(mqtt_props_number(&p, MQTT_PROP_SUBSCRIPTION_ID, 0), 2);
    assert_int_equal(mqtt_props_number(&p, MQTT_PROP_MESSAGE_EXPIRY, 77), 77);
    assert_int_equal(mqtt_props_text(&p, MQTT_PROP_RESPONSE_TOPIC).n, 0);

    struct wr w = wr_into(out, sizeof out);
    mqtt_props_encode(&p, &w);
    n = golden_bytes(
        "18 01 00 03 00 01 't' 26 00 01 'b' 00 01 '1' 0b 02 26 00 01 'a' 00 01 '2' 0b 01", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    assert_int_equal(mqtt_props_size(&p), n);

    w = wr_into(out, sizeof out); /* SPEC: MQTT5-3.3.2-18 */
    mqtt_props_copy_forward(&p, &w);
    n = golden_bytes("01 00 03 00 01 't' 26 00 01 'b' 00 01 '1' 26 00 01 'a' 00 01 '2'", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));

    static const unsigned ids[] = {38, 11, 3, 38, 11, 1};
    struct mqtt_props_iter it = mqtt_props_each(p.block);
    struct mqtt_prop prop;
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        assert_true(mqtt_props_next(&it, &prop));
        assert_int_equal(prop.id, ids[i]);
    }
    assert_false(mqtt_props_next(&it, &prop));
}

static void test_building(void **state)
{
    (void)state;
    uint8_t block[32], out[64], want[GOLDEN_MAX];
    struct mqtt_props p = {0};
    assert_int_equal(mqtt_props_size(&p), 1); /* SPEC: MQTT5-2.2.2-1 */
    struct wr b = wr_into(block, sizeof block), w = wr_into(out, sizeof out);
    mqtt_prop_write_user(&b, slice_text("k"), slice_text("v"));
    mqtt_props_set_text(&p, MQTT_PROP_REASON_STRING, slice_text("no"));
    mqtt_props_set_number(&p, MQTT_PROP_RECEIVE_MAXIMUM, 20);
    mqtt_props_set_number(&p, MQTT_PROP_RETAIN_AVAILABLE, 1);
    mqtt_props_set_repeated(&p, wr_slice(&b));
    mqtt_props_encode(&p, &w);
    size_t n = golden_bytes("11 1f 00 02 'no' 21 00 14 25 01 26 00 01 'k' 00 01 'v'", want);
    assert_true(slice_equal(wr_slice(&w), slice_of(want, n)));
    mqtt_props_clear(&p, MQTT_PROP_USER);
    mqtt_props_clear(&p, MQTT_PROP_REASON_STRING);
    assert_int_equal(mqtt_props_size(&p), 1 + 3 + 2);
    w = wr_into(out, 5); /* one byte short */
    mqtt_props_encode(&p, &w);
    assert_int_equal(w.err, ERR_SPACE);
}

/* The fault says where in the packet, not where in the block. */
static void test_fault_offset(void **state)
{
    (void)state;
    uint8_t bytes[] = {0xaa, 0xbb, 4, 1, 0, 1, 0};
    struct rd r = rd_from(slice_of(bytes, sizeof bytes));
    (void)rd_u16(&r);
    struct mqtt_fault fault = {0};
    struct mqtt_props p;
    assert_int_equal(mqtt_props_decode(&r, MQTT_PUBLISH, 9, &fault, &p), ERR_PROTOCOL);
    assert_int_equal(fault.at, 5);
    assert_int_equal(r.err, ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_and_repeats), cmocka_unit_test(test_unknown_ids),
        cmocka_unit_test(test_order_and_iterator), cmocka_unit_test(test_building),
        cmocka_unit_test(test_fault_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
