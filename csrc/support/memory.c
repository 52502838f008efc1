#include "support/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { cache_line = 64 };

/* A thread keeps the last workspace it has freed, if it is not large, for its next call: memory
 * that goes back to the system comes from it again a page at a time, which can take longer than a
 * small problem. The sanitizers shall see every workspace come and go. */
#if defined(__SANITIZE_ADDRESS__) || defined(CVL_KEEP_NOTHING)
enum { most_kept_bytes = 0 };
#else
enum { most_kept_bytes = 8 * 1024 * 1024 };
#endif

static pthread_key_t kept_key; /* the block a thread keeps; freed when the thread ends */
static bool may_keep;

static void make_key(void) {
    may_keep = pthread_key_create(&kept_key, free) == 0;
}

/* A line before the memory that is handed out. */
typedef struct block {
    size_t bytes; /* behind it */
} block;

static block *block_of(void *p) {
    return (block *)((char *)p - cache_line);
}

static block *take_kept(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    block *kept = may_keep ? pthread_getspecific(kept_key) : NULL;
    if (kept)
        pthread_setspecific(kept_key, NULL);
    return kept;
}

void *cvl_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - 2 * cache_line)
        return NULL;
    block *b = take_kept();
    if (b && b->bytes >= bytes)
        return (char *)b + cache_line;
    free(b);
    const size_t whole = bytes / cache_line * cache_line + cache_line;
    b = aligned_alloc(cache_line, cache_line + whole);
    if (!b)
        return NULL;
    b->bytes = whole;
    return (char *)b + cache_line;
}

void cvl_free(void *p) {
    if (!p)
        return;
    block *b = block_of(p), *kept = take_kept();
    if (kept && kept->bytes > b->bytes) {
        block *const smaller = b;
        b = kept;
        kept = smaller;
    }
    free(kept);
    if (!may_keep || b->bytes > most_kept_bytes || pthread_setspecific(kept_key, b) != 0)
        free(b);
}

ptrdiff_t cvl_scale_bytes(ptrdiff_t a, ptrdiff_t times) {
    ptrdiff_t product;
    return __builtin_mul_overflow(a, times, &product) ? PTRDIFF_MAX : product;
}

ptrdiff_t cvl_add_bytes(ptrdiff_t a, ptrdiff_t b) {
    ptrdiff_t sum;
    return __builtin_add_overflow(a, b, &sum) ? PTRDIFF_MAX : sum;
}

ptrdiff_t cvl_part_bytes(ptrdiff_t count, size_t size) {
    const ptrdiff_t bytes = cvl_scale_bytes(count, (ptrdiff_t)size);
    if (bytes > PTRDIFF_MAX - cache_line)
        return PTRDIFF_MAX;
    return (bytes + cache_line - 1) / cache_line * cache_line;
}

void *cvl_take(cvl_arena *arena, ptrdiff_t count, size_t size) {
    void *part = arena->memory ? arena->memory + arena->bytes : NULL;
    arena->bytes = cvl_add_bytes(arena->bytes, cvl_part_bytes(count, size));
    return part;
}

ptrdiff_t cvl_l2_bytes(void) {
    enum { least = 256 * 1024, most = 2 * 1024 * 1024 };
    long bytes = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes < least ? least : bytes > most ? most : bytes;
}

ptrdiff_t cvl_l3_bytes(void) {
    long bytes = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return bytes > 0 ? bytes : 0;
}
