#include "ops/choose.h"

#include "drivers/small.h"

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_pixels[] = {cvl_gather_pixels_f32, cvl_gather_pixels_f64};
static gather_fn *const by_lanes[] = {cvl_gather_lanes_f32, cvl_gather_lanes_f64};

/* Positions along the lanes waste no lanes on few output channels. They also leave a channels-first
 * result as it is computed, where channels along the lanes must be transposed: that decides while the
 * reduction is short, beyond which the channel tile's better use of the cache does. */
static bool gather_pixels(const cvl_gather *g, ptrdiff_t lanes) {
    const ptrdiff_t longest = 96;
    const ptrdiff_t steps = g->ic * g->axis[0].k * g->axis[1].k * g->axis[2].k;
    const bool rows_contiguous = g->dst_strides.s[2] == 1 && g->axis[2].n_phases == 1;
    return g->oc <= lanes / 2 || (rows_contiguous && steps <= longest);
}

cvl_status cvl_run_gather(cvl_dtype dtype, const cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool depthwise = g->ic == 1 && g->oc == 1;
    if (depthwise && g->groups >= lanes / 2 && g->src_strides.c == 1 && g->dst_strides.c == 1)
        return by_lanes[dtype](g, kernels);
    cvl_small_axis small[CVL_AXES];
    if (cvl_is_small_gather(g, small))
        return (dtype == CVL_F32 ? cvl_gather_small_f32 : cvl_gather_small_f64)(g, small, kernels);
    if (gather_pixels(g, lanes))
        return by_pixels[dtype](g, kernels);
    return by_channels[dtype](g, kernels);
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    if (r->ic == 1 && r->oc == 1 && r->groups >= lanes / 2 && r->x_strides.c == 1 &&
        r->dy_strides.c == 1)
        return (dtype == CVL_F32 ? cvl_reduce_lanes_f32 : cvl_reduce_lanes_f64)(r, kernels);
    cvl_small_axis small[CVL_AXES];
    if (cvl_is_small_reduce(r, lanes, small))
        return (dtype == CVL_F32 ? cvl_reduce_small_f32 : cvl_reduce_small_f64)(r, small, kernels);
    if (r->oc < lanes / 2 && r->ic < lanes / 2)
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    const bool lanes_of_x = r->oc < lanes / 2;
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32 : cvl_reduce_channels_f64)(r, kernels,
                                                                                  lanes_of_x);
}
