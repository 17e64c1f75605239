#include "app/daemon/config_metrics.h"

#include "net/peer.h"

enum err config_check_metrics(const struct yaml_doc *doc, const struct yaml_node *n,
                              struct yaml_complaint *ret, const struct config_listener *l)
{
    struct net_peer at;
    bool is_loopback = net_peer_parse(slice_text(l->bind), &at) == OK && net_peer_is_loopback(&at);
    if (l->auth != CONFIG_AUTH_X509 && !l->plain) {
        return yaml_complain(doc, n, ret,
                             "a metrics listener has auth [x509]: who reads the numbers shows the "
                             "certificate of its bundle, and its role grants resources: [ { path: "
                             "/metrics, methods: [GET] } ]");
    }
    if (l->plain && yaml_find(n, "auth") != NULL) {
        return yaml_complain(
            doc, yaml_find(n, "auth"), ret,
            "a metrics listener with plain: yes asks nobody who it is: leave auth away, "
            "or leave plain away for TLS with certificates");
    }
    if (l->plain && !is_loopback) {
        return yaml_complain(
            doc, n, ret,
            "a metrics listener is plain on loopback only, not on %s: bind "
            "127.0.0.1:9464, or leave plain away: then it is TLS, and who reads shows a "
            "certificate",
            l->bind);
    }
    return OK;
}
