#include "ops/choose.h"

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_pixels[] = {cvl_gather_pixels_f32, cvl_gather_pixels_f64};
static gather_fn *const by_lanes[] = {cvl_gather_lanes_f32, cvl_gather_lanes_f64};

cvl_status cvl_run_gather(cvl_dtype dtype, const cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool depthwise = g->ic == 1 && g->oc == 1;
    if (depthwise && g->groups >= lanes / 2 && g->src_strides.c == 1 && g->dst_strides.c == 1)
        return by_lanes[dtype](g, kernels);
    if (g->oc < lanes)
        return by_pixels[dtype](g, kernels);
    return by_channels[dtype](g, kernels);
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    if (r->oc < lanes / 2 && r->ic < lanes / 2)
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    const bool lanes_of_x = r->oc < lanes / 2;
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32 : cvl_reduce_channels_f64)(r, kernels,
                                                                                  lanes_of_x);
}
