/* Tiles of small problems, on the stack. Included by drivers_impl.h.
 *
 * All places that the phases of three axes read from one image stand in
 *
 *     tile[channel][depth run][height run][width run][depth][height][width],
 *
 * padding as zeros. So a step to the next position on any axis is the same for all taps, and
 * position (d, h, w) reads, for a tap, place d*index_step[0] + h*index_step[1] + w + the tap's
 * offset.
 */

/* What a small driver works in; small.c sees to it that a problem fits. */
typedef struct small_space {
    real elements[CVL_SMALL_ELEMENTS];
    ptrdiff_t lists[CVL_SMALL_LISTS];
} small_space;

typedef struct small_tile {
    const cvl_small_axis *axis;
    ptrdiff_t index_step[CVL_AXES], run_step[CVL_AXES];
    ptrdiff_t channel; /* elements from channel to channel */
} small_tile;

static void lay_small_tile(small_tile *tile, const cvl_small_axis axis[CVL_AXES]) {
    ptrdiff_t step = 1;
    tile->axis = axis;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        tile->index_step[i] = step;
        step *= axis[i].length;
    }
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        tile->run_step[i] = step;
        step *= axis[i].step;
    }
    tile->channel = step;
}

/* What a list over all taps has for each of them: the sum of its axes' parts. */
static void list_sums(ptrdiff_t *list, const ptrdiff_t *const part[CVL_AXES],
                      const cvl_phase *const phase[CVL_AXES]) {
    for (ptrdiff_t d = 0; d < phase[0]->taps; d++)
        for (ptrdiff_t h = 0; h < phase[1]->taps; h++) {
            const ptrdiff_t row = part[0][d] + part[1][h];
            for (ptrdiff_t w = 0; w < phase[2]->taps; w++)
                *list++ = row + part[2][w];
        }
}

/* offset[tap]: what the taps read for the phases' first position. `parts` has room for the taps of
 * each axis. */
static void list_small_taps(const small_tile *tile, const cvl_phase *const phase[CVL_AXES],
                            ptrdiff_t *parts, ptrdiff_t *offset) {
    const ptrdiff_t *part[CVL_AXES];
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_small_axis *axis = &tile->axis[i];
        part[i] = parts;
        for (ptrdiff_t j = 0; j < phase[i]->taps; j++) {
            const ptrdiff_t place = phase[i]->in_first - axis->first + j * phase[i]->tap_step;
            const ptrdiff_t index = cvl_divide(place, axis->step), run = place - index * axis->step;
            *parts++ = index * tile->index_step[i] + run * tile->run_step[i];
        }
    }
    list_sums(offset, part, phase);
}

/* The same list for each further channel, `step` on from the one before. */
static void repeat_list(ptrdiff_t *list, ptrdiff_t taps, ptrdiff_t channels, ptrdiff_t step) {
    for (ptrdiff_t i = taps; i < taps * channels; i++)
        list[i] = list[i - taps] + step;
}

/* to[c, d, h, w] = from[c, d, h, w] for the counts and steps of channels and axes, in the fewest
 * calls of the kernel. */
static void copy_channels(real *to, ptrdiff_t to_channel, const ptrdiff_t to_step[CVL_AXES],
                          const real *from, ptrdiff_t from_channel,
                          const ptrdiff_t from_step[CVL_AXES], ptrdiff_t channels,
                          const ptrdiff_t count[CVL_AXES], copy_kernel *copy) {
    for (ptrdiff_t d = 0; d < count[0]; d++) {
        real *const to_d = to + d * to_step[0];
        const real *const from_d = from + d * from_step[0];
        if (channels < count[1])
            for (ptrdiff_t c = 0; c < channels; c++)
                copy(to_d + c * to_channel, to_step[1], to_step[2], from_d + c * from_channel,
                     from_step[1], from_step[2], count[1], count[2]);
        else
            for (ptrdiff_t h = 0; h < count[1]; h++)
                copy(to_d + h * to_step[1], to_channel, to_step[2], from_d + h * from_step[1],
                     from_channel, from_step[2], channels, count[2]);
    }
}

/* Fills the places of one combination of runs that lie inside the source. */
static void fill_small_runs(const small_tile *tile, const ptrdiff_t run[CVL_AXES], real *to,
                            const real *src, const cvl_data_strides *strides, ptrdiff_t channels,
                            const cvl_gather_axis axis[CVL_AXES], copy_kernel *copy) {
    ptrdiff_t count[CVL_AXES], step[CVL_AXES];
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_small_axis *a = &tile->axis[i];
        const ptrdiff_t first = a->first + run[i],
                        in = axis[i].in; /* source of the run's place 0 */
        const ptrdiff_t begin = first < 0 ? cvl_divide(-first - 1, a->step) + 1 : 0;
        const ptrdiff_t inside = first < in ? cvl_divide(in - 1 - first, a->step) + 1 : 0;
        count[i] = (inside < a->length ? inside : a->length) - begin;
        if (count[i] <= 0)
            return;
        /* A step that is never taken may be too long to be multiplied. */
        step[i] = count[i] > 1 ? a->step * strides->s[i] : 0;
        to += run[i] * tile->run_step[i] + begin * tile->index_step[i];
        src += (first + begin * a->step) * strides->s[i];
    }
    copy_channels(to, tile->channel, tile->index_step, src, strides->c, step, channels, count,
                  copy);
}

/* Fills the places inside the source; the others, the same for every image and group, must hold
 * zeros already. */
static void fill_small_tile(const small_tile *tile, real *to, const real *src,
                            const cvl_data_strides *strides, ptrdiff_t channels,
                            const cvl_gather_axis axis[CVL_AXES], copy_kernel *copy) {
    ptrdiff_t run[CVL_AXES];
    for (run[0] = 0; run[0] < tile->axis[0].step; run[0]++)
        for (run[1] = 0; run[1] < tile->axis[1].step; run[1]++)
            for (run[2] = 0; run[2] < tile->axis[2].step; run[2]++)
                fill_small_runs(tile, run, to, src, strides, channels, axis, copy);
}
