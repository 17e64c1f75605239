#include <assert.h>

#include "wire/cbor/item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Every part of what was checked is well-formed itself, down to the ground. */
static void walk(struct slice item)
{
    double number = 0;
    uint64_t integer;
    struct slice part;
    (void)!cbor_number(item, &number);
    assert(!cbor_integer(item, &integer) || cbor_number(item, &number) == OK);
    assert(cbor_string(item).n < item.n);
    if (cbor_major(item) == CBOR_ARRAY || cbor_major(item) == CBOR_MAP) {
        struct rd r = cbor_parts(item);
        size_t parts = 0;
        for (; cbor_next(&r, &part); parts++) {
            assert(cbor_check(part) == OK);
            walk(part);
        }
        assert(cbor_major(item) == CBOR_ARRAY || parts % 2 == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice item = slice_of(data, n);
    if (cbor_check(item) == OK) {
        walk(item);
    }
    return 0;
}
