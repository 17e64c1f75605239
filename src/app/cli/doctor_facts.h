/* doctor_facts - what `doctor` looks at: a data directory, the daemon that serves it, files. */
#ifndef APP_CLI_DOCTOR_FACTS_H
#define APP_CLI_DOCTOR_FACTS_H

#include "app/cli/cli.h"
#include "base/why.h"
#include "service/doctor/facts.h"
#include "service/doctor/source.h"

/* doctor_source - files of this machine. Static. */
const struct source *doctor_source(void);

/* doctor_fortress_read - sallyport.yaml, policy.yaml, certificates and files of a data directory,
 * which needs no daemon. ERR_NOT_FOUND, ERR_DENIED, ERR_IO with *why; ERR_NOMEM, ERR_LIMIT,
 * ERR_CRYPTO. */
MUST_USE enum err doctor_fortress_read(const char *dir, struct facts *f, struct why *why);

/* doctor_machine_read - clock, system and crypto library of this machine. What cannot be seen stays
 * not known. ERR_NOMEM. */
MUST_USE enum err doctor_machine_read(struct facts *f);

/* doctor_daemon_ask - what the daemon of cli->dir knows: exceptions, devices, ages, ends, alerts.
 * Without one f->is_daemon_asked stays false. Nothing is changed there. ERR_NOMEM. */
MUST_USE enum err doctor_daemon_ask(const struct cli *cli, struct facts *f);

#endif
