#include "base/mem.h"
#include "wire/mqtt/props.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* First byte: the place. What decodes is written back in the size that was announced, decodes
 * again, and is then the same; what is forwarded is a legal block of a PUBLISH. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_from(slice_of(data, n), 1));
    struct mqtt_props p, again;
    unsigned where = n > 0 ? data[0] & 15u : 0;
    if (mqtt_props_decode(&r, where, 8, NULL, &p) != OK) {
        assert(!rd_ok(&r));
        return 0;
    }
    size_t size = mqtt_props_size(&p);
    uint8_t *one = mem_alloc(size), *two = mem_alloc(size);
    assert(one != NULL && two != NULL && size <= n);
    struct wr w = wr_into(one, size), w2 = wr_into(two, size);
    mqtt_props_encode(&p, &w);
    assert(wr_ok(&w) && w.at == size);
    r = rd_from(wr_slice(&w));
    assert(mqtt_props_decode(&r, where, 8, NULL, &again) == OK && rd_left(&r) == 0);
    assert(again.present == p.present && again.n_user == p.n_user);
    mqtt_props_encode(&again, &w2);
    assert(slice_equal(wr_slice(&w), wr_slice(&w2)));

    w = wr_into(one, size);
    mqtt_props_copy_forward(&p, &w);
    assert(wr_ok(&w) && w.at == mqtt_props_forward_size(&p));
    one = mem_free(one);
    two = mem_free(two);
    return 0;
}
