/*
 * err - one error type for the whole tree.
 *
 * Three kinds, never mixed: the peer is wrong (an engine turns the code into an MQTT reason or a
 * CoAP code in one table), the world is wrong (memory, disk, clock: nothing half-done is left
 * behind), we are wrong (assert).
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    OK = 0,
    /* the peer is wrong */
    ERR_TRUNCATED,   /* a read past the end of what there is */
    ERR_TRAILING,    /* bytes left over where none may be */
    ERR_MALFORMED,   /* a value the format does not allow */
    ERR_UTF8,        /* text that is not well-formed UTF-8, or holds a forbidden code point */
    ERR_PROTOCOL,    /* well-formed, but not allowed in this state */
    ERR_UNSUPPORTED, /* a version, option or method we do not speak */
    ERR_TOO_LARGE,   /* over a named size limit */
    ERR_LIMIT,       /* over a named count or depth limit */
    ERR_QUOTA,       /* over a rate or a budget of this principal */
    ERR_AUTH,        /* credentials missing or wrong */
    ERR_DENIED,      /* known, but not permitted */
    ERR_EXPIRED,     /* was valid once */
    ERR_TIMEOUT,     /* a deadline passed */
    /* neither: ordinary answers */
    ERR_AGAIN,     /* not now; nothing changed */
    ERR_NOT_FOUND, /* absent */
    ERR_EXISTS,    /* present already; nothing changed */
    ERR_CLOSED,    /* the other side has gone */
    /* the world is wrong */
    ERR_NOMEM,
    ERR_IO,
    ERR_SPACE,  /* the caller's buffer, or the disk, is too small */
    ERR_CRYPTO, /* the crypto library refused, or a seal did not open */
    ERR_CONFIG, /* a file of the operator's does not say what it must */
    ERR_COUNT
};

#define MUST_USE __attribute__((warn_unused_result))

/* The only macro that returns. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        enum err try_err_ = (expression);                                                          \
        if (try_err_ != OK) {                                                                      \
            return try_err_;                                                                       \
        }                                                                                          \
    } while (0)

/* err_name - the code as a lower-case word for logs ("truncated"); static text, never NULL. */
const char *err_name(enum err e);

#endif
