#include "ops/choose.h"

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_panels[] = {cvl_gather_panels_f32, cvl_gather_panels_f64};
static gather_fn *const by_pixels[] = {cvl_gather_pixels_f32, cvl_gather_pixels_f64};
static gather_fn *const by_lanes[] = {cvl_gather_lanes_f32, cvl_gather_lanes_f64};

/* The share of an axis' taps that meet only padding. */
static double padding_share(const cvl_gather_axis *axis) {
    double all = 0, inside = 0;
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        all += (double)p->count * (double)p->taps;
        for (ptrdiff_t j = 0; j < p->taps; j++) {
            const ptrdiff_t source = p->in_first + j * p->tap_step;
            const ptrdiff_t first = source >= 0 ? 0 : (-source + p->in_step - 1) / p->in_step;
            const ptrdiff_t last =
                source >= axis->in ? 0 : (axis->in - 1 - source) / p->in_step + 1;
            const ptrdiff_t end = last < p->count ? last : p->count;
            inside += end > first ? (double)(end - first) : 0;
        }
    }
    return all > 0 ? 1 - inside / all : 0;
}

/* Whether a result with contiguous rows is computed as it stands, with positions along the lanes, or with
 * channels along them and transposed. Estimated as shares of the time of the multiplications: moving an
 * element through a transposition takes that of some dozen of them (in vectors); panels compute the taps
 * that meet padding, and copy each input once for every tap of a row. */
static bool gather_panels(const cvl_gather *g) {
    const double moved = 13, copied = 0.05;
    const ptrdiff_t *const k[] = {&g->axis[0].k, &g->axis[1].k, &g->axis[2].k};
    const double taps = (double)*k[0] * (double)*k[1] * (double)*k[2];
    const double transposing = moved / taps * (1 / (double)g->ic + 1 / (double)g->oc);
    if (g->dst_strides.s[2] != 1 || g->ic == 0)
        return false;
    double met = 1;
    for (int i = 0; i < CVL_AXES; i++)
        met *= 1 - padding_share(&g->axis[i]);
    return transposing > 1 - met + (taps > 1 ? copied : 0);
}

static gather_fn *choose_gather(cvl_dtype dtype, const cvl_gather *g, ptrdiff_t lanes) {
    const bool depthwise = g->ic == 1 && g->oc == 1;
    if (depthwise && g->groups >= lanes / 2 && g->src_strides.c == 1 && g->dst_strides.c == 1)
        return by_lanes[dtype];
    if (g->oc <= lanes / 2)
        return by_pixels[dtype];
    return (gather_panels(g) ? by_panels : by_channels)[dtype];
}

cvl_status cvl_run_gather(cvl_dtype dtype, cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    gather_fn *const gather = choose_gather(dtype, g, lanes);
    /* All but the channels driver bring the rows of a tile together, with what lies between them. */
    const cvl_status status = gather == by_channels[dtype] ? CVL_OK : cvl_split_axis(&g->axis[1]);
    return status == CVL_OK ? gather(g, kernels) : status;
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    if (r->ic == 1 && r->oc == 1 && r->groups >= lanes / 2 && r->x_strides.c == 1 &&
        r->dy_strides.c == 1)
        return (dtype == CVL_F32 ? cvl_reduce_lanes_f32 : cvl_reduce_lanes_f64)(r, kernels);
    if (r->oc <= lanes / 2 && r->ic <= lanes / 2)
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    const ptrdiff_t taps =
        r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
    const bool lanes_of_x =
        r->oc < lanes / 2 || (taps == 1 && r->dw_strides.ic == 1 && r->ic >= lanes / 2);
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32 : cvl_reduce_channels_f64)(r, kernels,
                                                                                  lanes_of_x);
}
