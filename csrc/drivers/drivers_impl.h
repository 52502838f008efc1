/* Every driver for one dtype: the loop nests between an operation and the kernels. Included once by
 * drivers_<dtype>.c, after support/real_<dtype>.h. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "drivers/axes.h"
#include "drivers/blocks.h"
#include "drivers/gather.h"
#include "drivers/reduce.h"
#include "drivers/small.h"
#include "drivers/winograd.h"
#include "kernels/kernels.h"
#include "support/memory.h"
#include "support/threads.h"

typedef CVL_TYPED(cvl_kernels) kernel_table;
typedef CVL_TYPED(cvl_copy) copy_kernel;
typedef CVL_TYPED(cvl_lane_sums) lane_sums_kernel;

/* Room for the partial results of a reduction, `count` elements each, and for what every thread
 * works in; NULL where there is none. */
static real *alloc_partials(ptrdiff_t count, ptrdiff_t splits, ptrdiff_t each, int *threads,
                            char **workspace) {
    const ptrdiff_t bytes = cvl_part_bytes(cvl_scale_bytes(count, splits), sizeof(real));
    char *const memory = cvl_alloc_workspace(bytes, each, threads);
    *workspace = memory ? memory + bytes : NULL;
    return (real *)memory;
}

/* Adds elements [first, last) of the partial results of a reduction, `apart` elements from one to
 * the next, to those of the first, in order. */
static void add_partials(real *partial, ptrdiff_t splits, ptrdiff_t apart, ptrdiff_t first,
                         ptrdiff_t last) {
    for (ptrdiff_t split = 1; split < splits; split++)
        for (ptrdiff_t i = first; i < last; i++)
            partial[i] += partial[split * apart + i];
}

/* Asks for a line, which may be anywhere, to come to the level-2 cache. GCC takes a function that
 * does no more than this for one without effect and leaves its calls out, but for the empty
 * statement. */
static inline void ask_for(const real *line) {
    __builtin_prefetch(line, 0, 2);
    __asm__ volatile("");
}

/* Each of these builds on those above it. */
#include "drivers/tile_impl.h"

#include "drivers/small_tile_impl.h"
#include "drivers/taps_impl.h"

#include "drivers/product_impl.h"
#include "drivers/scattered_impl.h"

#include "drivers/channel_gather_impl.h"
#include "drivers/column_gather_impl.h"
#include "drivers/dot_gather_impl.h"
#include "drivers/lane_gather_impl.h"
#include "drivers/panel_gather_impl.h"
#include "drivers/pixel_gather_impl.h"
#include "drivers/plane_gather_impl.h"
#include "drivers/small_gather_impl.h"

#include "drivers/winograd_impl.h"

#include "drivers/winograd_gather_impl.h"

#include "drivers/channel_reduce_impl.h"
#include "drivers/dot_reduce_impl.h"
#include "drivers/lane_reduce_impl.h"
#include "drivers/pixel_reduce_impl.h"
#include "drivers/plane_reduce_impl.h"
#include "drivers/small_reduce_impl.h"
#include "drivers/winograd_reduce_impl.h"
