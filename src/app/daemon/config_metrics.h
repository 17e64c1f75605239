/* config_metrics - what may be said of a listener with door: metrics. */
#ifndef APP_DAEMON_CONFIG_METRICS_H
#define APP_DAEMON_CONFIG_METRICS_H

#include "app/daemon/config.h"

/* config_check_metrics - its numbers are for whom the policy lets read them, by a certificate; on
 * loopback for whoever is on this machine. n is the listener. ERR_CONFIG, and *ret says why. */
MUST_USE enum err config_check_metrics(const struct yaml_doc *doc, const struct yaml_node *n,
                                       struct yaml_complaint *ret, const struct config_listener *l);

#endif
