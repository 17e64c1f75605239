/*
 * mosquitto_conf - mosquitto.conf, and what it names (include_dir, ACL, passwords, keys,
 * certificates), as facts. It knows the defaults of mosquitto 2.0.
 *
 * What it does not understand is in facts.unread with its place. Of a file at most SOURCE_BYTES_MAX
 * bytes and MOSQUITTO_LINE_MAX in a line are read.
 */
#ifndef SERVICE_DOCTOR_MOSQUITTO_CONF_H
#define SERVICE_DOCTOR_MOSQUITTO_CONF_H

#include "service/doctor/facts.h"
#include "service/doctor/source.h"

enum {
    MOSQUITTO_LINE_MAX = 4096,
    MOSQUITTO_LINES_MAX = 100000, /* in one file */
    MOSQUITTO_INCLUDES_MAX = 32,
    MOSQUITTO_DEPTH_MAX = 4 /* of include_dir in what is included */
};

/* mosquitto_conf_read - the file at path, by source. ERR_NOT_FOUND and others of source.read for
 * the file itself; ERR_LIMIT: too many files; ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err mosquitto_conf_read(const struct source *source, const char *path,
                                      struct facts *f);

/* The files it names, alone: lines of an acl_file, password_file, psk_file. file is the index in
 * facts.files. anonymous: are there clients without a name, for whom its first lines are? */
MUST_USE enum err mosquitto_acl_read(struct slice text, uint32_t file, bool anonymous,
                                     struct facts *f);
MUST_USE enum err mosquitto_passwords_read(struct slice text, uint32_t file, struct facts *f);
MUST_USE enum err mosquitto_keys_read(struct slice text, uint32_t file, struct facts *f);

#endif
