/* Problems so small that a plan, packing for caches and a workspace from the heap would be most of
 * their cost: all that one image and group need stands on the stack. */
#ifndef CVL_SMALL_H
#define CVL_SMALL_H

#include "drivers/gather.h"
#include "drivers/reduce.h"

/* What a small driver keeps on the stack: elements, numbers and terms. */
enum { CVL_SMALL_ELEMENTS = 3072, CVL_SMALL_LISTS = 768, CVL_SMALL_TERMS = 128 };

/* Steps between two visits to the sums in memory, for their accuracy. */
enum { CVL_SMALL_CUT = 64 };

/* Where a tile keeps what all phases of an axis read: place `index` of run `run` < step holds
 * source first + run + index*step, so that the next position reads the next place. */
typedef struct cvl_small_axis {
    ptrdiff_t first, step, length;
} cvl_small_axis;

/* Whether the problem fits that space, and has so little to compute that it is done before another
 * driver had made its plan. Then it has its axes laid out. */
bool cvl_is_small_gather(const cvl_gather *g, cvl_small_axis axis[CVL_AXES]);
bool cvl_is_small_reduce(const cvl_reduce *r, ptrdiff_t lanes, cvl_small_axis axis[CVL_AXES]);

cvl_status cvl_gather_small_f32(const cvl_gather *g, const cvl_small_axis axis[CVL_AXES],
                                const cvl_kernels *kernels);
cvl_status cvl_gather_small_f64(const cvl_gather *g, const cvl_small_axis axis[CVL_AXES],
                                const cvl_kernels *kernels);
cvl_status cvl_reduce_small_f32(const cvl_reduce *r, const cvl_small_axis axis[CVL_AXES],
                                const cvl_kernels *kernels);
cvl_status cvl_reduce_small_f64(const cvl_reduce *r, const cvl_small_axis axis[CVL_AXES],
                                const cvl_kernels *kernels);

#endif
