/* Numbers to make test problems from: a seeded generator, or the bytes a fuzzer proposes. */
#ifndef CVL_TEST_DRAW_H
#define CVL_TEST_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With `bytes` NULL the numbers come from `state` (splitmix64: Steele, Lea and Flood, 2014);
 * otherwise from the bytes, and are zero once these are used up. */
typedef struct source {
    uint64_t state;
    const uint8_t *bytes;
    size_t left;
} source;

static inline uint64_t draw_word(source *s, int n_bytes) {
    uint64_t word = 0;
    if (s->bytes) {
        for (; n_bytes > 0 && s->left > 0; n_bytes--, s->left--)
            word = word << 8 | *s->bytes++;
        return word;
    }
    word = s->state += 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
}

/* A number in [low, high]. */
static inline ptrdiff_t draw(source *s, ptrdiff_t low, ptrdiff_t high) {
    const uint64_t count = (uint64_t)(high - low) + 1;
    return low + (ptrdiff_t)(draw_word(s, count <= 256 ? 1 : 4) % count);
}

/* True once in n, and false where a fuzzer's bytes are used up. */
static inline bool one_in(source *s, ptrdiff_t n) {
    return draw(s, 0, n - 1) == n - 1;
}

#endif
