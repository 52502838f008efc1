/* The positions of a gather that meet one tap of the height and one of the width inside the source,
 * but for those whose phases have no more: the corners of a full convolution, as the gradient of
 * one without padding is. */
#ifndef CVL_SINGLE_TAP_H
#define CVL_SINGLE_TAP_H

#include "drivers/gather.h"

/* Does something with some of the positions: a gather of its own, of one tap at every depth. */
typedef cvl_status cvl_single_tap_fn(const cvl_gather *part, void *context);

/* Calls fn with every run of such positions, until it fails; `size` is that of an element. */
cvl_status cvl_for_single_taps(const cvl_gather *g, size_t size, cvl_single_tap_fn *fn,
                               void *context);

#endif
