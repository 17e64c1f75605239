/* sim_plant - which bug is planted in the process that runs (base/plant.h). */
#ifndef SIM_SIM_PLANT_H
#define SIM_SIM_PLANT_H

#include "base/plant.h"
#include "base/slice.h"

/* sim_plant_set - one for the whole process; PLANT_NONE: none. */
void sim_plant_set(enum plant bug);
/* sim_plant_name - "no-fdatasync"; NULL for PLANT_NONE. */
const char *sim_plant_name(enum plant bug);
/* sim_plant_find - PLANT_END: no such name. */
enum plant sim_plant_find(struct slice name);

#endif
