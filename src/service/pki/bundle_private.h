/* bundle_private - the parts of a bundle that have a file of their own. */
#ifndef SERVICE_PKI_BUNDLE_PRIVATE_H
#define SERVICE_PKI_BUNDLE_PRIVATE_H

#include "service/pki/bundle.h"

/* bundle_howto - the lines to type with stock clients, ready to paste. ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE enum err bundle_howto(const struct bundle_order *o, struct buf *ret);

#endif
