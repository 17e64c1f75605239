/*
 * supervisor - `serve`: opens sockets and descriptors, starts the sandboxed broker, signer, scribe
 * and (with `export`) courier by fork and exec of the same binary, and keeps each running. Reads no
 * key and no stranger's byte.
 */
#ifndef APP_DAEMON_SUPERVISOR_H
#define APP_DAEMON_SUPERVISOR_H

/* supervisor_run - serves DIR in the foreground until SIGTERM or SIGINT; SIGHUP reloads. key_option
 * is where the master key is (key_source.h), NULL: as configured. Returns the exit code: 0 after a
 * clean stop, 1 when it could not start or the broker gave up, with the reason on stderr. */
int supervisor_run(const char *dir, const char *key_option);

/* The hidden first argument that makes the binary a broker. */
#define SUPERVISOR_BROKER_FLAG "--broker"
/* ... a signer. */
#define SUPERVISOR_SIGNER_FLAG "--signer"
/* ... a courier. */
#define SUPERVISOR_COURIER_FLAG "--courier"
/* ... a scribe. */
#define SUPERVISOR_SCRIBE_FLAG "--scribe"

#endif
