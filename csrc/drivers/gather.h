/* A gather: what forward and grad_input have in common, and the ways to compute it.
 *
 *     dst[n, g*OC + o, pos] = bias[g*OC + o]
 *         + sum over i, taps of src[n, g*IC + i, source(pos, tap)] * w[g, o, i, tap]
 *
 * where `axis` says which sources a position meets (axes.h). For forward src is x; for grad_input
 * it is dy, and the weight's two channel strides change places. All strides are in elements.
 */
#ifndef CVL_GATHER_H
#define CVL_GATHER_H

#include "cvl.h"
#include "drivers/axes.h"
#include "kernels/kernels.h"

typedef struct cvl_gather {
    ptrdiff_t n, groups, ic, oc;
    cvl_gather_axis *axis; /* CVL_AXES of them */
    const void *src, *w, *bias;
    void *dst;
    cvl_data_strides src_strides, dst_strides;
    ptrdiff_t w_group, w_oc, w_ic, w_k[CVL_AXES];
    ptrdiff_t bias_stride;
    double work;
} cvl_gather;

/* Destination positions of all images, as a double: they decide between ways, never an index. */
static inline double cvl_positions(const cvl_gather *g) {
    double positions = (double)g->n;
    for (int i = 0; i < CVL_AXES; i++)
        positions *= (double)g->axis[i].out;
    return positions;
}

/* Results of all groups, and weights of one, as a double. */
static inline double cvl_results(const cvl_gather *g) {
    return cvl_positions(g) * (double)g->groups * (double)g->oc;
}

static inline double cvl_weights(const cvl_gather *g) {
    double weights = (double)g->ic * (double)g->oc;
    for (int i = 0; i < CVL_AXES; i++)
        weights *= (double)g->axis[i].k;
    return weights;
}

/* Whether the kernel has one tap, which never meets padding. */
static inline bool cvl_pointwise(const cvl_gather *g) {
    const cvl_gather_axis *axis = g->axis;
    return axis[0].k == 1 && axis[1].k == 1 && axis[2].k == 1 && cvl_one_tap(axis);
}

/* The same result from each, but for rounding; they differ in what lies along the lanes.
 *
 * channels: output channels; for data whose channels are contiguous.
 * panels:   neighbouring output positions, many output channels at a time; for data whose rows are.
 * pixels:   neighbouring output positions. For few output channels, and for depthwise.
 * columns:  neighbouring source positions, products with all taps, which are added where they
 *           belong; for few output channels of many input channels, without a stride.
 * planes:   neighbouring output positions, of groups of one or two channels out, whose inputs are
 *           read where they stand; for data whose rows are contiguous, without a stride.
 * dots:     steps of the reduction; for one tap, with few positions or few output channels.
 * lanes:    channels of several groups, each of which has as many in as out: one (depthwise), or 2,
 *           4, .. up to the kernels' group_width.
 */
cvl_status cvl_gather_channels_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_channels_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_panels_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_panels_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_pixels_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_pixels_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_columns_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_columns_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_planes_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_planes_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_dots_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_dots_f64(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_lanes_f32(const cvl_gather *g, const cvl_kernels *kernels);
cvl_status cvl_gather_lanes_f64(const cvl_gather *g, const cvl_kernels *kernels);

/* The same by Winograd's minimal filtering, output channels along the lanes: for at least a vector
 * of channels, and axes that cvl_find_winograd takes. Says whether all results are finite; those
 * that are not may not be what the formula gives. */
cvl_status cvl_gather_winograd_f32(const cvl_gather *g, const cvl_kernels *kernels, bool *finite);
cvl_status cvl_gather_winograd_f64(const cvl_gather *g, const cvl_kernels *kernels, bool *finite);

/* Results of g that are not finite become those of `again`, whose channels stand together. */
void cvl_take_unusual_f32(const cvl_gather *g, const cvl_gather *again);
void cvl_take_unusual_f64(const cvl_gather *g, const cvl_gather *again);

/* Whether the problem is one for cvl_gather_planes. */
static inline bool cvl_planes_fit(const cvl_gather *g) {
    const cvl_gather_axis *const width = &g->axis[2];
    return g->ic > 0 && g->oc <= 2 && width->n_phases == 1 && width->phases->in_step == 1 &&
           (width->in == 1 || g->src_strides.s[2] == 1) &&
           (width->out == 1 || g->dst_strides.s[2] == 1);
}

/* Whether the problem is one for cvl_gather_columns, and its rows of sums find room. */
bool cvl_columns_fit_f32(const cvl_gather *g, const cvl_kernels *kernels);
bool cvl_columns_fit_f64(const cvl_gather *g, const cvl_kernels *kernels);

/* Whether cvl_gather_lanes has room for the problem in its tile: windows far apart are the
 * others'. */
bool cvl_lanes_fit_f32(const cvl_gather *g, const cvl_kernels *kernels);
bool cvl_lanes_fit_f64(const cvl_gather *g, const cvl_kernels *kernels);

#endif
