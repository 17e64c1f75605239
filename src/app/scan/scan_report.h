/* scan_report - tells what was seen and found: for people, as JSON, as SARIF 2.1.0. */
#ifndef APP_SCAN_SCAN_REPORT_H
#define APP_SCAN_SCAN_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "app/scan/scan.h"

/* What of: host as it was typed, address as it was reached. */
struct scan_report {
    const char *host, *address;
    const struct scan_seen *seen;
    const struct scan_findings *findings;
};

void scan_report_text(const struct scan_report *r, FILE *to);
/* scan_report_json, scan_report_sarif - for the caller; NULL without memory. */
json_t *scan_report_json(const struct scan_report *r);
json_t *scan_report_sarif(const struct scan_report *r);

#endif
