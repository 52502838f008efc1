#include "drivers/blocks.h"

#include <stdint.h>

#include "support/memory.h"

enum {
    least_positions = 48, /* a block smaller than this does not repay its packing */
    least_columns = 16,
};

/* The places of a map, or those that lie inside the source, of which a shared run has no more than
 * there are. */
static ptrdiff_t map_places(cvl_map map, const cvl_gather_axis *axis, bool inside) {
    if (inside && map.kind == CVL_SHARED && map.runs == 1 && map.length > axis->in)
        map.length = axis->in;
    return cvl_scale_bytes(map.runs, map.length);
}

static ptrdiff_t largest_count(const cvl_gather_axis *axis) {
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < axis->n_phases; i++)
        if (axis->phases[i].count > count)
            count = axis->phases[i].count;
    return count;
}

/* The most places that `count` positions of any one phase of an axis take. */
static ptrdiff_t phase_places(const cvl_gather_axis *axis, cvl_map_fn *map, ptrdiff_t count,
                              bool inside) {
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < axis->n_phases; i++) {
        const cvl_phase *p = &axis->phases[i];
        const ptrdiff_t places =
            map_places(map(p, 1, count < p->count ? count : p->count), axis, inside);
        if (places > most)
            most = places;
    }
    return most;
}

static ptrdiff_t slab_count(const cvl_gather *g, ptrdiff_t rows) {
    ptrdiff_t slabs = 0;
    for (ptrdiff_t i = 0; i < g->axis[1].n_phases; i++)
        slabs += cvl_ceil_div(g->axis[1].phases[i].count, rows);
    return slabs * g->axis[0].out;
}

static cvl_status list_slabs(const cvl_gather *g, cvl_blocks *blocks) {
    const cvl_gather_axis *depth = &g->axis[0], *height = &g->axis[1];
    blocks->n_slabs = slab_count(g, blocks->rows);
    const ptrdiff_t own = sizeof blocks->own_slabs / sizeof *blocks->own_slabs;
    blocks->slabs = blocks->n_slabs <= own
                        ? blocks->own_slabs
                        : cvl_alloc((size_t)cvl_part_bytes(blocks->n_slabs, sizeof *blocks->slabs));
    if (!blocks->slabs)
        return CVL_NO_MEMORY;
    cvl_slab *slab = blocks->slabs;
    /* Phases of the same rows one after another: their inputs are mostly the same. */
    const ptrdiff_t most_rows = largest_count(height);
    for (ptrdiff_t i = 0; i < depth->n_phases; i++)
        for (ptrdiff_t depth_q = 0; depth_q < depth->phases[i].count; depth_q++)
            for (ptrdiff_t q = 0; q < most_rows; q += blocks->rows)
                for (ptrdiff_t j = 0; j < height->n_phases; j++) {
                    const ptrdiff_t left = height->phases[j].count - q;
                    if (left > 0)
                        *slab++ = (cvl_slab){.depth = &depth->phases[i],
                                             .height = &height->phases[j],
                                             .depth_q = depth_q,
                                             .height_q = q,
                                             .rows = left < blocks->rows ? left : blocks->rows};
                }
    return CVL_OK;
}

cvl_status cvl_cut(const cvl_gather *g, cvl_map_fn *map, cvl_map_fn *width_map,
                   ptrdiff_t place_bytes, ptrdiff_t budget, ptrdiff_t repeats,
                   ptrdiff_t enough_tasks, bool inside, cvl_blocks *blocks) {
    const cvl_gather_axis *width = &g->axis[2];
    const ptrdiff_t all_rows = largest_count(&g->axis[1]), all_columns = largest_count(width);
    const ptrdiff_t depth_places = phase_places(&g->axis[0], map, 1, inside);
    const ptrdiff_t budget_places = place_bytes ? budget / place_bytes : PTRDIFF_MAX;

    ptrdiff_t columns = all_columns;
    const ptrdiff_t row_places =
        cvl_scale_bytes(depth_places, phase_places(&g->axis[1], map, 1, inside));
    while (
        columns > least_columns &&
        cvl_scale_bytes(row_places, map_places(width_map(width->phases, width->n_phases, columns),
                                               width, inside)) > budget_places)
        columns = cvl_even_size(all_columns, columns - columns / 4);

    ptrdiff_t rows = all_rows;
    const ptrdiff_t width_places =
        map_places(width_map(width->phases, width->n_phases, columns), width, inside);
    const ptrdiff_t column_places = cvl_scale_bytes(depth_places, width_places);
    while (rows > 1 && cvl_scale_bytes(column_places, phase_places(&g->axis[1], map, rows,
                                                                   inside)) > budget_places)
        rows = cvl_even_size(all_rows, rows - (rows + 7) / 8);

    while (rows > 1 && rows * columns * width->n_phases > 2 * least_positions &&
           repeats * slab_count(g, rows) * cvl_ceil_div(all_columns, columns) < enough_tasks)
        rows = cvl_even_size(all_rows, (rows + 1) / 2);
    while (columns * width->n_phases > 4 * least_positions &&
           repeats * slab_count(g, rows) * cvl_ceil_div(all_columns, columns) < enough_tasks)
        columns = cvl_even_size(all_columns, (columns + 1) / 2);

    blocks->rows = rows;
    blocks->columns = columns;
    blocks->n_columns = cvl_ceil_div(all_columns, columns);
    blocks->width = width_map(width->phases, width->n_phases, columns);
    blocks->places =
        cvl_scale_bytes(cvl_scale_bytes(depth_places, map_places(blocks->width, width, inside)),
                        phase_places(&g->axis[1], map, rows, inside));
    blocks->positions = cvl_scale_bytes(cvl_scale_bytes(rows, columns), width->n_phases);
    return list_slabs(g, blocks);
}

void cvl_free_blocks(cvl_blocks *blocks) {
    if (blocks->slabs != blocks->own_slabs)
        cvl_free(blocks->slabs);
}

ptrdiff_t cvl_block_columns(const cvl_blocks *blocks, const cvl_phase *phase, ptrdiff_t b) {
    const ptrdiff_t left = phase->count - b * blocks->columns;
    return left < 0 ? 0 : left < blocks->columns ? left : blocks->columns;
}
