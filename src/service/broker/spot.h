/*
 * spot - where the devices of a desk are: the door and association each has now.
 *
 * One entry for each device with an association, so it is as small as that can be said.
 */
#ifndef SERVICE_BROKER_SPOT_H
#define SERVICE_BROKER_SPOT_H

#include "base/map.h"

struct spot {
    uint64_t device, association;
    uint16_t worker, door;
};

void spots_init(struct map *spots, const struct siphash_key *key);
/* spots_done - forgets all of them. */
void spots_done(struct map *spots);
/* spot_find - NULL: it has no association. */
struct spot *spot_find(const struct map *spots, uint64_t device);
/* spot_of - made when there is none; NULL: no memory, nothing changed. */
struct spot *spot_of(struct map *spots, uint64_t device);
/* spot_drop - p NULL: nothing. */
void spot_drop(struct map *spots, struct spot *p);

#endif
