/* config_private - what the parts of the reader of sallyport.yaml share. */
#ifndef APP_DAEMON_CONFIG_PRIVATE_H
#define APP_DAEMON_CONFIG_PRIVATE_H

#include "app/daemon/config.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
    const struct config_machine *machine;
};

/* config_read_name - a name of ours: listener, segment, user. what: as the file calls it.
 * ERR_MALFORMED with *r->complaint. */
MUST_USE enum err config_read_name(const struct reading *r, const struct yaml_node *n,
                                   const char *what, char dst[CONFIG_NAME_BYTES]);
/* config_bind_ok - "[ADDRESS]:PORT", or "ADDRESS:PORT" with a numeric IPv4 address. */
bool config_bind_ok(struct slice text);
/* config_read_listeners - the list of them, each checked by itself, behind those that are in c.
 * Errors as config_read_name. */
MUST_USE enum err config_read_listeners(const struct reading *r, const struct yaml_node *list,
                                        struct config *c);

#endif
