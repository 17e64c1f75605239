#include "sim_plant.h"

#include <stddef.h>

/* The one mutable global of the simulator: the code that asks has nobody to ask but the process. */
static enum plant planted = PLANT_NONE;

static const char *const names[PLANT_END] = {
    [PLANT_NO_FDATASYNC] = "no-fdatasync",
    [PLANT_ACK_BEFORE_COMMIT] = "ack-before-commit",
    [PLANT_EARLY_PUBCOMP] = "early-pubcomp",
    [PLANT_REUSED_OUTBOUND_ID] = "reused-outbound-id",
    [PLANT_NO_SUBACK_BARRIER] = "no-suback-barrier",
    [PLANT_LOST_DROP_RECORD] = "lost-drop-record",
    [PLANT_REPLAYED_NONCE] = "replayed-nonce",
    [PLANT_RETAINED_NUMBER_IGNORED] = "retained-number-ignored",
    [PLANT_ALIAS_UNSAID] = "alias-unsaid",
    [PLANT_ALIAS_STUCK] = "alias-stuck",
    [PLANT_ALIAS_UNKNOWN] = "alias-unknown",
    [PLANT_WILL_EARLY] = "will-early",
    [PLANT_WILL_KEPT] = "will-kept",
    [PLANT_WILL_AGAIN] = "will-again",
    [PLANT_WILL_UNJUDGED] = "will-unjudged",
    [PLANT_GROUP_TWICE] = "group-twice",
    [PLANT_GROUP_LOST] = "group-lost",
    [PLANT_GROUP_QOS2_AGAIN] = "group-qos2-again",
    [PLANT_GROUP_RETAINED] = "group-retained",
    [PLANT_GROUP_UNRECORDED] = "group-unrecorded",
    [PLANT_GROUP_UNOWED] = "group-unowed",
    [PLANT_SPILL_OVERTAKEN] = "spill-overtaken",
    [PLANT_SPILL_EARLY] = "spill-early",
    [PLANT_HELD_FOR_ANY] = "held-for-any",
    [PLANT_MATCH_STALE] = "match-stale",
    [PLANT_UNHELD] = "unheld",
};

void sim_plant_set(enum plant bug)
{
    planted = bug;
}

bool plant_is(enum plant bug)
{
    return planted == bug;
}

const char *sim_plant_name(enum plant bug)
{
    return names[bug];
}

enum plant sim_plant_find(struct slice name)
{
    enum plant bug = PLANT_NONE + 1;
    while (bug < PLANT_END && !slice_is(name, names[bug])) {
        bug++;
    }
    return bug;
}
