/* sim_disk - a directory of files in memory behind base/disk.h. Every sync is counted; nothing is torn yet. */
#ifndef SIM_SIM_DISK_H
#define SIM_SIM_DISK_H

#include "base/disk.h"

/* sim_disk_new - an empty directory; NULL: no memory. Freed by its own ops. */
struct disk *sim_disk_new(void);

#endif
