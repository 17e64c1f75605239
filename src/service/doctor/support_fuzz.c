/* os-release: a system that is known has a name and an end, whatever else is written there. */
#include <assert.h>

#include "service/doctor/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct support s = {.ends_wall_ms = 0};
    if (support_of_system(slice_of(data, n), &s)) {
        assert(s.name[0] == 'D' && s.ends_wall_ms > 0);
    }
    return 0;
}
