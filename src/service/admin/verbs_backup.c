/* backup.pin; and what a restored data directory has to say. */
#include "base/log.h"
#include "base/mem.h"
#include "service/admin/admin_private.h"
#include "store/log.h"

enum { SEGMENTS_MAX = 1 << 16, MARK_BYTES_MAX = 256 };

/*
 * The segments that a backup copies, as one line; they stay until the one who asked has gone, so a
 * backup that is killed pins nothing.
 */
enum err verb_backup_pin(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    size_t n = 0;
    (void)r;
    if (a->setup.log == NULL) {
        return control_finish(reply, 1, "this daemon has no store");
    }
    if (a->backup_token != 0) {
        return control_finish(reply, 1, "another backup is being made; wait until it has ended");
    }
    uint32_t *numbers = mem_array(SEGMENTS_MAX, sizeof *numbers);
    if (numbers == NULL) {
        return ERR_NOMEM;
    }
    enum err err = log_pin(a->setup.log, numbers, SEGMENTS_MAX, &n);
    json_t *list = json_array();
    for (size_t i = 0; err == OK && i < n; i++) {
        err = json_array_append_new(list, json_integer(numbers[i])) == 0 ? OK : ERR_NOMEM;
    }
    mem_free(numbers);
    if (err == OK) {
        a->backup_token = token;
        err = control_line(reply, json_pack("{s:o}", "segments", list));
    } else {
        json_decref(list);
    }
    TRY(err);
    admin_act(a, token, EVENT_allow, SEVERITY_NOTICE, "backup",
              "a backup of the data directory is being made");
    reply->is_streaming = true;
    return OK;
}

void admin_backup_watch(struct admin *a)
{
    if (a->backup_token != 0 &&
        (a->server == NULL || control_server_reply(a->server, a->backup_token) == NULL)) {
        log_unpin(a->setup.log);
        a->backup_token = 0;
    }
}

void admin_restored(struct admin *a)
{
    AUTO(buf_done) struct buf mark = {0};
    struct disk *d = a->setup.disk;
    char when[CLOCK_ISO8601_BYTES];
    enum err err = disk_load(d, ADMIN_RESTORED_FILE, MARK_BYTES_MAX, &mark);
    if (err == ERR_NOT_FOUND) {
        return;
    }
    struct slice text = slice_head(buf_slice(&mark), slice_find(buf_slice(&mark), '\n'));
    struct event e = event_make(EVENT_crash_recovery);
    e.severity = SEVERITY_NOTICE;
    event_reason(
        &e,
        "restored from a backup of %s: what changed later is not here, and OSCORE contexts "
        "need a fresh Echo",
        err == OK && slice_to_text(text, when, sizeof when) ? when : "unknown time");
    admin_event(a, &e);
    err = d->ops->rename(d, ADMIN_RESTORED_FILE, ADMIN_RESTORED_FILE ".seen");
    if (err != OK) {
        log_line(LOG_WARN,
                 "the mark " ADMIN_RESTORED_FILE " cannot be renamed (%s): it is reported "
                 "again at the next start",
                 err_name(err));
    }
}
