/* quota - token bucket: `rate` a second, at most `burst` at once. Integer arithmetic, any clock
 * step is safe. */
#ifndef CORE_QUOTA_H
#define CORE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    uint64_t at_ms;  /* when `millis` was last brought up to date */
    uint64_t millis; /* thousandths of a token */
    uint32_t rate, burst;
};

/* bucket_init - full. rate 0 means no limit. */
void bucket_init(struct bucket *b, uint32_t rate, uint32_t burst, uint64_t now_ms);
/* bucket_set - new rate and burst; what is in it stays, cut to the new burst. */
void bucket_set(struct bucket *b, uint32_t rate, uint32_t burst);
/* bucket_take - n tokens, or false and nothing taken. */
bool bucket_take(struct bucket *b, uint32_t n, uint64_t now_ms);
/* bucket_give - n tokens back, up to the burst: what they were taken for did not count. */
void bucket_give(struct bucket *b, uint32_t n, uint64_t now_ms);
/* bucket_millis - thousandths of a token that are there now; a bucket without a rate is full. */
uint64_t bucket_millis(const struct bucket *b, uint64_t now_ms);
/* bucket_is_full - nobody has taken anything lately: forgetting it changes nothing. */
bool bucket_is_full(const struct bucket *b, uint64_t now_ms);
/* bucket_wait_ms - how long until n tokens are there; 0 = now. */
uint64_t bucket_wait_ms(const struct bucket *b, uint32_t n, uint64_t now_ms);

#endif
