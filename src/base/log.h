/*
 * log - lines for the operator. Library layers never log: they return. Services and apps log once,
 * with who, what, why and the safe fix. One line per call; control bytes and broken UTF-8 from
 * strangers are escaped before the sink sees the line; a line over 1 KiB is cut with "...".
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

typedef void log_sink(void *ctx, enum log_level level, const char *line);

/* log_to - the process-wide sink (the one mutable global that style allows); NULL restores standard
 * error. Set it before threads start. */
void log_to(log_sink *sink, void *ctx, enum log_level least);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* log_escape - copies text into dst with all that is not plain text (UTF8_STRICT), '"' and '\\' as
 * \xNN, cut at cap with "...", never within a character. */
void log_escape(const void *text, unsigned long n, char *dst, unsigned long cap);

#endif
