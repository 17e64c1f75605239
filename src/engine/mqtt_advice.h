/*
 * mqtt_advice - what a refused MQTT 5 client is told beside the code: why, and the way out. Fixed
 * sentences, one for each code: whose rule it was and what it says is the operator's to know, who
 * finds it in the audit trail.
 */
#ifndef ENGINE_MQTT_ADVICE_H
#define ENGINE_MQTT_ADVICE_H

#include "base/slice.h"

enum { MQTT_ADVICE_MAX = 120 }; /* bytes of the longest */

/* mqtt_advice - empty for codes that say no "no", or that are not used. */
struct slice mqtt_advice(uint8_t reason);

#endif
