/*
 * places - the descriptors that the supervisor opens before the broker exists: DIR, the master key,
 * the control socket, the listeners; and whose files they are.
 */
#ifndef APP_DAEMON_PLACES_H
#define APP_DAEMON_PLACES_H

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "base/why.h"
#include "service/pki/key_source.h"

enum { PLACES_FDS_MAX = 8 + BOOT_SINKS_MAX + 2 * BOOT_LISTENERS_MAX * BOOT_SOCKETS_MAX };

/* places_dir - DIR, locked so that one daemon serves it. ERR_NOT_FOUND, ERR_EXISTS (another
 * daemon), ERR_IO; *why says so. */
MUST_USE enum err places_dir(const char *dir, int *ret_fd, struct why *why);

#define PLACES_KEY_NEW ".new" /* behind FILE: the key that a rotation brings */
/* The master key's descriptors; nothing is read. */
struct places_key {
    int fd;
    int spare_fd;    /* FILE.new of a rotation that was interrupted; else FILE once more */
    unsigned source; /* KEY_SOURCE_* */
};
/* places_key - text as `master_key` in the configuration; NULL or empty: DIR.key. ERR_NOT_FOUND,
 * ERR_DENIED, ERR_IO. */
MUST_USE enum err places_key(const char *dir, const char *text, struct places_key *ret,
                             struct why *why);

/* places_rooms - the folders in DIR that the broker cannot make itself: those that an older version
 * did not have. ERR_IO. */
MUST_USE enum err places_rooms(int dir_fd, struct why *why);

/* places_control - DIR/run/control.sock, mode 0600, listening; places_signer - DIR/run/signer.sock,
 * the operator's way to the signer. ERR_IO. */
MUST_USE enum err places_control(int dir_fd, int *ret_fd, struct why *why);
MUST_USE enum err places_signer(int dir_fd, int *ret_fd, struct why *why);

/* places_listener - the sockets of one listener into fds (at least BOOT_SOCKETS_MAX). A plain one
 * is bound but does not listen. ERR_UNSUPPORTED: its door, or `from`, is not there yet; ERR_EXISTS,
 * ERR_DENIED, ERR_IO; *why says which address. */
MUST_USE enum err places_listener(const struct config_listener *l, unsigned workers, int *fds,
                                  struct boot_listener *ret, struct why *why);

/* Whom the broker runs as. */
struct places_user {
    unsigned uid, gid;
    bool is_other; /* false: not root, the broker stays what we are */
    char name[CONFIG_NAME_BYTES];
};
/* places_user_find - the configured user, else nobody; says which in *why. ERR_NOT_FOUND,
 * ERR_DENIED (a user that is root). */
MUST_USE enum err places_user_find(const char *name, struct places_user *ret, struct why *why);

/* places_own - gives what is in DIR to the broker's user, by opened descriptors and through no
 * link. DIR itself, sallyport.yaml and run/ stay root's, so that the broker can neither replace the
 * configuration nor the socket. ERR_IO. */
MUST_USE enum err places_own(int dir_fd, const struct places_user *user, struct why *why);

#endif
