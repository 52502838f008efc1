#include "ops/choose.h"
#include <stdlib.h>

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_panels[] = {cvl_gather_panels_f32, cvl_gather_panels_f64};
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

/* Depthwise. Channels that do not stand together are moved so that they do: worth it for many taps, and for
 * planes so small that rows of positions would leave lanes empty. */
static bool by_lanes_best(ptrdiff_t ic, ptrdiff_t oc, ptrdiff_t groups,
                          const cvl_gather_axis axis[CVL_AXES], bool together, ptrdiff_t lanes) {
    enum { many_taps = 8, few_vectors = 8 };
    if (ic != 1 || oc != 1 || groups < lanes / 2)
        return false;
    return together || axis[0].k * axis[1].k * axis[2].k >= many_taps ||
           axis[1].out * axis[2].out <= few_vectors * lanes;
}

cvl_status cvl_run_gather(cvl_dtype dtype, const cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = g->src_strides.c == 1 && g->dst_strides.c == 1;
    if (by_lanes_best(g->ic, g->oc, g->groups, g->axis, together, lanes) &&
        (dtype == CVL_F32 ? cvl_lanes_fit_f32 : cvl_lanes_fit_f64)(g, kernels))
        return by_lanes[dtype](g, kernels);
    if (getenv("PIX") ? g->oc <= atoi(getenv("PIX")) : g->oc <= lanes / 2)
        return by_pixels[dtype](g, kernels);
    if (g->dst_strides.s[2] == 1 && g->ic * g->axis[0].k * g->axis[1].k * g->axis[2].k <=
                                        (getenv("PAN") ? atoi(getenv("PAN")) : 288))
        return by_panels[dtype](g, kernels);
    return by_channels[dtype](g, kernels);
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = r->x_strides.c == 1 && r->dy_strides.c == 1;
    if (by_lanes_best(r->ic, r->oc, r->groups, r->axis, together, lanes) &&
        (dtype == CVL_F32 ? cvl_reduce_lanes_fit_f32 : cvl_reduce_lanes_fit_f64)(r, kernels))
        return (dtype == CVL_F32 ? cvl_reduce_lanes_f32 : cvl_reduce_lanes_f64)(r, kernels);
    if (r->oc < lanes / 2 && r->ic < lanes / 2)
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    const ptrdiff_t taps =
        r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
    const bool lanes_of_x =
        r->oc < lanes / 2 || (taps == 1 && r->dw_strides.ic == 1 && r->ic >= lanes / 2);
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32 : cvl_reduce_channels_f64)(r, kernels,
                                                                                  lanes_of_x);
}
