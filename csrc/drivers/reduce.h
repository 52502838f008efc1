/* A reduction over positions: the weight gradient, and the ways to compute it.
 *
 *     dw[g, o, i, tap] = sum over n, q of dy[n, g*OC + o, q] * x[n, g*IC + i, source(q, tap)]
 *
 * The positions of all images are cut into chunks; a task sums its chunks into a partial result of
 * its own, and the partial results are added in a fixed order. How many there are depends on the
 * problem's shape only, so the sum is the same whatever the number of threads.
 */
#ifndef CVL_REDUCE_H
#define CVL_REDUCE_H

#include "cvl.h"
#include "drivers/axes.h"
#include "kernels/kernels.h"

typedef struct cvl_reduce {
    ptrdiff_t n, groups, ic, oc;
    /* CVL_AXES of them, of one phase each; taps that meet only padding are left out. */
    const cvl_gather_axis *axis;
    const void *dy, *x;
    void *dw;
    cvl_data_strides dy_strides, x_strides;
    cvl_weight_strides dw_strides;
    double work;
} cvl_reduce;

/* How a reduction is cut: chunks of images x rows x columns at one depth. */
typedef struct cvl_chunks {
    ptrdiff_t images, rows, columns; /* the most of a chunk */
    ptrdiff_t n_images, n_rows, n_columns, depths;
    ptrdiff_t count;  /* chunks in all */
    ptrdiff_t places; /* the most places a tile of x needs, for one image */
} cvl_chunks;

/* Cuts so that x, at x_bytes per place, and dy, at dy_bytes per position, fit the budget, and a
 * chunk has about enough positions. With `inside` a tile has no rows outside x. */
cvl_chunks cvl_cut_reduce(const cvl_reduce *r, cvl_map_fn *map, cvl_map_fn *width_map,
                          ptrdiff_t x_bytes, ptrdiff_t dy_bytes, ptrdiff_t budget,
                          ptrdiff_t enough_positions, bool inside);

typedef struct cvl_chunk {
    ptrdiff_t image, images, depth, row, rows, column, columns;
} cvl_chunk;

cvl_chunk cvl_nth_chunk(const cvl_reduce *r, const cvl_chunks *chunks, ptrdiff_t index);

/* Into how many partial results to split the chunks, so that with `base` independent parts there
 * are tasks enough, while the partial results, `bytes` each, stay small. */
ptrdiff_t cvl_reduce_splits(ptrdiff_t chunks, ptrdiff_t base, ptrdiff_t bytes);

/* What lies along the lanes of cvl_reduce_channels: the channels of x, those of dy, or those of x
 * once for every tap of a row of the kernel, whose taps must be neighbours (tap_step 1). */
typedef enum cvl_lanes_of {
    CVL_LANES_OF_X,
    CVL_LANES_OF_DY,
    CVL_LANES_OF_TAPS,
} cvl_lanes_of;

/* Whether rows of x are copied with their positions together, once for every tap of a row of the
 * kernel, where channels of dy lie along the lanes: for more taps each place is moved once. */
static inline bool cvl_copies_rows(const cvl_reduce *r) {
    const ptrdiff_t few_taps = 5;
    return r->x_strides.s[2] == 1 && r->axis[2].phases->taps <= few_taps;
}

/* The same result from each, but for rounding; they differ in what lies along the lanes: channels
 * of one kind, channels with one filter each, or neighbouring positions: in any arrangement, or
 * where they stand, which cvl_dots_stand tells, and of filters of one channel
 * cvl_reduce_planes_fit. */
cvl_status cvl_reduce_channels_f32(const cvl_reduce *r, const cvl_kernels *kernels,
                                   cvl_lanes_of lanes);
cvl_status cvl_reduce_channels_f64(const cvl_reduce *r, const cvl_kernels *kernels,
                                   cvl_lanes_of lanes);
cvl_status cvl_reduce_dots_f32(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_dots_f64(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_lanes_f32(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_lanes_f64(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_pixels_f32(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_pixels_f64(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_planes_f32(const cvl_reduce *r, const cvl_kernels *kernels);
cvl_status cvl_reduce_planes_f64(const cvl_reduce *r, const cvl_kernels *kernels);

/* The same by Winograd's minimal filtering, channels of dy along the lanes: for at least a vector
 * of channels of both, all taps of the kernel, and axes that cvl_find_winograd takes. Says whether
 * all results are finite; those that are not may not be what the formula gives. */
cvl_status cvl_reduce_winograd_f32(const cvl_reduce *r, const cvl_kernels *kernels, bool *finite);
cvl_status cvl_reduce_winograd_f64(const cvl_reduce *r, const cvl_kernels *kernels, bool *finite);

/* Weights of r that are not finite become those of `again`, whose taps stand together, and those of
 * an output channel. */
void cvl_take_unusual_weights_f32(const cvl_reduce *r, const cvl_reduce *again);
void cvl_take_unusual_weights_f64(const cvl_reduce *r, const cvl_reduce *again);

/* Whether the kernel has one tap, and its positions stand as lines of at least `lanes`, in x as in
 * dy. */
bool cvl_dots_stand(const cvl_reduce *r, ptrdiff_t lanes);

/* Whether the problem is one for cvl_reduce_planes. */
static inline bool cvl_reduce_planes_fit(const cvl_reduce *r) {
    const cvl_phase *const height = r->axis[1].phases, *const width = r->axis[2].phases;
    return r->ic == 1 && r->oc == 1 && width->in_step == 1 &&
           (height->in_step == 1 || height->taps == 1) &&
           (r->axis[2].in == 1 || r->x_strides.s[2] == 1) &&
           (r->axis[2].out == 1 || r->dy_strides.s[2] == 1);
}

/* Whether cvl_reduce_lanes has room for the problem in its tiles: windows far apart are the
 * others'. */
bool cvl_reduce_lanes_fit_f32(const cvl_reduce *r, const cvl_kernels *kernels);
bool cvl_reduce_lanes_fit_f64(const cvl_reduce *r, const cvl_kernels *kernels);

#endif
