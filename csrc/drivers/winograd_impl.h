/* What both drivers of Winograd's minimal filtering share: the planes that positions fall into, and
 * their inputs, transformed. Included by drivers_impl.h.
 *
 * A plane is an image's positions at one depth, of one dense phase of the height and one of the
 * width (winograd.h). It is cut into tiles, some of which make a task, or a chunk.
 */

typedef CVL_TYPED(cvl_winograd) winograd_kernels;

enum { strip = 16 }; /* input channels whose weights are brought together, or stored, at once */

/* How the height and width of a problem are taken. */
typedef struct winograd_view {
    const cvl_gather_axis *axes;
    const winograd_kernels *transforms;
    cvl_winograd_axis axis[CVL_AXES]; /* of height and width */
    ptrdiff_t points, parts;          /* of both together */
    ptrdiff_t phases[CVL_AXES];       /* dense ones of a filter, at most */
    ptrdiff_t all[CVL_AXES];  /* planes of one depth and filter, and tiles along each axis */
    ptrdiff_t size[CVL_AXES]; /* of a task, at most */
    ptrdiff_t cuts[CVL_AXES]; /* into which all are cut */
} winograd_view;

/* The most dense phases that one filter has, and tiles of one of them. */
static ptrdiff_t most_phases(const cvl_gather_axis *axis, const cvl_winograd_axis *w,
                             ptrdiff_t *tiles) {
    ptrdiff_t most = 0, count = 0;
    for (ptrdiff_t filter = 0; filter < w->n_filters; filter++) {
        ptrdiff_t phases = 0;
        for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
            phases += cvl_winograd_filter_of(w, p) == filter;
            count = p->count > count ? p->count : count;
        }
        most = phases > most ? phases : most;
    }
    *tiles = cvl_ceil_div(cvl_ceil_div(count, w->dense), w->outputs);
    return most * w->dense;
}

static winograd_view view_winograd(const kernel_table *kernels, const cvl_gather_axis *axes,
                                   ptrdiff_t images) {
    winograd_view v = {.axes = axes, .points = 1, .parts = 1};
    v.all[0] = images;
    for (int i = 1; i < CVL_AXES; i++) {
        cvl_find_winograd(&axes[i], &v.axis[i]);
        v.points *= v.axis[i].points;
        v.parts *= v.axis[i].n_parts;
        v.phases[i] = most_phases(&axes[i], &v.axis[i], &v.all[i]);
        v.all[0] *= v.phases[i];
    }
    v.transforms = &kernels->winograd[v.axis[1].transform - 1][v.axis[2].transform - 1];
    return v;
}

/* Cuts planes into tasks of at most so many tiles, evenly. */
static void cut_planes(winograd_view *v, ptrdiff_t most) {
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        v->size[i] = cvl_even_size(v->all[i], cvl_least(v->all[i], most));
        v->cuts[i] = cvl_ceil_div(v->all[i], v->size[i]);
        most = v->cuts[i] > 1 ? 1 : most / v->size[i];
        most = most > 1 ? most : 1;
    }
}

/* Where the cut of a number starts, and how many planes it has; returns how often all cuts have
 * been counted through before. */
static ptrdiff_t nth_cut(const winograd_view *v, ptrdiff_t index, ptrdiff_t at[CVL_AXES],
                         ptrdiff_t *planes) {
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        at[i] = index % v->cuts[i] * v->size[i];
        index /= v->cuts[i];
    }
    *planes = cvl_least(v->size[0], v->all[0] - at[0]);
    return index;
}

static ptrdiff_t tiles_together(const winograd_view *v) {
    return v->size[0] * v->size[1] * v->size[2];
}

/* Part `number` of a filter, counted through height and width: one of each. */
static void winograd_parts(const winograd_view *v, ptrdiff_t number, ptrdiff_t part[CVL_AXES]) {
    part[1] = number / v->axis[2].n_parts;
    part[2] = number % v->axis[2].n_parts;
}

/* Whether a part takes part in a point. */
static bool part_meets(const winograd_view *v, const ptrdiff_t filter[CVL_AXES], ptrdiff_t number,
                       ptrdiff_t point) {
    ptrdiff_t part[CVL_AXES];
    winograd_parts(v, number, part);
    return cvl_winograd_meets(&v->axis[1], filter[1], part[1], point / v->axis[2].points) &&
           cvl_winograd_meets(&v->axis[2], filter[2], part[2], point % v->axis[2].points);
}

/* Some tiles of a plane, from `at` on. */
typedef struct winograd_plane {
    ptrdiff_t image;
    cvl_phase phase[CVL_AXES]; /* of height and width */
    ptrdiff_t at[CVL_AXES], tiles[CVL_AXES];
    ptrdiff_t first; /* among all tiles of the task */
} winograd_plane;

/* The dense phase of a number, among those of a filter. Returns whether there is one. */
static bool nth_dense_phase(const winograd_view *v, int axis, ptrdiff_t filter, ptrdiff_t number,
                            cvl_phase *phase) {
    const cvl_gather_axis *a = &v->axes[axis];
    const cvl_winograd_axis *w = &v->axis[axis];
    ptrdiff_t left = number / w->dense;
    for (const cvl_phase *p = a->phases; p < a->phases + a->n_phases; p++)
        if (cvl_winograd_filter_of(w, p) == filter && left-- == 0) {
            *phase = cvl_dense_phase(p, w->dense, number % w->dense);
            return true;
        }
    return false;
}

/* A task's share of plane `number`, the task being at `at`. Returns whether it has any tiles: not
 * every phase has as many positions as the first. */
static bool nth_plane(const winograd_view *v, const ptrdiff_t filter[CVL_AXES],
                      const ptrdiff_t at[CVL_AXES], ptrdiff_t number, winograd_plane *plane) {
    for (int i = CVL_AXES - 1; i > 0; i--) {
        if (!nth_dense_phase(v, i, filter[i], number % v->phases[i], &plane->phase[i]))
            return false;
        number /= v->phases[i];
        plane->at[i] = at[i];
        const ptrdiff_t tiles = cvl_ceil_div(plane->phase[i].count, v->axis[i].outputs);
        plane->tiles[i] = cvl_least(v->size[i], tiles - at[i]);
        if (plane->tiles[i] <= 0)
            return false;
    }
    plane->image = number;
    return true;
}

/* The last tap that any part may reach, those that are zero included. */
static ptrdiff_t last_tap(const cvl_winograd_axis *axis) {
    ptrdiff_t last = 0;
    for (ptrdiff_t filter = 0; filter < axis->n_filters; filter++)
        for (ptrdiff_t i = 0; i < axis->n_parts; i++) {
            const ptrdiff_t own =
                axis->filter[filter].part[i].first + (axis->transform - 1) * axis->step;
            last = own > last ? own : last;
        }
    return last;
}

/* The places that `tiles` read along an axis: from position to position are axis->step places. */
static ptrdiff_t winograd_places(const cvl_winograd_axis *axis, ptrdiff_t tiles) {
    return (tiles * axis->outputs - 1) * axis->step + last_tap(axis) + 1;
}

/* The places that a plane's share of a task reads, at most. */
static ptrdiff_t most_places(const winograd_view *v) {
    return winograd_places(&v->axis[1], v->size[1]) * winograd_places(&v->axis[2], v->size[2]);
}

/* A run of places along an axis. */
static cvl_map place_run(ptrdiff_t first, ptrdiff_t step, ptrdiff_t length, ptrdiff_t q_step) {
    return (cvl_map){.kind = CVL_SHARED,
                     .first = first,
                     .step = step,
                     .runs = 1,
                     .length = length,
                     .q_step = q_step};
}

/* Some channels of one image and where they go: element c of part p of tile t to
 * to[t*to_tile + p*channels + c], point by point. */
typedef struct winograd_inputs {
    const real *src;
    const cvl_data_strides *strides;
    ptrdiff_t channels;
    real *to;
    ptrdiff_t to_tile, to_point;
} winograd_inputs;

/* Reads a tile's places where they stand, or brings them together, with zeros outside of `in`. */
static void bring_places(input_tile *tile, const winograd_inputs *from,
                         const ptrdiff_t in[CVL_AXES], copy_kernel *copy, real *room) {
    if (from->strides->c == 1 && tile_is_inside(tile, in)) {
        tile_in_place(tile, from->src, from->strides, in);
        return;
    }
    const channel_pieces pieces = {from->channels, 0, from->channels};
    pack_channels_together(tile, room, &pieces, from->src, from->strides, in, copy);
}

/* Transforms the inputs of a plane at source depth `depth`, part by part. */
static void transform_inputs(const winograd_view *v, const ptrdiff_t filter[CVL_AXES],
                             const winograd_plane *plane, ptrdiff_t depth,
                             const winograd_inputs *inputs, copy_kernel *copy, real *room) {
    const cvl_winograd_axis *high = &v->axis[1], *wide = &v->axis[2];
    const ptrdiff_t in[] = {v->axes[0].in, v->axes[1].in, v->axes[2].in};
    input_tile tile = {.map = {place_run(depth, 1, 1, 1)}};
    for (int i = 1; i < CVL_AXES; i++) {
        const cvl_winograd_axis *axis = &v->axis[i];
        const cvl_phase *phase = &plane->phase[i];
        tile.map[i] = place_run(phase->in_first, phase->in_step / axis->step,
                                winograd_places(axis, plane->tiles[i]), axis->step);
        tile.shift[i] = plane->at[i] * axis->outputs * phase->in_step;
    }
    bring_places(&tile, inputs, in, copy, room);
    for (ptrdiff_t p = 0; p < v->parts; p++) {
        ptrdiff_t part[CVL_AXES];
        winograd_parts(v, p, part);
        const cvl_winograd_part *row = &high->filter[filter[1]].part[part[1]];
        const cvl_winograd_part *column = &wide->filter[filter[2]].part[part[2]];
        if (row->taps == 0 || column->taps == 0)
            continue;
        const real *from =
            tile.base + row->first * tile.index_step[1] + column->first * tile.index_step[2];
        real *to = inputs->to + plane->first * inputs->to_tile + p * inputs->channels;
        for (ptrdiff_t line = 0; line < plane->tiles[1]; line++)
            v->transforms->inputs(to + line * plane->tiles[2] * inputs->to_tile, inputs->to_point,
                                  inputs->to_tile, from + line * high->outputs * tile.position[1],
                                  tile.position[1], tile.position[2], plane->tiles[2],
                                  inputs->channels);
    }
}

/* Steps that are summed in registers before they are added to the sums: fewer than of a direct sum,
 * since transformed inputs have twice the size of inputs. Sums of few steps, and few of their sums,
 * err least. */
static ptrdiff_t winograd_cut(ptrdiff_t steps) {
    ptrdiff_t cut = 16;
    while (cut < 32 && cut * cut < 4 * steps)
        cut++;
    return cut;
}
