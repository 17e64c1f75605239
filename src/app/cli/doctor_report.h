/* doctor_report - what the rules found, for people and for programs. */
#ifndef APP_CLI_DOCTOR_REPORT_H
#define APP_CLI_DOCTOR_REPORT_H

#include "app/cli/cli.h"
#include "service/doctor/profiles.h"
#include "service/doctor/waivers.h"

/* All borrowed. */
struct doctor_report {
    const char *target; /* the directory, or the file */
    const struct facts *facts;
    const struct findings *findings; /* marked by waivers_apply */
    const struct waivers *waivers;
    const char *const *only; /* rules that are asked about; n_only 0: all */
    size_t n_only;
    bool has_profile;
    enum profile profile;
};

/* doctor_report_print - returns the exit code: 1 when a finding of medium severity or more is not
 * waived, among those that are asked about. */
int doctor_report_print(struct cli *cli, const struct doctor_report *r);
/* doctor_waivers_print - a line for each. */
int doctor_waivers_print(struct cli *cli, const struct waivers *w, int64_t now_wall_ms);
/* doctor_rules_print - the table of docs/DOCTOR.md. */
int doctor_rules_print(struct cli *cli);

#endif
