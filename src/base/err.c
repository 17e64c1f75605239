#include "base/err.h"

const char *err_name(enum err e)
{
    switch (e) {
    case OK:
        return "ok";
    case ERR_TRUNCATED:
        return "truncated";
    case ERR_TRAILING:
        return "trailing";
    case ERR_MALFORMED:
        return "malformed";
    case ERR_UTF8:
        return "utf8";
    case ERR_PROTOCOL:
        return "protocol";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_TOO_LARGE:
        return "too_large";
    case ERR_LIMIT:
        return "limit";
    case ERR_QUOTA:
        return "quota";
    case ERR_AUTH:
        return "auth";
    case ERR_DENIED:
        return "denied";
    case ERR_EXPIRED:
        return "expired";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_AGAIN:
        return "again";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_EXISTS:
        return "exists";
    case ERR_CLOSED:
        return "closed";
    case ERR_NOMEM:
        return "nomem";
    case ERR_IO:
        return "io";
    case ERR_SPACE:
        return "space";
    case ERR_CRYPTO:
        return "crypto";
    case ERR_CONFIG:
        return "config";
    case ERR_COUNT:
        break;
    }
    return "unknown";
}
