/* What lies on disk, who reads it, and what is told of what happened. */
#include "service/doctor/rules_private.h"

enum { OTHERS_READ = 0004, OTHERS_WRITE = 0002, OTHERS = 0007, DISK_PERCENT_LEAST = 10 };
enum { SAVE_MOST_S = 60, DAY_S = 86400, BACKUP_MOST_DAYS = 30 };

static const char sink_category[] = "sink";

static enum err configuration(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return f->complaint[0] == '\0' ? OK
                                   : findings_add(ret, self, (struct facts_place){0},
                                                  "configuration", "%.300s", f->complaint);
}

static enum err no_persistence(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_PERSISTENCE];
    if (!number_is(f, FACTS_PERSISTENCE, 0)) {
        return OK;
    }
    return findings_add(ret, self, v->at, "persistence",
                        "sessions and acknowledged messages are in memory only%s",
                        v->at.line == 0 ? " (the default)" : "");
}

static enum err saved_late(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_SAVE_INTERVAL_S];
    const struct facts_value *batch = &f->numbers[FACTS_SAVE_MESSAGES];
    if (number_is(f, FACTS_PERSISTENCE, 0)) {
        return OK; /* nothing is written at all: another rule's */
    }
    if (batch->is_known && batch->n != 1) {
        TRY(findings_add(ret, self, batch->at, "persistence",
                         "what was acknowledged is written in batches of %lld messages%s",
                         (long long)batch->n, batch->at.line == 0 ? " (the default)" : ""));
    }
    if (!v->is_known || (v->n > 0 && v->n <= SAVE_MOST_S)) {
        return OK;
    }
    return v->n > 0 ? findings_add(ret, self, v->at, "persistence",
                                   "what was acknowledged is written every %lld s%s",
                                   (long long)v->n, v->at.line == 0 ? " (the default)" : "")
                    : findings_add(ret, self, v->at, "persistence",
                                   "what was acknowledged is written at the end only");
}

static enum err log_off(const struct rule *self, const struct facts *f, struct findings *ret)
{
    if (number_is(f, FACTS_LOG, 0)) {
        TRY(findings_add(ret, self, f->numbers[FACTS_LOG].at, "log", "nothing is logged"));
    }
    if (number_is(f, FACTS_CONNECTION_LOG, 0)) {
        TRY(findings_add(ret, self, f->numbers[FACTS_CONNECTION_LOG].at, "log",
                         "the log does not say who connects"));
    }
    return OK;
}

static enum err audit_lost(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_AUDIT_LOST];
    return !v->is_known || v->n == 0
               ? OK
               : findings_add(ret, self, v->at, "audit trail", "%lld events were not written",
                              (long long)v->n);
}

static enum err store_bad(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_STORE_DAMAGED];
    if (v->is_known && v->n > 0) {
        TRY(findings_add(ret, self, v->at, "store", "%lld records do not read", (long long)v->n));
    }
    return number_is(f, FACTS_STORE_FAILS, 1)
               ? findings_add(ret, self, (struct facts_place){0}, "store",
                              "its disk fails: nothing is acknowledged that should survive")
               : OK;
}

static enum err judge_modes(const struct rule *self, const struct facts *f, struct findings *ret,
                            bool writing)
{
    for (size_t i = 0; i < f->n_files; i++) {
        const struct facts_file *file = &f->files[i];
        uint32_t reading = file->is_directory ? OTHERS : OTHERS_READ;
        bool is_open = writing ? (file->mode & OTHERS_WRITE) != 0
                               : file->is_secret && (file->mode & reading) != 0 &&
                                     (file->mode & OTHERS_WRITE) == 0;
        if (file->is_found && is_open) {
            TRY(findings_add(ret, self, (struct facts_place){(uint32_t)i, 0}, file->path,
                             "mode %04o: everybody on this machine may %s", file->mode,
                             writing ? "change it" : "read it"));
        }
    }
    return OK;
}

static enum err file_readable(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_modes(self, f, ret, false);
}

static enum err file_writable(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_modes(self, f, ret, true);
}

static enum err as_root(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return number_is(f, FACTS_AS_ROOT, 1)
               ? findings_add(ret, self, f->numbers[FACTS_AS_ROOT].at, "user", "it runs as root")
               : OK;
}

static enum err key_inside(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return number_is(f, FACTS_KEY_INSIDE, 1)
               ? findings_add(ret, self, f->numbers[FACTS_KEY_INSIDE].at, "master key",
                              "the master key lies in the directory that it seals")
               : OK;
}

static enum err disk_full(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *v = &f->numbers[FACTS_DISK_FREE_PERCENT];
    return !v->is_known || v->n >= DISK_PERCENT_LEAST
               ? OK
               : findings_add(ret, self, v->at, "disk", "%lld %% of the disk are free",
                              (long long)v->n);
}

static enum err mixed_settings(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return number_is(f, FACTS_MIXED_SETTINGS, 1)
               ? findings_add(ret, self, f->numbers[FACTS_MIXED_SETTINGS].at,
                              "per_listener_settings",
                              "a setting of listeners stands where it reaches another one than "
                              "it seems")
               : OK;
}

/* What was never backed up is judged by its own age, so that a new place has its time. */
static enum err no_backup(const struct rule *self, const struct facts *f, struct findings *ret)
{
    const struct facts_value *made = &f->numbers[FACTS_BACKUP_AGE_S];
    const struct facts_value *place = &f->numbers[FACTS_PLACE_AGE_S];
    const struct facts_value *age = made->is_known ? made : place;
    if (!age->is_known || age->n <= BACKUP_MOST_DAYS * DAY_S) {
        return OK;
    }
    return findings_add(ret, self, age->at, "backup",
                        made->is_known
                            ? "the newest backup is %lld days old"
                            : "none was made in the %lld days that this directory is old",
                        (long long)(age->n / DAY_S));
}

static bool is_sink(const struct facts_alert *a)
{
    return strcmp(a->category, sink_category) == 0;
}

static enum err export_silent(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_alerts; i++) {
        const struct facts_alert *a = &f->alerts[i];
        if (is_sink(a)) {
            const char *who = a->target[0] != '\0' ? a->target : "audit";
            TRY(findings_add(ret, self, (struct facts_place){0}, who, "%s: %s", who, a->text));
        }
    }
    return OK;
}

static enum err open_alerts(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_alerts; i++) {
        if (!is_sink(&f->alerts[i])) { /* that is export-silent */
            TRY(findings_add(ret, self, (struct facts_place){0}, f->alerts[i].category, "%s: %s",
                             f->alerts[i].category, f->alerts[i].text));
        }
    }
    return OK;
}

const struct rule keeping_rules[] = {
    {"configuration",
     SEVERITY_HIGH,
     "a configuration that is refused",
     "The next start fails, or goes on with the old rules while the new ones seem to be in force.",
     {"b", "5.12", "conf", "I9"},
     {"sallyport check DIR    # says the place; correct it, then SIGHUP", NULL, NULL, NULL},
     configuration},
    {"no-persistence",
     SEVERITY_MEDIUM,
     "nothing survives a restart",
     "A power cut loses every message that devices were told is safe.",
     {"f h", "5.9", "data", "I7"},
     {NULL, "persistence true\npersistence_location /var/lib/mosquitto/",
      "durable_sessions.enable = true",
      "sqlite.enable = true\nsqlite.mounted_file_path = \"/var/lib/nanomq/\""},
     no_persistence},
    {"saved-late",
     SEVERITY_MEDIUM,
     "acknowledged messages are written later",
     "What a device was told is safe in that time is gone after a power cut.",
     {"f h", "5.9", "data", "I7"},
     {NULL, "autosave_interval 10", NULL, "sqlite.flush_mem_threshold = 1"},
     saved_late},
    {"log-off",
     SEVERITY_MEDIUM,
     "a log that is off, or says too little",
     "After an attack nobody can tell who did what; while it lasts nobody sees it.",
     {"l", "5.10", "state", "I8"},
     {NULL,
      "log_dest file /var/log/mosquitto/mosquitto.log\nlog_type error\nlog_type warning\n"
      "log_type notice\nconnection_messages true",
      "log.file.enable = true\nlog.file.level = info", "log.to = [file]\nlog.level = info"},
     log_off},
    {"audit-lost",
     SEVERITY_HIGH,
     "events are missing in the audit trail",
     "What is not on record cannot be shown afterwards.",
     {"l", "5.10", "state", "I8"},
     {"df -h DIR    # make room on its disk\nsallyport audit tail -n 20", NULL, NULL, NULL},
     audit_lost},
    {"export-silent",
     SEVERITY_MEDIUM,
     "an audit trail that does not arrive",
     "Who is in the machine can take the trail away with it: what left it in time is what remains.",
     {"l", "5.10", "state", "I8"},
     {"sallyport alerts    # says which and why; mend its receiver, or its entry in export", NULL,
      NULL, NULL},
     export_silent},
    {"no-backup",
     SEVERITY_MEDIUM,
     "no backup, or an old one",
     "A disk that fails, or somebody who encrypts it, takes every device's identity with it.",
     {"h", "5.9", "data", "I8"},
     {"sallyport backup FILE    # and keep its keys apart from it; then: restore FILE --verify",
      NULL, NULL, NULL},
     no_backup},
    {"store-damaged",
     SEVERITY_HIGH,
     "a store that is damaged, or whose disk fails",
     "What was acknowledged may be gone, and somebody may have changed it.",
     {"f h", "5.9", "data state", "I7 I8"},
     {"sallyport restore BACKUP --verify    # and the disk's own log: dmesg, smartctl", NULL, NULL,
      NULL},
     store_bad},
    {"file-readable",
     SEVERITY_HIGH,
     "a secret that everybody on the machine may read",
     "Any program that runs there, whoever wrote it, has the keys and passwords.",
     {"d e", "5.4", "data access", "I7"},
     {"chmod o= {}", "chmod o= {}\nchown mosquitto: {}", "chmod o= {}", "chmod o= {}"},
     file_readable},
    {"file-writable",
     SEVERITY_CRITICAL,
     "a file that everybody on the machine may change",
     "Any program that runs there decides who is let in.",
     {"d f", "5.4 5.7", "conf access", "I9"},
     {"chmod o= {}", "chmod o= {}\nchown root:mosquitto {}", "chmod o= {}", "chmod o= {}"},
     file_writable},
    {"as-root",
     SEVERITY_HIGH,
     "runs as root",
     "One mistake in its code then gives away the machine, not only the broker.",
     {"j k", "5.6", "conf", "I9"},
     {NULL, "user mosquitto", NULL, NULL},
     as_root},
    {"key-inside",
     SEVERITY_HIGH,
     "the master key lies with what it seals",
     "A copy of the directory is then a copy of everything in it, in the clear.",
     {"e", "5.4", "data", "I7"},
     {"# move it out of DIR, name the new place as master_key in sallyport.yaml, restart", NULL,
      NULL, NULL},
     key_inside},
    {"disk-full",
     SEVERITY_MEDIUM,
     "a disk that is nearly full",
     "When it is, messages are refused: what cannot be kept is not acknowledged.",
     {"h", "5.9", "state", "I8"},
     {"df -h DIR    # make room on its disk, or enlarge it", NULL, NULL, NULL},
     disk_full},
    {"per-listener",
     SEVERITY_MEDIUM,
     "settings that reach another listener than they seem",
     "A listener that looks closed is then open, or has no password file.",
     {"b", "5.12", "conf", "I9"},
     {NULL,
      "per_listener_settings false    # first line; or write allow_anonymous,\n"
      "# password_file and acl_file below each listener",
      NULL, NULL},
     mixed_settings},
    {"alert",
     SEVERITY_LOW,
     "an open alert",
     "It waits for a person; what is over stays listed for a day.",
     {"l", "5.10", "state", "I8"},
     {"sallyport alerts", NULL, NULL, NULL},
     open_alerts},
    {.id = NULL}};
