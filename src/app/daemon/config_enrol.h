/* config_enrol - the part of sallyport.yaml about devices that enrol by themselves. */
#ifndef APP_DAEMON_CONFIG_ENROL_H
#define APP_DAEMON_CONFIG_ENROL_H

#include "service/directory/yaml_reader.h"
#include "service/enrol/makers.h"

enum { CONFIG_MAKERS_MAX = ENROL_MAKERS_MAX, CONFIG_MAKER_BYTES = 34 };

struct config_maker {
    char ca[CONFIG_MAKER_BYTES]; /* PEM, in DIR/manufacturers: its authority, root first */
    char role[PRINCIPAL_NAME_MAX + 1];
    enum enrol_name_rule name;
};

struct config_enrol {
    struct config_maker makers[CONFIG_MAKERS_MAX];
    size_t n_makers;
};

/* config_makers - reads their authorities. ERR_CONFIG with *why, ERR_NOMEM. */
MUST_USE enum err config_makers(const struct config_enrol *c, struct disk *disk,
                                struct enrol_makers *ret, struct why *why);
/* config_read_enrol - enrol: { manufacturers: [ { ca, role, name } ] }. ERR_CONFIG. */
MUST_USE enum err config_read_enrol(const struct yaml_doc *doc, const struct yaml_node *n,
                                    struct yaml_complaint *complaint, struct config_enrol *ret);
/* config_enrol_same - do the two say the same? */
bool config_enrol_same(const struct config_enrol *a, const struct config_enrol *b);

#endif
