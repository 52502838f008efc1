#include "support/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { cache_line = 64 };

void *cvl_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - cache_line)
        return NULL;
    return aligned_alloc(cache_line, bytes / cache_line * cache_line + cache_line);
}

void cvl_free(void *p) {
    free(p);
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
