/* Weights that a gather by phases reads in bits, brought together before. Included by
 * drivers_impl.h.
 *
 * Where the taps of a kernel stand side by side, one phase would use a little of every cache line.
 * The weights are copied tap by tap, [group][tap][ic][oc], and the rows of output channels read
 * from the copy by all phases: for some output channels, or some groups, at a time, so that the
 * copy stays in the level-3 cache, and its memory need not come from the system for every call.
 */

/* Gathers what a lot of output channels makes. */
typedef cvl_status gather_lot(const cvl_gather *lot, const kernel_table *kernels, void *context);

static bool weights_scattered(const cvl_gather *g) {
    const cvl_gather_axis *axis = g->axis;
    const bool phases = axis[0].n_phases > 1 || axis[1].n_phases > 1 || axis[2].n_phases > 1;
    const bool adjoin =
        taps_adjoin(axis, g->w_k) && (axis[0].k == 1 || g->w_k[0] == axis[1].k * axis[2].k);
    return phases && adjoin && kernel_taps(g) > 1;
}

typedef struct scattered_job {
    const cvl_gather *from, *to; /* a lot, before and after */
    const kernel_table *kernels;
} scattered_job;

/* Copies the weights of some input channels. */
static void copy_taps(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const scattered_job *job = context;
    const cvl_gather *from = job->from, *to = job->to;
    (void)thread;
    for (ptrdiff_t i = begin; i < end; i++) {
        const ptrdiff_t group = i / from->ic, channel = i % from->ic;
        job->kernels->copy((real *)to->w + group * to->w_group + channel * to->w_ic, 1, to->w_k[2],
                           (const real *)from->w + group * from->w_group + channel * from->w_ic,
                           from->w_oc, 1, from->oc, kernel_taps(from));
    }
}

/* Output channels [first, first + channels) of some groups. */
static cvl_gather take_lot(const cvl_gather *g, ptrdiff_t group, ptrdiff_t groups, ptrdiff_t first,
                           ptrdiff_t channels) {
    cvl_gather lot = *g;
    lot.groups = groups;
    lot.oc = channels;
    lot.src = (const real *)g->src + group * g->ic * g->src_strides.c;
    lot.w = (const real *)g->w + group * g->w_group + first * g->w_oc;
    lot.dst = (real *)g->dst + (group * g->oc + first) * g->dst_strides.c;
    if (g->bias)
        lot.bias = (const real *)g->bias + (group * g->oc + first) * g->bias_stride;
    lot.work *= (double)(groups * channels) / (double)(g->groups * g->oc);
    return lot;
}

/* Gathers a lot from a copy of its weights. */
static cvl_status gather_copied(const cvl_gather *lot, const kernel_table *kernels,
                                gather_lot *gather, void *context, real *copy) {
    const ptrdiff_t tap = lot->ic * lot->oc, row = lot->axis[2].k * tap;
    cvl_gather copied = *lot;
    copied.w = copy;
    copied.w_k[2] = tap;
    copied.w_k[1] = row;
    copied.w_k[0] = lot->axis[1].k * row;
    copied.w_group = lot->axis[0].k * copied.w_k[0];
    copied.w_ic = lot->oc;
    copied.w_oc = 1;
    scattered_job job = {lot, &copied, kernels};
    const ptrdiff_t rows = lot->groups * lot->ic;
    cvl_parallel_for(rows, 8, cvl_threads_for(rows, lot->work), copy_taps, &job);
    return gather(&copied, kernels, context);
}

/* Gathers lot by lot, or all at once where the weights are not scattered. */
static cvl_status gather_lots(const cvl_gather *g, const kernel_table *kernels, gather_lot *gather,
                              void *context) {
    const ptrdiff_t least_bytes = 2 << 20, most_bytes = 8 << 20;
    const ptrdiff_t block = panel_lanes(kernels);
    if (!weights_scattered(g) || g->ic == 0)
        return gather(g, kernels, context);
    const ptrdiff_t channel_bytes = cvl_scale_bytes(kernel_taps(g) * g->ic, sizeof(real));
    /* Half the weights, since the driver may need as much for what it makes of them. */
    const ptrdiff_t half = cvl_scale_bytes(channel_bytes, g->groups * g->oc) / 2;
    const ptrdiff_t bytes = half < least_bytes ? least_bytes : cvl_least(half, most_bytes);
    const ptrdiff_t most = bytes / channel_bytes, blocks = cvl_ceil_div(g->oc, block);
    const ptrdiff_t fitting = most > block ? most / block : 1;
    const ptrdiff_t channels = cvl_least(g->oc, block * cvl_even_size(blocks, fitting));
    const ptrdiff_t groups = most > g->oc ? cvl_even_size(g->groups, most / g->oc) : 1;
    real *const copy =
        cvl_alloc((size_t)cvl_scale_bytes(channel_bytes, cvl_least(groups, g->groups) * channels));
    cvl_status status = copy ? CVL_OK : CVL_NO_MEMORY;
    for (ptrdiff_t group = 0; group < g->groups && status == CVL_OK; group += groups)
        for (ptrdiff_t first = 0; first < g->oc && status == CVL_OK; first += channels) {
            const cvl_gather lot = take_lot(g, group, cvl_least(groups, g->groups - group), first,
                                            cvl_least(channels, g->oc - first));
            status = gather_copied(&lot, kernels, gather, context, copy);
        }
    cvl_free(copy);
    return status;
}
