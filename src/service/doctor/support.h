/*
 * support - until when somebody still mends what a machine runs: releases of Debian, and the
 * branches of OpenSSL. A table of facts as they were announced; what is not in it is not known, and
 * nobody judges it.
 */
#ifndef SERVICE_DOCTOR_SUPPORT_H
#define SERVICE_DOCTOR_SUPPORT_H

#include "service/doctor/facts.h"

enum { SUPPORT_FILE_MAX = 16 * 1024 /* of os-release */ };

struct support {
    char name[FACTS_TEXT];
    int64_t ends_wall_ms; /* the end of its last day */
};

/* support_of_system - by the text of os-release. Another distribution that is made of Debian is
 * none: others mend it, and for another time. False: not known. */
bool support_of_system(struct slice os_release, struct support *ret);
/* support_of_openssl - of a branch, by its own makers. False: not known. */
bool support_of_openssl(unsigned major, unsigned minor, struct support *ret);

#endif
