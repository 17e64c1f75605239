/* shipment_text - what strangers chose, as text that ends no field and reaches no terminal as a
 * control. */
#ifndef SERVICE_COURIER_SHIPMENT_TEXT_H
#define SERVICE_COURIER_SHIPMENT_TEXT_H

#include "base/buf.h"

enum shipment_text {
    SHIPMENT_TEXT_QUOTED, /* a value between quotes: quotes, brackets and backslashes escaped */
    SHIPMENT_TEXT_FIELD,  /* the rest of a line: backslashes doubled */
    SHIPMENT_TEXT_ASCII   /* the same for ends that know nothing but ASCII; backslashes as they are
                           */
};

/* shipment_put_text - appends valid UTF-8; controls, also those of Unicode that turn or hide text,
 * as \uXXXX. ERR_NOMEM. */
MUST_USE enum err shipment_put_text(struct buf *b, const char *text, enum shipment_text as);

#endif
