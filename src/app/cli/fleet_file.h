/*
 * fleet_file - a list of devices to add, as a person writes or exports it: CSV with a heading, or
 * one JSON object a line.
 *
 *   name,role,gateway,credentials,site,class
 *   meter-1,sensor,gw-a,x509+psk,b1,basic
 *
 *   {"name":"meter-1","role":"sensor","gateway":"gw-a","credentials":["x509"],"attrs":{"site":"b1"}}
 *
 * name is needed; role, gateway and credentials may be left out; every other column is an
 * attribute, and an empty field is one that is not there. Fields may stand in "quotes" ("" is a
 * quote in them). It is judged as a whole before anything is done, so every mistake names its line.
 */
#ifndef APP_CLI_FLEET_FILE_H
#define APP_CLI_FLEET_FILE_H

#include <jansson.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/why.h"

enum {
    FLEET_FILE_BYTES_MAX = 256 << 20,
    FLEET_LINE_MAX = 16 * 1024,
    FLEET_ROWS_MAX = 1000000,
    FLEET_COLUMNS_MAX = 24
};

/*
 * fleet_file_read - all rows, as orders: {"name", "role"?, "gateway"?, "credentials"?, "attrs"}
 *
 * text  borrowed for the call.
 *
 * ERR_MALFORMED with *why ("line 7: ..."): not readable, a name that is none, a name twice, an
 * unknown kind of credential, a member that is unknown; ERR_LIMIT: too long, too many; ERR_NOMEM.
 * *ret is a new array, written only on success.
 */
MUST_USE enum err fleet_file_read(struct slice text, json_t **ret, struct why *why);

#endif
