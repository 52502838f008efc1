/* What Winograd's filtering would take, to be weighed against other ways. */
#ifndef CVL_WINOGRAD_COST_H
#define CVL_WINOGRAD_COST_H

#include "drivers/gather.h"
#include "drivers/reduce.h"

/* The time for a destination of a gather, or a position of dy, in that of one vector's
 * multiply-add; infinite where the problem cannot be taken so. `depths` are the taps of the depth
 * inside the source and `sources` the source elements of a channel, for a position on average. */
double cvl_winograd_gather_cost(cvl_dtype dtype, const cvl_gather *g, double depths, double sources,
                                const cvl_kernels *kernels);
double cvl_winograd_reduce_cost(cvl_dtype dtype, const cvl_reduce *r, double depths, double sources,
                                const cvl_kernels *kernels);

#endif
