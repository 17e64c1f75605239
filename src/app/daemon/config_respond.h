/* config_respond - the `responses` part of sallyport.yaml: what misuse is answered with. */
#ifndef APP_DAEMON_CONFIG_RESPOND_H
#define APP_DAEMON_CONFIG_RESPOND_H

#include "service/directory/yaml_reader.h"
#include "service/respond/respond.h"

/* config_read_respond - n: NULL for none, which is respond_rules_preset. ERR_CONFIG with a
 * complaint. */
MUST_USE enum err config_read_respond(const struct yaml_doc *doc, const struct yaml_node *n,
                                      struct yaml_complaint *ret_complaint,
                                      struct respond_rules *ret);

#endif
