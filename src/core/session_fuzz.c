/* Steps of five bytes, each done to a session and to a plain list that must agree. */
#include "base/rd.h"
#include "core/session_model_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct session_model m;
    struct rd r = rd_from(slice_of(data, n));
    model_init(&m, rd_u8(&r) % 40);
    session_restore_next(m.s, 1 + rd_u16(&r));
    while (rd_left(&r) >= 5) {
        uint8_t kind = rd_u8(&r);
        model_step(&m, kind, rd_u32(&r));
    }
    model_done(&m);
    return 0;
}
