/* segment_private - what sealing, files and scanning share. */
#ifndef STORE_SEGMENT_PRIVATE_H
#define STORE_SEGMENT_PRIVATE_H

#include "security/crypto/aead.h"
#include "store/segment.h"

enum {
    RECORD_BYTES_MIN = RECORD_HEAD_BYTES + RECORD_TAG_BYTES,
    RECORD_BYTES_MAX = RECORD_HEAD_BYTES + RECORD_LINK_BYTES + RECORD_CONTENT_MAX + RECORD_TAG_BYTES
};
_Static_assert((int)RECORD_TAG_BYTES == (int)AEAD_TAG_BYTES, "the tag is the cipher's");
_Static_assert(RECORD_CONTENT_MAX % RECORD_ALIGN == 0, "padding adds nothing to the largest");

/* A record's header as it was found. */
struct record_found {
    struct record_head head;
    struct batch_link link; /* with RECORD_FIRST */
    uint8_t n_head, n_padding;
};

/* record_find - is there a record header at the front of bytes, which lie at offset? Cheap when
 * not: most places fail before anything is hashed. */
bool record_find(const struct sealer *s, uint32_t segment, uint32_t offset, struct slice bytes,
                 struct record_found *ret);
/* record_open - the content of the record that is all of bytes. dst: bytes.n, may be where the
 * sealed content lies. ERR_NOT_FOUND: the owner's key is gone; ERR_CRYPTO; ERR_NOMEM. */
MUST_USE enum err record_open(struct sealer *s, uint32_t segment, uint32_t offset,
                              const struct record_found *r, struct slice bytes, uint8_t *dst,
                              size_t *ret_n);

#endif
