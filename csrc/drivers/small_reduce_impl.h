/* Weight gradient of a small problem. Included by drivers_impl.h.
 *
 * Lanes are the channels of dy, which are no more than a vector has. Each weight of one input
 * channel and tap is a row of the product tile; the rows of positions, where x and dy stand side by
 * side, are its terms.
 */

/* The rows of positions of one image as terms, cut for accuracy, and where dy's row of each
 * position stands. Returns how many terms there are. */
static ptrdiff_t list_small_terms(const cvl_reduce *r, const small_tile *tile, ptrdiff_t lanes,
                                  cvl_term *terms, ptrdiff_t *dy_row) {
    const ptrdiff_t columns = r->axis[2].out, cut = CVL_SMALL_CUT;
    ptrdiff_t n = 0, b = 0, room = cut;
    for (ptrdiff_t d = 0; d < r->axis[0].out; d++)
        for (ptrdiff_t h = 0; h < r->axis[1].out; h++)
            for (ptrdiff_t w = 0, length; w < columns; w += length, b += length) {
                const ptrdiff_t a = d * tile->index_step[0] + h * tile->index_step[1] + w;
                length = cvl_least(columns - w, room);
                room = length == room ? cut : room - length;
                terms[n++] = (cvl_term){.a = a, .b = b, .length = length, .flush = room == cut};
            }
    for (ptrdiff_t i = 0; i < b; i++)
        dy_row[i] = i * lanes;
    return n;
}

/* The gradients of a group. */
static void small_weights(const cvl_reduce *r, const small_tile *tile, const kernel_table *kernels,
                          ptrdiff_t group, small_space *space) {
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t out[] = {r->axis[0].out, r->axis[1].out, r->axis[2].out};
    const ptrdiff_t taps[] = {phase[0]->taps, phase[1]->taps, phase[2]->taps};
    const ptrdiff_t all_taps = taps[0] * taps[1] * taps[2], rows = r->ic * all_taps;
    const ptrdiff_t lanes = kernels->lanes;
    const ptrdiff_t dy_step[] = {out[1] * out[2] * lanes, out[2] * lanes, lanes};
    const ptrdiff_t sums_step[] = {taps[1] * taps[2] * lanes, taps[2] * lanes, lanes};
    real *const places = space->elements, *const dy = places + r->ic * tile->channel;
    real *const sums = dy + out[0] * dy_step[0], *const end = sums + rows * lanes;
    ptrdiff_t *const x_row = space->lists;
    cvl_term terms[CVL_SMALL_TERMS];
    ptrdiff_t sums_row[CVL_SMALL_LISTS], dy_row[CVL_SMALL_ELEMENTS / 2];
    list_even(sums_row, rows, 0, lanes);
    list_small_taps(tile, phase, x_row + rows, x_row);
    repeat_list(x_row, all_taps, r->ic, tile->channel);
    const product products = {.c = sums,
                              .c_row = sums_row,
                              .init = sums,
                              .init_row = sums_row,
                              .a = places,
                              .a_row = x_row,
                              .a_step = 1,
                              .b = dy,
                              .b_row = dy_row,
                              .terms = terms,
                              .n_terms = list_small_terms(r, tile, lanes, terms, dy_row)};
    memset(places, 0, (size_t)(end - places) * sizeof(real));
    for (ptrdiff_t n = 0; n < r->n; n++) {
        const real *x = (const real *)r->x + n * r->x_strides.n + group * r->ic * r->x_strides.c;
        const real *from =
            (const real *)r->dy + n * r->dy_strides.n + group * r->oc * r->dy_strides.c;
        fill_small_tile(tile, places, x, &r->x_strides, r->ic, r->axis, kernels->copy);
        copy_channels(dy, 1, dy_step, from, r->dy_strides.c, r->dy_strides.s, r->oc, out,
                      kernels->copy);
        multiply_rows(kernels, &products, rows);
    }

    const cvl_weight_strides *to = &r->dw_strides;
    real *dw = (real *)r->dw + group * r->oc * to->oc;
    for (int i = 0; i < CVL_AXES; i++)
        dw += phase[i]->tap_first * to->k[i];
    for (ptrdiff_t i = 0; i < r->ic; i++)
        copy_channels(dw + i * to->ic, to->oc, to->k, sums + i * all_taps * lanes, 1, sums_step,
                      r->oc, taps, kernels->copy);
}

cvl_status CVL_TYPED(cvl_reduce_small)(const cvl_reduce *r, const cvl_small_axis axis[CVL_AXES],
                            const cvl_kernels *all_kernels) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    small_space space;
    small_tile tile;
    lay_small_tile(&tile, axis);
    for (ptrdiff_t group = 0; group < r->groups; group++)
        small_weights(r, &tile, kernels, group, &space);
    return CVL_OK;
}
