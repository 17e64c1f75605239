/* config_proxy - the `proxy` part of sallyport.yaml: which CoAP servers clients may reach through
 * this one. */
#ifndef APP_DAEMON_CONFIG_PROXY_H
#define APP_DAEMON_CONFIG_PROXY_H

#include "service/directory/yaml_reader.h"
#include "service/gateway/proxy_rules.h"

/* config_read_proxy - ERR_CONFIG with a complaint. */
MUST_USE enum err config_read_proxy(const struct yaml_doc *doc, const struct yaml_node *n,
                                    struct yaml_complaint *ret_complaint, struct proxy_rules *ret);

#endif
