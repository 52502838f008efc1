/* Workspace memory and the cache sizes that blocking goes by. */
#ifndef CVL_MEMORY_H
#define CVL_MEMORY_H

#include <stddef.h>

/* `bytes` of uninitialised memory aligned to a cache line, or NULL. Free with cvl_free, in the same
 * thread, which may keep it for its next call. */
void *cvl_alloc(size_t bytes);
void cvl_free(void *p);

/* `count` elements of `size` bytes, rounded up to whole cache lines: what one part of a workspace
 * takes. Saturates at PTRDIFF_MAX, which cvl_alloc then refuses. */
ptrdiff_t cvl_part_bytes(ptrdiff_t count, size_t size);
ptrdiff_t cvl_add_bytes(ptrdiff_t a, ptrdiff_t b);
ptrdiff_t cvl_scale_bytes(ptrdiff_t a, ptrdiff_t times);

/* A workspace laid out part by part: `bytes` are taken. With memory NULL it only counts, so the
 * function that lays a workspace out also says how large it is. */
typedef struct cvl_arena {
    char *memory;
    ptrdiff_t bytes;
} cvl_arena;

void *cvl_take(cvl_arena *arena, ptrdiff_t count, size_t size);

/* Bytes of the level-2 cache of one core, and of the level-3 cache that cores share; 0 where the
 * latter is not known. */
ptrdiff_t cvl_l2_bytes(void);
ptrdiff_t cvl_l3_bytes(void);

#endif
