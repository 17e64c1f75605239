/*
 * client_oscore - an OSCORE context of our own client, from its file, and the numbers it may use.
 *
 * Beside FILE.json stands FILE.state: the context derived anew with the server, and the first
 * number that was not reserved. Numbers are reserved ahead, on disk before any of them is used, so
 * that none is used twice whatever ends the command. Without a record, with one of another context,
 * or in a copy of the directory, nobody knows which numbers were used: a new context is derived
 * (net/oscore_client.h). While one command uses a context, others wait for it.
 */
#ifndef APP_CLI_CLIENT_OSCORE_H
#define APP_CLI_CLIENT_OSCORE_H

#include "app/cli/client_target.h"
#include "app/cli/oscore_file.h"
#include "base/disk.h"

enum { CLIENT_OSCORE_RESERVED = 64 /* numbers at a time */ };

struct client_oscore {
    struct cli *cli;
    struct oscore_given given;
    struct oscore_record record; /* as it is on disk; next: the end of what is reserved */
    bool has_record;
    uint64_t next; /* to be used */
    struct disk *disk;
    char name[CLIENT_NAME_BYTES]; /* of the record, in the directory of the file */
    int lock;                     /* the file itself; -1: none */
};

/* client_oscore_open - reads FILE and its record, and waits for others at most wait_ms. gives, also
 * after an error: client_oscore_done. CLI_DONE, or the exit code after a message. */
int client_oscore_open(struct cli *cli, const char *path, uint64_t wait_ms,
                       struct client_oscore *ret);
/* client_oscore_done - gives back the numbers that were not used; wipes. */
void client_oscore_done(struct client_oscore *o);

/* client_oscore_number, client_oscore_begin - for oscore_client_config; ctx is the client_oscore.
 * An error was told. */
enum err client_oscore_number(void *ctx, uint64_t *ret);
enum err client_oscore_begin(void *ctx, struct slice id_context);

#endif
