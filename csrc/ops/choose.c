#include "ops/choose.h"

#include "drivers/small.h"
#include "support/denormals.h"

typedef cvl_status gather_fn(const cvl_gather *g, const cvl_kernels *kernels);

/* Indexed by cvl_dtype. */
static gather_fn *const by_channels[] = {cvl_gather_channels_f32, cvl_gather_channels_f64};
static gather_fn *const by_panels[] = {cvl_gather_panels_f32, cvl_gather_panels_f64};
static gather_fn *const by_pixels[] = {cvl_gather_pixels_f32, cvl_gather_pixels_f64};
static gather_fn *const by_lanes[] = {cvl_gather_lanes_f32, cvl_gather_lanes_f64};

/* Taps per destination of one axis: all, and those that lie inside the source. */
typedef struct tap_counts {
    double all, inside;
} tap_counts;

static tap_counts count_taps(const cvl_gather_axis *axis) {
    tap_counts n = {0, 0};
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        n.all += (double)p->count * (double)p->taps;
        for (ptrdiff_t j = 0; j < p->taps; j++) {
            const ptrdiff_t source = p->in_first + j * p->tap_step;
            const ptrdiff_t first = source >= 0 ? 0 : (-source + p->in_step - 1) / p->in_step;
            const ptrdiff_t last =
                source >= axis->in ? 0 : (axis->in - 1 - source) / p->in_step + 1;
            const ptrdiff_t end = last < p->count ? last : p->count;
            n.inside += end > first ? (double)(end - first) : 0;
        }
    }
    n.all /= (double)axis->out;
    n.inside /= (double)axis->out;
    return n;
}

/* Whether a result with contiguous rows is computed as it stands, with positions along the lanes,
 * or with channels along them and transposed. Both are estimated per destination, in
 * multiplications, of which a vector does many while one element is moved: channels transpose
 * inputs and results; panels compute taps that meet padding, copy inputs once for every tap of a
 * row, and scatter the results of several phases. */
static bool gather_panels(const cvl_gather *g) {
    const double transposed = 15, copied = 10, scattered = 45;
    const double ic = (double)g->ic, oc = (double)g->oc;
    double all = 1, inside = 1, sources = ic;
    if (g->dst_strides.s[2] != 1 || g->ic == 0)
        return false;
    for (int i = 0; i < CVL_AXES; i++) {
        const tap_counts taps = count_taps(&g->axis[i]);
        all *= taps.all;
        inside *= taps.inside;
        sources *= (double)g->axis[i].in / (double)g->axis[i].out;
    }
    const double by_channels_cost = inside * ic * oc + transposed * (sources + oc);
    const double copies = all > 1 ? (double)g->axis[2].k : 0;
    const double by_panels_cost =
        all * ic * oc + copied * copies * sources + (g->axis[2].n_phases > 1 ? scattered * oc : 0);
    return by_panels_cost < by_channels_cost;
}

/* Depthwise: whether channels along the lanes are best. Channels that do not stand together are
 * moved so that they do: worth it for many taps, and for planes so small that rows of positions
 * would leave lanes empty. */
static bool by_lanes_best(ptrdiff_t ic, ptrdiff_t oc, ptrdiff_t groups, const cvl_gather_axis *axis,
                          bool together, ptrdiff_t lanes) {
    enum { many_taps = 8, few_vectors = 8 };
    if (ic != 1 || oc != 1 || groups < lanes / 2)
        return false;
    return together || axis[0].k * axis[1].k * axis[2].k >= many_taps ||
           axis[1].out * axis[2].out <= few_vectors * lanes;
}

static gather_fn *choose_gather(cvl_dtype dtype, const cvl_gather *g, const cvl_kernels *kernels,
                                ptrdiff_t lanes, bool together) {
    if (by_lanes_best(g->ic, g->oc, g->groups, g->axis, together, lanes) &&
        (dtype == CVL_F32 ? cvl_lanes_fit_f32 : cvl_lanes_fit_f64)(g, kernels))
        return by_lanes[dtype];
    if (g->oc <= lanes / 2)
        return by_pixels[dtype];
    return (gather_panels(g) ? by_panels : by_channels)[dtype];
}

static cvl_status run_gather(cvl_dtype dtype, cvl_gather *g) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = g->src_strides.c == 1 && g->dst_strides.c == 1;
    const bool depthwise = g->ic == 1 && g->oc == 1 && g->groups >= lanes / 2;
    cvl_small_axis small[CVL_AXES];
    if (!(depthwise && together) && cvl_is_small_gather(g, small))
        return (dtype == CVL_F32 ? cvl_gather_small_f32 : cvl_gather_small_f64)(g, small, kernels);
    gather_fn *const gather = choose_gather(dtype, g, kernels, lanes, together);
    /* All but the channels driver bring the rows of a tile together, with what lies between
     * them. */
    const cvl_status status = gather == by_channels[dtype] ? CVL_OK : cvl_split_axis(&g->axis[1]);
    return status == CVL_OK ? gather(g, kernels) : status;
}

/* Whether a weight gradient is summed over long rows as they stand: to one input channel's few
 * weights, transposing dy would be most of the work. */
static bool reduce_pixels(const cvl_reduce *r, ptrdiff_t lanes) {
    enum { few_taps = 32 };
    const ptrdiff_t taps =
        r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
    return r->ic == 1 && taps <= few_taps && r->dy_strides.s[2] == 1 && r->x_strides.s[2] == 1 &&
           r->axis[2].out >= 4 * lanes;
}

/* The share of the lanes that channels fill. */
static double filled(ptrdiff_t channels, ptrdiff_t lanes) {
    return (double)channels / (double)((channels + lanes - 1) / lanes * lanes);
}

/* Whether the input channels are those along the lanes: they must fill them better, or, with one
 * tap, as well where the weights want them so. */
static bool reduce_lanes_of_x(const cvl_reduce *r, ptrdiff_t lanes) {
    const double worth = 1.25; /* one product for each tap instead of one for them all */
    const ptrdiff_t taps =
        r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
    const double of_x = filled(r->ic, lanes), of_dy = filled(r->oc, lanes);
    if (r->ic < lanes / 2)
        return r->ic > r->oc;
    return r->oc < lanes / 2 || of_x > (taps > 1 ? worth : 1) * of_dy ||
           (taps == 1 && of_x == of_dy && r->dw_strides.ic == 1);
}

static cvl_status run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_kernels *kernels = cvl_kernels_in_use();
    const ptrdiff_t lanes = dtype == CVL_F32 ? kernels->f32->lanes : kernels->f64->lanes;
    const bool together = r->x_strides.c == 1 && r->dy_strides.c == 1;
    const bool depthwise = r->ic == 1 && r->oc == 1 && r->groups >= lanes / 2;
    cvl_small_axis small[CVL_AXES];
    if (!(depthwise && together) && cvl_is_small_reduce(r, lanes, small))
        return (dtype == CVL_F32 ? cvl_reduce_small_f32 : cvl_reduce_small_f64)(r, small, kernels);
    if (by_lanes_best(r->ic, r->oc, r->groups, r->axis, together, lanes) &&
        (dtype == CVL_F32 ? cvl_reduce_lanes_fit_f32 : cvl_reduce_lanes_fit_f64)(r, kernels))
        return (dtype == CVL_F32 ? cvl_reduce_lanes_f32 : cvl_reduce_lanes_f64)(r, kernels);
    const bool few = r->oc <= lanes / 2 && r->ic <= lanes / 2;
    const bool fill = together && r->groups == 1 && (r->oc >= lanes / 4 || r->ic >= lanes / 4);
    if ((few && !fill) || reduce_pixels(r, lanes))
        return (dtype == CVL_F32 ? cvl_reduce_pixels_f32 : cvl_reduce_pixels_f64)(r, kernels);
    return (dtype == CVL_F32 ? cvl_reduce_channels_f32
                             : cvl_reduce_channels_f64)(r, kernels, reduce_lanes_of_x(r, lanes));
}

cvl_status cvl_run_gather(cvl_dtype dtype, cvl_gather *g) {
    const cvl_float_mode mode = cvl_flush_denormals();
    const cvl_status status = run_gather(dtype, g);
    cvl_restore_denormals(mode);
    return status;
}

cvl_status cvl_run_reduce(cvl_dtype dtype, const cvl_reduce *r) {
    const cvl_float_mode mode = cvl_flush_denormals();
    const cvl_status status = run_reduce(dtype, r);
    cvl_restore_denormals(mode);
    return status;
}
