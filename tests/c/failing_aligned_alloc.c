/* For LD_PRELOAD: aligned_alloc, which is where the C core's memory comes from, and a way to have
 * its nth call from now fail. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

void fail_aligned_alloc(long nth);

static atomic_long countdown;

void fail_aligned_alloc(long nth) {
    atomic_store(&countdown, nth);
}

void *aligned_alloc(size_t alignment, size_t size) {
    void *p = NULL;
    if (atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1) {
        errno = ENOMEM;
        return NULL;
    }
    return posix_memalign(&p, alignment, size) == 0 ? p : NULL;
}
