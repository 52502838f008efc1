/* Problems so small that a plan, packed weights and a workspace from the heap would be most of their
 * cost: all that one image and group need stands in a few KiB of the stack. */
#ifndef CVL_SMALL_H
#define CVL_SMALL_H

#include "drivers/gather.h"
#include "drivers/reduce.h"

/* What a small driver keeps on the stack, at most. */
enum { CVL_SMALL_BYTES = 32 * 1024 };

/* Whether the problem fits that space, and has so little to compute that it is done before another
 * driver had made its plan. */
bool cvl_is_small_gather(const cvl_gather *g);
bool cvl_is_small_reduce(const cvl_reduce *r);

cvl_status cvl_gather_small_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_small_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_reduce_small_f32(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_small_f64(const cvl_reduce *r, const cvl_kernels *kernels);

#endif
