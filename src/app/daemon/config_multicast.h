/* config_multicast - the `multicast` part of a coap listener: which groups it hears, on which
 * interfaces, and what it says to them. */
#ifndef APP_DAEMON_CONFIG_MULTICAST_H
#define APP_DAEMON_CONFIG_MULTICAST_H

#include "app/daemon/config.h"

/* config_read_multicast - of a listener of which all else is known. ERR_CONFIG with a complaint. */
MUST_USE enum err config_read_multicast(const struct yaml_doc *doc, const struct yaml_node *n,
                                        struct yaml_complaint *ret_complaint,
                                        struct config_listener *l);

#endif
