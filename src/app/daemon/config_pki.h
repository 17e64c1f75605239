/* config_pki - the `pki` part of sallyport.yaml: where peers of our authority hear of revocation.
 */
#ifndef APP_DAEMON_CONFIG_PKI_H
#define APP_DAEMON_CONFIG_PKI_H

#include "security/crypto/x509.h"
#include "service/directory/yaml_reader.h"

/* config_read_pki - n NULL: there is none, and ret_url stays. ERR_CONFIG with a complaint. */
MUST_USE enum err config_read_pki(const struct yaml_doc *doc, const struct yaml_node *n,
                                  struct yaml_complaint *ret_complaint,
                                  char ret_url[X509_URL_MAX + 1]);

#endif
