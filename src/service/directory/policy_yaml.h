/*
 * policy_yaml - policy.yaml into the policy of core/policy.h, strict, with the place of every
 * mistake.
 *
 *   version: 1
 *   roles:
 *     sensor:
 *       client_id: "${device}"
 *       kind: device                # or service: starts at the higher limits
 *       many: no                    # yes: several client ids at once; client_id is then "*" unless
 * given publish:   [ "sensors/${site}/${device}/+", { topic: "s/${device}", retain: yes, qos: 1 } ]
 *       subscribe: [ "commands/${device}/#" ]
 *       resources: [ { path: "/fw/${class}", methods: [GET] } ]
 *       limits:    { publish_rate: 5/s }
 */
#ifndef SERVICE_DIRECTORY_POLICY_YAML_H
#define SERVICE_DIRECTORY_POLICY_YAML_H

#include "core/policy.h"
#include "service/directory/yaml_reader.h"

/* policy_yaml_read - gives one reference to the policy. file is the name for complaints. start is
 * what a role's limits begin with; NULL for the defaults. ERR_CONFIG with a complaint, ERR_NOMEM
 * (the complaint says so too). */
MUST_USE enum err policy_yaml_read(struct slice bytes, const char *file,
                                   const struct role_limits *start,
                                   struct yaml_complaint *ret_complaint, const struct policy **ret);

/* policy_yaml_default - the text that `init` writes: roles sensor, actuator and console. Static. */
const char *policy_yaml_default(void);

#endif
