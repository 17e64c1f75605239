/*
 * hocon_conf - emqx.conf (EMQX 5) and nanomq.conf (NanoMQ 0.19 and later) with the files they name,
 * as facts. They know those versions' defaults.
 *
 * Only keys that a rule looks at are read; what else is there is not judged and not said. What the
 * environment or a dashboard overrides is not seen.
 */
#ifndef SERVICE_DOCTOR_HOCON_CONF_H
#define SERVICE_DOCTOR_HOCON_CONF_H

#include "service/doctor/facts.h"
#include "service/doctor/source.h"

/* Errors as hocon_read, and ERR_CRYPTO. */
MUST_USE enum err emqx_conf_read(const struct source *source, const char *path, struct facts *f);
MUST_USE enum err nanomq_conf_read(const struct source *source, const char *path, struct facts *f);

#endif
