/* waivers.json: what reads is written, and read again, as it was. */
#include <assert.h>

#include "service/doctor/rules.h"
#include "service/doctor/waivers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct waivers w, again = {0};
    struct why why;
    struct buf text = {0};
    enum err e = waivers_read(slice_of(data, n), &w, &why);
    assert(e == OK || e == ERR_CONFIG || e == ERR_NOMEM);
    if (e == OK && waivers_write(&w, 0, &text) == OK) {
        assert(w.n <= WAIVERS_MAX && waivers_read(buf_slice(&text), &again, &why) == OK);
        assert(again.n == w.n);
    }
    for (size_t i = 0; i < again.n; i++) {
        assert(again.items[i].id == w.items[i].id && again.items[i].product == w.items[i].product);
        assert(strcmp(again.items[i].reason, w.items[i].reason) == 0);
    }
    waivers_done(&w);
    waivers_done(&again);
    buf_done(&text);
    return 0;
}
