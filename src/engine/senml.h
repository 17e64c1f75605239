/*
 * senml - records of a SenML pack selected by a fetch pack, or changed by a patch pack (RFC 8790).
 *
 * A pack is JSON or CBOR (RFC 8428), and what comes out is made of pieces of it, in the same form:
 * no number is rounded on the way, and fields that are not known pass as they are. Base fields are
 * carried over, so that each record means what it meant, wherever it stands now. No I/O, no clock:
 * a time that is relative to "now" is compared as it is written.
 */
#ifndef ENGINE_SENML_H
#define ENGINE_SENML_H

#include "base/buf.h"

enum {
    SENML_PACK_BYTES_MAX = 16384, /* of a pack, before and after */
    SENML_RECORDS_MAX = 512,      /* in it */
    SENML_ETCH_BYTES_MAX = 4096,  /* of a fetch or patch pack, */
    SENML_ETCH_RECORDS_MAX = 64,  /* and records in it */
    SENML_FIELDS_MAX = 24,        /* of one record, base fields aside */
    SENML_MORE_BASES_MAX = 4,     /* base fields of extensions in one pack */
    SENML_LABEL_MAX = 31,         /* bytes of a label, */
    SENML_NAME_MAX = 255,         /* of a name with its base name, */
    SENML_UNIT_MAX = 63,          /* of a unit */
    SENML_VERSION = 10
};

enum senml_form { SENML_JSON, SENML_CBOR };
enum senml_kind { SENML_PACK, SENML_FETCH, SENML_PATCH };

/*
 * senml_check - is it a pack of this kind?
 *
 * ERR_TOO_LARGE          over its bytes
 * ERR_UTF8, _MALFORMED   not an array of objects, in this form
 * ERR_LIMIT              over another limit of above, or the depth of the form
 * ERR_EXISTS             a label twice in one record
 * ERR_UNSUPPORTED        a newer version, or a field that must be understood
 * ERR_PROTOCOL           a record that such a pack may not have
 * *ret_why says more, in static text, with an error only. O(bytes). SPEC: RFC8428 4, RFC8790 3.
 */
MUST_USE enum err senml_check(enum senml_form form, struct slice pack, enum senml_kind kind,
                              const char **ret_why);

/*
 * senml_newest - the newest time of a stranger's pack that is one of the calendar
 *
 * Those from 2^28 seconds on; below it a time is relative, and tells no clock. Checks the pack.
 * false: it is none, or has no such time, or one of the years from 10000 on only. *ret_ms: since
 * 1970. O(bytes). SPEC: RFC8428 4.5.3.
 */
bool senml_newest(enum senml_form form, struct slice pack, int64_t *ret_ms);

/* senml_is_empty - has a checked pack no records? */
bool senml_is_empty(enum senml_form form, struct slice pack);

/*
 * senml_fetch - the records of target that fetch selects, in their order
 *
 * Both are checked, in one form. ret: empty before; a pack, or an empty array. ERR_NOMEM: nothing
 * is there. O(records of both multiplied). SPEC: RFC8790 3.1.
 */
MUST_USE enum err senml_fetch(enum senml_form form, struct slice target, struct slice fetch,
                              struct buf *ret);

/*
 * senml_patch - what becomes of target
 *
 * target  checked; empty: there was nothing.
 * patch   checked. It is done whole or not at all. A field of it that must be understood is in the
 *         result, too, which is no target then.
 *
 * ERR_PROTOCOL     a record of it matches more than one
 * ERR_UNSUPPORTED  base fields of both that cannot stand in one pack
 * ERR_LIMIT, ERR_TOO_LARGE  the result is over the limits of a pack
 * ERR_NOMEM
 * O(records of both multiplied). SPEC: RFC8790 3.2.
 */
MUST_USE enum err senml_patch(enum senml_form form, struct slice target, struct slice patch,
                              struct buf *ret);

#endif
