/* Gather of a small problem. Included by drivers_impl.h.
 *
 * A phase of every axis at a time: its destinations in one image and group are one line of positions
 * (small_tile_impl.h), for a few output channels at once. What the line computes between the end of a
 * row and the start of the next is not kept.
 */

/* The weights of a group, and where each step of the reduction reads: weights[output channel][step],
 * offset[step]. Returns the steps. */
static ptrdiff_t list_small_steps(const cvl_gather *g, const input_tile *tile,
                                  const cvl_phase *const phase[CVL_AXES], ptrdiff_t group,
                                  ptrdiff_t channel, real *weights, ptrdiff_t *offset,
                                  ptrdiff_t *tap_offset, ptrdiff_t *tap_weight) {
    const cvl_slab slab = {.depth = phase[0], .height = phase[1]};
    const ptrdiff_t taps = list_taps(g, &slab, phase[2], tile, tap_offset, tap_weight);
    for (ptrdiff_t i = 0; i < g->ic; i++)
        for (ptrdiff_t t = 0; t < taps; t++)
            *offset++ = i * channel + tap_offset[t];
    for (ptrdiff_t o = 0; o < g->oc; o++)
        for (ptrdiff_t i = 0; i < g->ic; i++) {
            const real *w = (const real *)g->w + group * g->w_group + o * g->w_oc + i * g->w_ic;
            for (ptrdiff_t t = 0; t < taps; t++)
                *weights++ = w[tap_weight[t]];
        }
    return g->ic * taps;
}

/* The destinations of one phase in one image and group: `dst` is their first. */
static void small_line(const cvl_gather *g, const kernel_table *kernels, const input_tile *tile,
                       const cvl_phase *const phase[CVL_AXES], const real *weights,
                       const ptrdiff_t *offset, ptrdiff_t steps, const real *bias, real *out,
                       real *dst) {
    enum {
        cut = CVL_REAL_BYTES == 4 ? 128 : 64
    }; /* steps between two visits to the sums in memory, for their accuracy */
    const ptrdiff_t lanes = kernels->lanes;
    const ptrdiff_t positions = (phase[0]->count - 1) * tile->position[0] +
                                (phase[1]->count - 1) * tile->position[1] + phase[2]->count;
    const ptrdiff_t vectors = (positions + lanes - 1) / lanes, line = vectors * lanes;
    ptrdiff_t step[CVL_AXES];
    for (int i = 0; i < CVL_AXES; i++)
        step[i] = phase[i]->count > 1 ? phase[i]->out_step * g->dst_strides.s[i] : 0;

    for (ptrdiff_t o = 0, m; o < g->oc; o += m) {
        m = g->oc - o < kernels->pixel_rows ? g->oc - o : kernels->pixel_rows;
        ptrdiff_t done = 0;
        do {
            const ptrdiff_t length = steps - done < cut ? steps - done : cut;
            kernels->pixel_tile[m - 1](out, line, weights + o * steps + done, steps, tile->base,
                                       offset + done, length, vectors, done == 0 ? bias + o : NULL);
            done += length;
        } while (done < steps);
        for (ptrdiff_t i = 0; i < m; i++)
            for (ptrdiff_t d = 0; d < phase[0]->count; d++)
                kernels->copy(dst + (o + i) * g->dst_strides.c + d * step[0], step[1], step[2],
                              out + i * line + d * tile->position[0], tile->position[1], 1,
                              phase[1]->count, phase[2]->count);
    }
}

/* One phase of every axis, in all images of a group. */
static void small_phase(const cvl_gather *g, const kernel_table *kernels, ptrdiff_t group,
                        const cvl_phase *const phase[CVL_AXES], char *space) {
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    const ptrdiff_t taps = phase[0]->taps * phase[1]->taps * phase[2]->taps;
    input_tile tile;
    const ptrdiff_t channel = lay_small_tile(&tile, phase, (real *)space);
    const ptrdiff_t room = g->ic * channel + CVL_MAX_LANES;
    real *const places = cvl_take(&space, room, sizeof(real));
    real *const out = cvl_take(&space, CVL_MAX_ROWS * (channel + CVL_MAX_LANES), sizeof(real));
    real *const weights = cvl_take(&space, g->oc * g->ic * taps, sizeof(real));
    real *const bias = cvl_take(&space, g->oc, sizeof(real));
    ptrdiff_t *const offset = cvl_take(&space, g->ic * taps, sizeof(ptrdiff_t));
    ptrdiff_t *const tap_offset = cvl_take(&space, taps, sizeof(ptrdiff_t));
    ptrdiff_t *const tap_weight = cvl_take(&space, taps, sizeof(ptrdiff_t));

    const ptrdiff_t steps = list_small_steps(g, &tile, phase, group, channel, weights, offset,
                                             tap_offset, tap_weight);
    for (ptrdiff_t o = 0; o < g->oc; o++)
        bias[o] = g->bias ? ((const real *)g->bias)[(group * g->oc + o) * g->bias_stride] : 0;
    memset(places, 0, (size_t)room * sizeof(real));
    for (ptrdiff_t n = 0; n < g->n; n++) {
        const real *src =
            (const real *)g->src + n * g->src_strides.n + group * g->ic * g->src_strides.c;
        real *dst = (real *)g->dst + n * g->dst_strides.n + group * g->oc * g->dst_strides.c;
        for (int i = 0; i < CVL_AXES; i++)
            dst += phase[i]->out_first * g->dst_strides.s[i];
        fill_small_tile(&tile, places, channel, src, &g->src_strides, g->ic, in, kernels->copy);
        small_line(g, kernels, &tile, phase, weights, offset, steps, bias, out, dst);
    }
}

cvl_status CVL_TYPED(cvl_gather_small)(const cvl_gather *g, const cvl_kernels *kernels) {
    _Alignas(64) char space[CVL_SMALL_BYTES];
    const cvl_gather_axis *a = g->axis;
    for (ptrdiff_t group = 0; group < g->groups; group++)
        for (ptrdiff_t d = 0; d < a[0].n_phases; d++)
            for (ptrdiff_t h = 0; h < a[1].n_phases; h++)
                for (ptrdiff_t w = 0; w < a[2].n_phases; w++)
                    small_phase(g, kernels->CVL_DTYPE, group,
                                (const cvl_phase *const[]){&a[0].phases[d], &a[1].phases[h],
                                                           &a[2].phases[w]},
                                space);
    return CVL_OK;
}
