/* Which way a primitive is computed: the one place where algorithms are chosen. */
#ifndef CVL_CHOOSE_H
#define CVL_CHOOSE_H

#include "drivers/gather.h"
#include "drivers/reduce.h"

/* Run a gather, or a reduction, whose axes are filled in; denormal numbers are zeros
 * (support/denormals.h). */
cvl_status cvl_run_gather(cvl_dtype dtype, cvl_gather *g);
cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r);

#endif
