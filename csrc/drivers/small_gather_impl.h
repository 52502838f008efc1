/* Gather of a small problem. Included by drivers_impl.h.
 *
 * The sources of one image and group stand in one tile (small_tile_impl.h), in which the
 * destinations of a phase of every axis are one line of positions, for a few output channels at
 * once. What the line computes between the end of a row and the start of the next is not kept.
 */

typedef struct small_gather {
    const cvl_gather *g;
    const kernel_table *kernels;
    small_tile tile;
    real *places, *out, *weights, *bias;
    ptrdiff_t *offset, *weight, *parts;
} small_gather;

/* Where each step of a phase's reduction reads, and its weights for a group: offset[step],
 * weights[output channel][step]. Returns the steps. */
static ptrdiff_t list_small_steps(const small_gather *s, const cvl_phase *const phase[CVL_AXES],
                                  ptrdiff_t group) {
    const cvl_gather *g = s->g;
    const ptrdiff_t taps = phase[0]->taps * phase[1]->taps * phase[2]->taps, steps = g->ic * taps;
    const real *w = (const real *)g->w + group * g->w_group;
    real *to = s->weights;
    ptrdiff_t *parts = s->parts;
    const ptrdiff_t *part[CVL_AXES];
    list_small_taps(&s->tile, phase, parts, s->offset);
    repeat_list(s->offset, taps, g->ic, s->tile.channel);
    for (int i = 0; i < CVL_AXES; i++) {
        part[i] = parts;
        for (ptrdiff_t j = 0; j < phase[i]->taps; j++)
            *parts++ = g->axis[i].tap_order[phase[i]->tap_first + j] * g->w_k[i];
    }
    list_sums(s->weight, part, phase);
    repeat_list(s->weight, taps, g->ic, g->w_ic);
    for (ptrdiff_t o = 0; o < g->oc; o++, w += g->w_oc)
        for (ptrdiff_t i = 0; i < steps; i++)
            *to++ = w[s->weight[i]];
    return steps;
}

/* The destinations of one phase in one image and group, whose first is at `dst`. */
static void small_line(const small_gather *s, const cvl_phase *const phase[CVL_AXES],
                       ptrdiff_t steps, real *dst) {
    const cvl_gather *g = s->g;
    const kernel_table *kernels = s->kernels;
    const ptrdiff_t *const position = s->tile.index_step;
    const ptrdiff_t positions =
        (phase[0]->count - 1) * position[0] + (phase[1]->count - 1) * position[1] + phase[2]->count;
    const ptrdiff_t vectors = (positions - 1) / kernels->lanes + 1, line = vectors * kernels->lanes;
    ptrdiff_t step[CVL_AXES], count[CVL_AXES];
    for (int i = 0; i < CVL_AXES; i++) {
        step[i] = phase[i]->out_step * g->dst_strides.s[i];
        count[i] = phase[i]->count;
        dst += phase[i]->out_first * g->dst_strides.s[i];
    }

    for (ptrdiff_t o = 0, m; o < g->oc; o += m) {
        m = g->oc - o < kernels->pixel_rows ? g->oc - o : kernels->pixel_rows;
        ptrdiff_t done = 0;
        do {
            const ptrdiff_t left = steps - done;
            const ptrdiff_t length = left < CVL_SMALL_CUT ? left : CVL_SMALL_CUT;
            kernels->pixel_tile[m - 1](s->out, line, s->weights + o * steps + done, steps,
                                       s->places, s->offset + done, length, vectors,
                                       done == 0 ? s->bias + o : NULL);
            done += length;
        } while (done < steps);
        copy_channels(dst + o * g->dst_strides.c, g->dst_strides.c, step, s->out, line, position, m,
                      count, kernels->copy);
    }
}

/* A group: its phases one by one, each in all images. */
static void small_group(const small_gather *s, ptrdiff_t group) {
    const cvl_gather *g = s->g;
    const cvl_gather_axis *a = g->axis;
    const real *src = (const real *)g->src + group * g->ic * g->src_strides.c;
    real *dst = (real *)g->dst + group * g->oc * g->dst_strides.c;
    ptrdiff_t image = -1; /* the one whose sources are in the tile */
    for (ptrdiff_t o = 0; o < g->oc; o++)
        s->bias[o] = g->bias ? ((const real *)g->bias)[(group * g->oc + o) * g->bias_stride] : 0;
    for (ptrdiff_t d = 0; d < a[0].n_phases; d++)
        for (ptrdiff_t h = 0; h < a[1].n_phases; h++)
            for (ptrdiff_t w = 0; w < a[2].n_phases; w++) {
                const cvl_phase *const phase[] = {&a[0].phases[d], &a[1].phases[h],
                                                  &a[2].phases[w]};
                const ptrdiff_t steps = list_small_steps(s, phase, group);
                for (ptrdiff_t n = 0; n < g->n; n++) {
                    if (image != n)
                        fill_small_tile(&s->tile, s->places, src + n * g->src_strides.n,
                                        &g->src_strides, g->ic, a, s->kernels->copy);
                    image = n;
                    small_line(s, phase, steps, dst + n * g->dst_strides.n);
                }
            }
}

cvl_status CVL_TYPED(cvl_gather_small)(const cvl_gather *g, const cvl_small_axis axis[CVL_AXES],
                            const cvl_kernels *kernels) {
    small_space space;
    small_gather s;
    s.g = g;
    s.kernels = kernels->CVL_DTYPE;
    lay_small_tile(&s.tile, axis);
    const ptrdiff_t room = g->ic * s.tile.channel + CVL_MAX_LANES;
    const ptrdiff_t taps = kernel_taps(g);
    s.places = space.elements;
    s.out = s.places + room;
    s.weights = s.out + CVL_MAX_ROWS * (s.tile.channel + CVL_MAX_LANES);
    s.bias = s.weights + g->oc * g->ic * taps;
    s.offset = space.lists;
    s.weight = s.offset + g->ic * taps;
    s.parts = s.weight + g->ic * taps;
    memset(s.places, 0, (size_t)room * sizeof(real));
    for (ptrdiff_t group = 0; group < g->groups; group++)
        small_group(&s, group);
    return CVL_OK;
}
