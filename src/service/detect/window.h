/*
 * window - how much of something came lately, and of how many kinds: a few bytes whatever comes.
 *
 * Two halves of the window's length follow each other (thresholds.h). Seconds are the caller's, of
 * one clock that does not step back; { 0 } is empty.
 */
#ifndef SERVICE_DETECT_WINDOW_H
#define SERVICE_DETECT_WINDOW_H

#include <stdint.h>

struct detect_window {
    uint32_t start_s; /* of `now` */
    uint16_t now, before;
};

/* detect_window_add - n more (saturates); returns how many in both halves. length_s > 0. */
uint32_t detect_window_add(struct detect_window *w, uint32_t length_s, uint32_t n, uint32_t now_s);
/* detect_window_since - when the first of what is counted may have come. */
uint32_t detect_window_since(const struct detect_window *w, uint32_t length_s);

/* How many different ones: a bit of 64 each, chosen by a keyed hash. Two may share a bit, so that
 * it never says too many. */
struct detect_sketch {
    struct detect_window window;
    uint64_t now, before;
};

/* detect_sketch_add - returns how many different ones; hash must be uniform. The window counts
 * occurrences, n of them. */
uint32_t detect_sketch_add(struct detect_sketch *s, uint32_t length_s, uint32_t n, uint64_t hash,
                           uint32_t now_s);
/* detect_sketch_total - occurrences after the last add. */
uint32_t detect_sketch_total(const struct detect_sketch *s);

#endif
