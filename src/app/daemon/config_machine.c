/* What machine this is. */
#include <sys/sysinfo.h>
#include <unistd.h>

#include "app/daemon/config.h"

/* The ceiling of our control group, or the machine's memory when there is none. */
static uint64_t memory_ceiling(uint64_t ram_bytes)
{
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (f == NULL) {
        return ram_bytes;
    }
    char line[32] = "";
    char *got = fgets(line, sizeof line, f);
    (void)fclose(f);
    uint64_t v = got != NULL ? strtoull(line, NULL, 10) : 0; /* "max" gives 0 */
    return v > 0 && v < ram_bytes ? v : ram_bytes;
}

struct config_machine config_machine_ask(void)
{
    static struct config_machine known; /* ram_bytes 0: not asked yet */
    if (known.ram_bytes > 0) {
        return known;
    }
    struct sysinfo info;
    uint64_t ram = UINT64_C(1) << 30;
    if (sysinfo(&info) == 0) {
        ram = (uint64_t)info.totalram * info.mem_unit;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    known = (struct config_machine){.ram_bytes = memory_ceiling(ram),
                                    .cores = cores > 0 ? (unsigned)cores : 1};
    return known;
}
