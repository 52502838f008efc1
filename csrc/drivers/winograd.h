/* How Winograd's minimal filtering takes the taps of one axis: in parts, each short enough for its
 * transforms.
 *
 * Positions fall into tiles of two, or one where that saves nothing. A filter of 3 taps takes 4
 * products for a tile, of 2 taps 3; a longer one is a sum of those. With a stride the taps that
 * meet every stride-th source make parts of their own. Where taps are further apart than positions,
 * a phase is taken apart into dense ones (cvl_dense_phase).
 */
#ifndef CVL_WINOGRAD_H
#define CVL_WINOGRAD_H

#include "drivers/axes.h"
#include "kernels/kernels.h"

enum {
    CVL_WINOGRAD_PARTS = 8,
    CVL_WINOGRAD_FILTERS = 4,
};

/* Taps first, first + step, .. of a filter; none at all in the parts that it does not have. */
typedef struct cvl_winograd_part {
    ptrdiff_t first, taps;
} cvl_winograd_part;

/* The taps of a phase, or of several which read alike. */
typedef struct cvl_winograd_filter {
    ptrdiff_t tap_first, taps;
    cvl_winograd_part part[CVL_WINOGRAD_PARTS];
} cvl_winograd_filter;

typedef struct cvl_winograd_axis {
    ptrdiff_t dense;     /* parts into which a phase is taken, */
    ptrdiff_t step;      /* and taps between those of a part */
    ptrdiff_t transform; /* taps of the transforms: parts with fewer end in zeros */
    ptrdiff_t points;    /* of the transforms */
    ptrdiff_t outputs;   /* positions of a tile */
    ptrdiff_t n_filters, n_parts;
    cvl_winograd_filter filter[CVL_WINOGRAD_FILTERS];
} cvl_winograd_axis;

/* Whether an axis can be taken so: its phases have few filters, of few parts. */
bool cvl_find_winograd(const cvl_gather_axis *axis, cvl_winograd_axis *found);

/* The filter of a phase. */
ptrdiff_t cvl_winograd_filter_of(const cvl_winograd_axis *axis, const cvl_phase *phase);

/* Whether a part of a filter takes part in a point: not in the last where its taps end in zeros. */
static inline bool cvl_winograd_meets(const cvl_winograd_axis *axis, ptrdiff_t filter,
                                      ptrdiff_t part, ptrdiff_t point) {
    const ptrdiff_t taps = axis->filter[filter].part[part].taps;
    return taps > 0 && (point < axis->points - 1 || taps == axis->transform);
}

/* Over all positions: tiles, parts of tiles, products of tiles, and those of them that are needed:
 * a last tile that reaches beyond the last position does not need its last point. */
typedef struct cvl_winograd_counts {
    ptrdiff_t tiles, parts, products, needed;
} cvl_winograd_counts;

cvl_winograd_counts cvl_count_winograd(const cvl_gather_axis *axis, const cvl_winograd_axis *found);

/* Bytes that transformed weights which tasks share may take at once: as many as the weights do,
 * within bounds. */
static inline double cvl_winograd_budget(double weight_bytes) {
    const double least_bytes = 2 << 20, most_bytes = 8 << 20;
    return weight_bytes < least_bytes  ? least_bytes
           : weight_bytes < most_bytes ? weight_bytes
                                       : most_bytes;
}

/* Bytes that one of so many threads may take for all tiles and weights of its own: 4 MiB, less what
 * its lists and the ends of pages take, and its share of what the weights do. */
static inline double cvl_winograd_own_bytes(double weight_bytes, int threads) {
    const double thread_bytes = (4 << 20) - (128 << 10);
    return thread_bytes + weight_bytes / threads;
}

#endif
