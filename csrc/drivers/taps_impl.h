/* The taps of a kernel; and those of one block of destinations, listed: where each reads in the
 * tile, and where its weight stands. Included by drivers_impl.h. */

static ptrdiff_t kernel_taps(const cvl_gather *g) {
    return g->axis[0].k * g->axis[1].k * g->axis[2].k;
}

/* How many positions the phases of an axis have, at most. */
static ptrdiff_t most_positions(const cvl_gather_axis *axis) {
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < axis->n_phases; i++)
        most = cvl_most(most, axis->phases[i].count);
    return most;
}

/* The taps of a filter that do not meet padding alone. */
static ptrdiff_t reduce_taps(const cvl_reduce *r) {
    return r->axis[0].phases->taps * r->axis[1].phases->taps * r->axis[2].phases->taps;
}

/* Whether a kernel's taps at one depth stand side by side. */
static bool taps_adjoin(const cvl_gather_axis *axes, const ptrdiff_t step[CVL_AXES]) {
    return (axes[2].k == 1 || step[2] == 1) && (axes[1].k == 1 || step[1] == axes[2].k);
}

/* Where each tap of a row reads, for position q; their step is 1. */
static void list_columns(const cvl_phase *width, ptrdiff_t q, ptrdiff_t *column) {
    for (ptrdiff_t k = 0; k < width->taps; k++)
        column[k] = q + width->in_first + k * width->tap_step;
}

/* Fills offset[] (in the tile) and weight[] (from w's first element) for the taps that a slab and a
 * phase of the width axis have; returns how many. */
static ptrdiff_t list_taps(const cvl_gather *g, const cvl_slab *slab, const cvl_phase *width,
                           const input_tile *tile, ptrdiff_t *offset, ptrdiff_t *weight) {
    const cvl_phase *phase[] = {slab->depth, slab->height, width};
    ptrdiff_t n = 0, from[CVL_AXES], at[CVL_AXES];
    for (ptrdiff_t jd = 0; jd < phase[0]->taps; jd++) {
        from[0] = tap_offset(tile, 0, phase[0], jd);
        at[0] = g->axis[0].tap_order[phase[0]->tap_first + jd] * g->w_k[0];
        for (ptrdiff_t jh = 0; jh < phase[1]->taps; jh++) {
            from[1] = tap_offset(tile, 1, phase[1], jh);
            at[1] = g->axis[1].tap_order[phase[1]->tap_first + jh] * g->w_k[1];
            for (ptrdiff_t jw = 0; jw < phase[2]->taps; jw++, n++) {
                from[2] = tap_offset(tile, 2, phase[2], jw);
                at[2] = g->axis[2].tap_order[phase[2]->tap_first + jw] * g->w_k[2];
                offset[n] = from[0] + from[1] + from[2];
                weight[n] = at[0] + at[1] + at[2];
            }
        }
    }
    return n;
}

/* The same for a reduction, whose weights are its result: offset[] alone. */
static ptrdiff_t list_tap_offsets(const cvl_phase *const phase[CVL_AXES], const input_tile *tile,
                                  ptrdiff_t *offset) {
    ptrdiff_t n = 0;
    for (ptrdiff_t jd = 0; jd < phase[0]->taps; jd++)
        for (ptrdiff_t jh = 0; jh < phase[1]->taps; jh++)
            for (ptrdiff_t jw = 0; jw < phase[2]->taps; jw++)
                offset[n++] = tap_offset(tile, 0, phase[0], jd) +
                              tap_offset(tile, 1, phase[1], jh) + tap_offset(tile, 2, phase[2], jw);
    return n;
}

/* Tasks of a gather in runs worth handing to a thread: about 20 microseconds each. */
static ptrdiff_t task_grain(double work, ptrdiff_t tasks, int threads) {
    const double worth = 400e3;
    const ptrdiff_t fair = tasks / (4 * threads) + 1;
    const double wanted = work > 0 ? worth * (double)tasks / work : (double)fair;
    return wanted<1 ? 1 : wanted>(double) fair ? fair : (ptrdiff_t)wanted;
}
