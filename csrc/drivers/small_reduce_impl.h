/* Weight gradient of a small problem. Included by drivers_impl.h.
 *
 * Lanes are the channels of dy, as many as a vector has at a time. Each weight of one input channel and
 * tap is a row of the channel tile; the rows of positions, where x and dy stand side by side, are its
 * terms.
 */

/* The rows of positions of one image, cut so that none is longer than `cut`. Returns how many. */
static ptrdiff_t list_small_terms(const cvl_reduce *r, const input_tile *tile, ptrdiff_t cut,
                                  ptrdiff_t lanes, cvl_term *terms) {
    const ptrdiff_t columns = r->axis[2].out;
    ptrdiff_t n = 0, b = 0;
    for (ptrdiff_t d = 0; d < r->axis[0].out; d++)
        for (ptrdiff_t h = 0; h < r->axis[1].out; h++)
            for (ptrdiff_t w = 0; w < columns; w += cut) {
                const ptrdiff_t length = columns - w < cut ? columns - w : cut;
                terms[n++] =
                    (cvl_term){.a = d * tile->position[0] + h * tile->position[1] + w, b, length};
                b += length * lanes;
            }
    return n;
}

/* Adds one image's sums of up to CVL_MAX_ROWS weights to what stands in `sums`. */
static void sum_small_terms(const kernel_table *kernels, real *sums, const ptrdiff_t *sums_row,
                            const real *x, const ptrdiff_t *x_row, ptrdiff_t rows, const real *dy,
                            const cvl_term *terms, ptrdiff_t n_terms, ptrdiff_t cut) {
    for (ptrdiff_t t = 0, length, n; t < n_terms; t += n) {
        length = terms[t].length;
        for (n = 1; t + n < n_terms && length + terms[t + n].length <= cut; n++)
            length += terms[t + n].length;
        kernels->channel_tile[0][rows - 1](sums, sums_row, x, x_row, 1, dy, kernels->lanes,
                                           terms + t, n, NULL);
    }
}

/* The gradients of up to a vector of output channels, from `o` on in their group. */
static void small_weights(const cvl_reduce *r, const kernel_table *kernels, ptrdiff_t group,
                          ptrdiff_t o, ptrdiff_t channels, char *space) {
    enum {
        cut = CVL_REAL_BYTES == 4 ? 128 : 64
    }; /* steps between two visits to the sums in memory, for their accuracy */
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t in[] = {r->axis[0].in, r->axis[1].in, r->axis[2].in};
    const ptrdiff_t out[] = {r->axis[0].out, r->axis[1].out, r->axis[2].out};
    const ptrdiff_t taps = phase[0]->taps * phase[1]->taps * phase[2]->taps, rows = r->ic * taps;
    const ptrdiff_t lanes = kernels->lanes, positions = out[0] * out[1] * out[2];
    input_tile tile;
    const ptrdiff_t channel = lay_small_tile(&tile, phase, (real *)space);
    real *const places = cvl_take(&space, r->ic * channel, sizeof(real));
    real *const dy = cvl_take(&space, positions * lanes, sizeof(real));
    real *const sums = cvl_take(&space, rows * lanes, sizeof(real));
    ptrdiff_t *const x_row = cvl_take(&space, rows, sizeof(ptrdiff_t));
    cvl_term *const terms = cvl_take(&space, out[0] * out[1] * ((out[2] - 1) / cut + 1),
                                     sizeof(cvl_term));
    ptrdiff_t sums_row[CVL_MAX_ROWS];
    for (int i = 0; i < CVL_MAX_ROWS; i++)
        sums_row[i] = i * lanes;

    list_tap_offsets(phase, &tile, x_row);
    for (ptrdiff_t i = taps; i < rows; i++)
        x_row[i] = x_row[i - taps] + channel;
    const ptrdiff_t n_terms = list_small_terms(r, &tile, cut, lanes, terms);
    memset(places, 0, (size_t)(r->ic * channel) * sizeof(real));
    memset(dy, 0, (size_t)(positions * lanes) * sizeof(real));
    memset(sums, 0, (size_t)(rows * lanes) * sizeof(real));
    for (ptrdiff_t n = 0; n < r->n; n++) {
        const real *x = (const real *)r->x + n * r->x_strides.n + group * r->ic * r->x_strides.c;
        const real *from = (const real *)r->dy + n * r->dy_strides.n +
                           (group * r->oc + o) * r->dy_strides.c;
        fill_small_tile(&tile, places, channel, x, &r->x_strides, r->ic, in, kernels->copy);
        for (ptrdiff_t c = 0; c < channels; c++)
            for (ptrdiff_t d = 0; d < out[0]; d++)
                kernels->copy(dy + d * out[1] * out[2] * lanes + c, out[2] * lanes, lanes,
                              from + c * r->dy_strides.c + d * r->dy_strides.s[0],
                              r->dy_strides.s[1], r->dy_strides.s[2], out[1], out[2]);
        for (ptrdiff_t i = 0; i < rows; i += CVL_MAX_ROWS)
            sum_small_terms(kernels, sums + i * lanes, sums_row, places, x_row + i,
                            rows - i < CVL_MAX_ROWS ? rows - i : CVL_MAX_ROWS, dy, terms, n_terms,
                            cut);
    }

    const cvl_weight_strides *to = &r->dw_strides;
    const real *sum = sums;
    for (ptrdiff_t i = 0; i < r->ic; i++)
        for (ptrdiff_t d = 0; d < phase[0]->taps; d++)
            for (ptrdiff_t h = 0; h < phase[1]->taps; h++)
                for (ptrdiff_t w = 0; w < phase[2]->taps; w++, sum += lanes) {
                    real *dw = (real *)r->dw + (group * r->oc + o) * to->oc + i * to->ic +
                               (phase[0]->tap_first + d) * to->k[0] +
                               (phase[1]->tap_first + h) * to->k[1] +
                               (phase[2]->tap_first + w) * to->k[2];
                    for (ptrdiff_t c = 0; c < channels; c++)
                        dw[c * to->oc] = sum[c];
                }
}

cvl_status CVL_TYPED(cvl_reduce_small)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    _Alignas(64) char space[CVL_SMALL_BYTES];
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    for (ptrdiff_t group = 0; group < r->groups; group++)
        for (ptrdiff_t o = 0; o < r->oc; o += kernels->lanes)
            small_weights(r, kernels, group, o,
                          r->oc - o < kernels->lanes ? r->oc - o : kernels->lanes, space);
    return CVL_OK;
}
