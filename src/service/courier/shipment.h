/*
 * shipment - one record of the audit trail, taken apart, on its way to where it is watched; and as
 * the bytes that a sink gets: a message of syslog, or a line in OCSF classes.
 *
 * What strangers chose (topics, client ids, reasons) can end no line, no field and no message, and
 * reaches no terminal as a control: what is one is written as text.
 */
#ifndef SERVICE_COURIER_SHIPMENT_H
#define SERVICE_COURIER_SHIPMENT_H

#include <jansson.h>

#include "base/buf.h"
#include "base/event.h"
#include "base/scope.h"
#include "security/crypto/digest.h"

enum {
    SHIPMENT_BYTES_MAX = 64 * 1024, /* of one record in any format */
    SHIPMENT_HOST_BYTES = 256,
    SHIPMENT_FRAME_BYTES = 4, /* the length in front of a datagram, big-endian */
    /* The number for private names in structured data: that of documentation (RFC 5612), until
     * there is one of our own. */
    SHIPMENT_ENTERPRISE = 32473
};

enum shipment_format {
    SHIPMENT_SYSLOG,
    SHIPMENT_OCSF,
    SHIPMENT_JSON,   /* as the trail has it */
    SHIPMENT_RECORD, /* the same with its number and leaf, also of a checkpoint */
    SHIPMENT_JOURNAL /* fields of journald */
};

/* A record. Texts are borrowed from json, "-" where unknown. */
struct shipment {
    uint64_t seq;       /* its number in the chain; 0: of a time before the chain */
    struct digest leaf; /* what the chain holds of it: the same record has the same, for good */
    bool is_checkpoint; /* the trail signed itself here: there is no event */
    int64_t wall_ms;
    enum event_category category; /* not of a checkpoint */
    enum event_severity severity;
    uint32_t count;
    const char *principal, *client_id, *peer, *listener, *protocol, *target, *reason;
    json_t *json; /* the line, owned */
};

/* shipment_read - the line of an event, as the trail has it. Takes a shipment_done. ERR_MALFORMED:
 * it is none of ours; ERR_NOMEM. */
MUST_USE enum err shipment_read(struct slice line, struct shipment *ret);
/* shipment_checkpoint - of a record that signs the trail. */
struct shipment shipment_checkpoint(int64_t wall_ms);
void shipment_done(struct shipment *s);

/* shipment_encode - appended to *ret, framed as a stream takes it: syslog with its length in front,
 * journald's with
 * SHIPMENT_FRAME_BYTES of it, the others with a newline behind. host: name of this server.
 * ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE enum err shipment_encode(enum shipment_format format, const struct shipment *s,
                                  const char *host, struct buf *ret);
/* shipment_format_find - "syslog", "ocsf", "json". What only sinks have is not found. */
bool shipment_format_find(struct slice name, enum shipment_format *ret);
const char *shipment_format_name(enum shipment_format f);

/* One message of RFC 5424, without a frame. */
MUST_USE enum err shipment_syslog(const struct shipment *s, const char *host, struct buf *ret);
/* One object, no newline. */
MUST_USE enum err shipment_ocsf(const struct shipment *s, const char *host, struct buf *ret);
/* One object, no newline: the line of the trail with "seq" and "leaf"; puts them into s. */
MUST_USE enum err shipment_record(const struct shipment *s, struct buf *ret);
/* One datagram: lines KEY=value. */
MUST_USE enum err shipment_journal(const struct shipment *s, const char *host, struct buf *ret);

/* Where an event belongs in OCSF; class_uid 0: nowhere. */
struct ocsf_row {
    uint16_t class_uid; /* its first digit is the category */
    uint8_t activity_id;
    bool has_failed; /* what was tried did not happen */
};
const struct ocsf_row *ocsf_row_of(enum event_category c);
const char *ocsf_class_name(uint16_t class_uid); /* NULL: none that we use */

#endif
