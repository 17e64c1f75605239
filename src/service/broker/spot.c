#include "service/broker/spot.h"

#include "base/mem.h"

static struct slice spot_key(const void *value)
{
    const struct spot *p = value;
    return slice_of(&p->device, sizeof(p->device));
}

void spots_init(struct map *spots, const struct siphash_key *key)
{
    map_init(spots, key, spot_key);
}

void spots_done(struct map *spots)
{
    struct spot *p;
    size_t at = 0;
    while ((p = map_next(spots, &at)) != NULL) {
        mem_free(p);
    }
    map_done(spots);
}

struct spot *spot_find(const struct map *spots, uint64_t device)
{
    return map_find(spots, slice_of(&device, sizeof(device)));
}

struct spot *spot_of(struct map *spots, uint64_t device)
{
    struct spot *p = spot_find(spots, device);
    if (p != NULL) {
        return p;
    }
    p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->device = device;
    return map_add(spots, p) == OK ? p : mem_free(p);
}

void spot_drop(struct map *spots, struct spot *p)
{
    if (p != NULL) {
        (void)map_remove(spots, spot_key(p));
        map_fit(spots);
        mem_free(p);
    }
}
