/* config_export - the `export` part of sallyport.yaml: where the audit trail is sent. */
#ifndef APP_DAEMON_CONFIG_EXPORT_H
#define APP_DAEMON_CONFIG_EXPORT_H

#include "service/courier/courier.h"
#include "service/directory/yaml_reader.h"

enum {
    CONFIG_SILENCE_MIN_S = 2,
    CONFIG_SILENCE_MAX_S = 3600,
    CONFIG_ROTATE_MIN_BYTES = 4096,
    CONFIG_ROTATE_MAX_BYTES = 1024 * 1024 * 1024,
    CONFIG_KEEP_MIN = 1,
    CONFIG_KEEP_MAX = 99,
    CONFIG_SOCKET_PATH_MAX = 107 /* what an address of the kernel holds */
};

struct config_export {
    struct courier_sink sinks[COURIER_SINKS_MAX];
    size_t n;
};

/* config_read_export - n: NULL for none. ERR_CONFIG with a complaint. */
MUST_USE enum err config_read_export(const struct yaml_doc *doc, const struct yaml_node *n,
                                     struct yaml_complaint *ret_complaint,
                                     struct config_export *ret);
bool config_export_equal(const struct config_export *a, const struct config_export *b);
/* config_check_export - do the files that it names make a connection? ERR_CONFIG with a complaint
 * that names `dir`. By a disk of that directory, or by its descriptor. */
MUST_USE enum err config_check_export_by(struct disk *disk, const char *dir,
                                         const struct config_export *c,
                                         struct yaml_complaint *ret_complaint);
MUST_USE enum err config_check_export(int dir_fd, const char *dir, const struct config_export *c,
                                      struct yaml_complaint *ret_complaint);

#endif
