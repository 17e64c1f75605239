#include <assert.h>

#include "app/daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Any bytes are a configuration or a complaint with a place. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct config_machine machine = {.ram_bytes = UINT64_C(4) << 30, .cores = 2};
    struct yaml_complaint complaint = {{0}};
    struct config c;
    enum err e = config_parse(slice_of(data, n), "f", &machine, &complaint, &c);
    assert(e == OK || (e == ERR_CONFIG && strncmp(complaint.text, "f:", 2) == 0));
    if (e == OK) {
        assert(c.workers >= 1 && c.workers <= CONFIG_WORKERS_MAX);
        assert(c.n_listeners <= CONFIG_LISTENERS_MAX && c.n_hosts <= CONFIG_HOSTS_MAX);
    }
    return 0;
}
