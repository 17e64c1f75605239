/* Any line that is read becomes one message, one object, and none of its bytes is a control. */
#include <assert.h>

#include "service/courier/shipment.h"
#include "service/watch/trail_follow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct shipment s;
    struct trail_spot spot;
    enum err err = trail_spot_decode(slice_of(data, n), &spot);
    (void)err;
    if (shipment_read(slice_of(data, n), &s) != OK) {
        return 0;
    }
    struct buf message = {0}, object = {0};
    err = shipment_syslog(&s, "host", &message);
    assert(err == OK);
    for (size_t i = 0; i < message.n; i++) {
        assert(message.p[i] >= 0x20 && message.p[i] != 0x7f);
    }
    err = shipment_ocsf(&s, "host", &object);
    assert(err == OK);
    json_t *back = json_loadb((const char *)object.p, object.n, JSON_REJECT_DUPLICATES, NULL);
    assert(json_object_size(back) >= 13);
    json_decref(back);
    buf_done(&message);
    buf_done(&object);
    shipment_done(&s);
    return 0;
}
