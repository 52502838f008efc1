/* Tiles of small problems, on the stack. Included by drivers_impl.h.
 *
 * All places that the phases of three axes read from one image stand in
 *
 *     tile[channel][depth run][height run][width run][depth][height][width],
 *
 * padding as zeros. So a step to the next position on any axis is the same for all taps, and position
 * (d, h, w) reads, for a tap, place d*position[0] + h*position[1] + w + the tap's offset.
 */

/* Lays a tile out for all positions of the phases. Returns the elements of one channel. */
static ptrdiff_t lay_small_tile(input_tile *tile, const cvl_phase *const phase[CVL_AXES],
                                const real *base) {
    ptrdiff_t step = 1;
    *tile = (input_tile){.base = base};
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        tile->map[i] = cvl_pixel_map(phase[i], 1, phase[i]->count);
        tile->index_step[i] = tile->position[i] = step;
        step *= tile->map[i].length;
    }
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        tile->run_step[i] = step;
        step *= tile->map[i].runs;
    }
    return step;
}

/* Fills the places inside the source; the others must hold zeros already. They are the same for every
 * image. */
static void fill_small_tile(const input_tile *tile, real *to, ptrdiff_t channel, const real *src,
                            const cvl_data_strides *strides, ptrdiff_t channels,
                            const ptrdiff_t in[CVL_AXES], copy_kernel *copy) {
    const cvl_map *map = tile->map;
    ptrdiff_t run[CVL_AXES], begin[CVL_AXES], end[CVL_AXES];
    for (run[0] = 0; run[0] < map[0].runs; run[0]++)
        for (run[1] = 0; run[1] < map[1].runs; run[1]++)
            for (run[2] = 0; run[2] < map[2].runs; run[2]++) {
                real *first = to;
                const real *from = src;
                ptrdiff_t step[CVL_AXES];
                bool any = true;
                for (int i = 0; i < CVL_AXES; i++) {
                    cvl_inside(&map[i], run[i], 0, in[i], &begin[i], &end[i]);
                    any = any && begin[i] < end[i];
                    /* A step that is never taken may be too long to be multiplied. */
                    step[i] = end[i] - begin[i] > 1 ? map[i].step * strides->s[i] : 0;
                    if (!any)
                        break;
                    first += run[i] * tile->run_step[i] + begin[i] * tile->index_step[i];
                    from += (map[i].first + run[i] * map[i].run_step + begin[i] * map[i].step) *
                            strides->s[i];
                }
                for (ptrdiff_t c = 0; any && c < channels; c++)
                    for (ptrdiff_t d = 0; d < end[0] - begin[0]; d++)
                        copy(first + c * channel + d * tile->index_step[0], tile->index_step[1], 1,
                             from + c * strides->c + d * step[0], step[1], step[2],
                             end[1] - begin[1], end[2] - begin[2]);
            }
}
