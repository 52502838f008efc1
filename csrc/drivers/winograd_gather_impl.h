/* Gather by Winograd's minimal filtering, with output channels along the lanes. Included by
 * drivers_impl.h.
 *
 * Neighbouring positions that meet the same few taps take less products together than each by
 * itself: a tile of 2x2 positions takes 16 with 3x3 taps, for 36. Inputs and weights are
 * transformed, multiplied point by point of the tile, summed over channels and parts of the kernel
 * (winograd.h; every tap of the depth has parts of its own), and the sums transformed back.
 *
 * A task takes tiles of some planes of one depth, and some blocks of output channels, a lot. It
 * brings the inputs together, or reads them where they stand; runs the product tile over tiles x
 * output channels x channels, for every point; and writes results in place, or transposes them.
 *
 * Where many tasks meet the same weights, those of some lots are transformed before. Where one task
 * has all tiles, it transforms the weights itself, of some channels just before it takes their
 * products: they need not leave the cache of the core in between.
 */

typedef struct winograd_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    winograd_view view;
    ptrdiff_t steps;                  /* of the reduction: depth taps times parts times channels */
    ptrdiff_t vectors, n_blocks;      /* of the output channels of a group */
    ptrdiff_t pitch;                  /* lanes of the widest block */
    ptrdiff_t blocks, lots;           /* blocks of a lot, at most, and lots of a filter */
    ptrdiff_t first, last;            /* lots at work, counted through groups and filters */
    ptrdiff_t own_channels;           /* whose weights a task transforms at once; 0 if all share */
    ptrdiff_t tile_pitch, tile_point; /* of transformed inputs: from tile to tile, point to point */
    ptrdiff_t sum_pitch, sum_point;   /* of sums */
    ptrdiff_t weight_point, weight_block; /* of transformed weights */
    bool moved;                           /* whether results go by way of `out` */
    bool stream;                          /* whether they are written past the caches */
    bool asks;                            /* whether tiles ask for the inputs of the next */
    bool finite;                          /* whether all results are */
    real *weights; /* of the lots at work, if they are shared: [block][point][step][lane] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} winograd_job;

/* A tile that reaches beyond the last position of an axis does not need the last point of that
 * axis: which points those are, as bits. */
enum { LAST_ROW = 1, LAST_COLUMN = 2, POINT_KINDS = 4 };

typedef struct winograd_space {
    real *tile, *inputs, *sums, *out, *bias, *kernel, *part, *weights;
    ptrdiff_t *input_row[POINT_KINDS], *sum_row[POINT_KINDS]; /* of the tiles that need a point */
    ptrdiff_t *step_row;
    cvl_term *terms;
} winograd_space;

/* Transformed weights of one block, [point][tap][part][channel][lane], of some taps of the depth
 * and some channels. */
typedef struct winograd_panel {
    real *at;
    ptrdiff_t tap, taps, channel, channels; /* the first of each, and how many */
} winograd_panel;

/* Output channels [lane, lane + lanes) of one group by one filter, at some planes of a depth. */
typedef struct winograd_task {
    ptrdiff_t group, filter[CVL_AXES];
    ptrdiff_t block, blocks, lane, lanes;
    const cvl_phase *depth;
    ptrdiff_t depth_q, first_tap, last_tap; /* taps of the depth inside the source */
    ptrdiff_t at[CVL_AXES], planes;
    ptrdiff_t tiles;               /* of all planes, */
    ptrdiff_t needed[POINT_KINDS]; /* and those that need a point */
} winograd_task;

static ptrdiff_t winograd_lane(const winograd_job *job, ptrdiff_t block) {
    return job->vectors * block / job->n_blocks * job->kernels->lanes;
}

/* The filter of a block that is counted through groups, filters and blocks; returns the group. */
static ptrdiff_t winograd_filter(const winograd_job *job, ptrdiff_t block,
                                 ptrdiff_t filter[CVL_AXES]) {
    ptrdiff_t index = block / job->n_blocks;
    for (int i = CVL_AXES - 1; i > 0; i--) {
        filter[i] = index % job->view.axis[i].n_filters;
        index /= job->view.axis[i].n_filters;
    }
    return index;
}

/* The first block of a lot, or the block after the last. */
static ptrdiff_t lot_block(const winograd_job *job, ptrdiff_t lot) {
    return lot / job->lots * job->n_blocks + lot % job->lots * job->blocks;
}

/* Blocks of a task that are summed at once. */
static ptrdiff_t sum_blocks(const winograd_job *job) {
    return job->own_channels ? 1 : job->blocks;
}

/* ---- weights -------------------------------------------------------------------------------- */

/* Weights of some channels at some taps of the depth, output channels along the lanes. */
typedef struct winograd_kernel {
    const real *at;
    ptrdiff_t channel, depth, row, column; /* steps between channels and taps */
} winograd_kernel;

/* How many taps of the depth are brought at once: where all taps of a channel stand together, a
 * few, for those of one alone begin and end within cache lines. */
static ptrdiff_t depths_brought(const cvl_gather *g) {
    enum { few = 4 };
    const bool adjoin = taps_adjoin(g->axis, g->w_k) && g->w_k[0] == g->axis[1].k * g->axis[2].k;
    return adjoin ? cvl_even_size(g->axis[0].k, few) : 1;
}

/* Brings the kernels of some channels at so many taps of the depth together, [channel][tap][lane],
 * from w on, or leaves them where they stand. */
static winograd_kernel bring_kernel(const winograd_job *job, const real *w, ptrdiff_t channels,
                                    ptrdiff_t depths, ptrdiff_t lanes, ptrdiff_t filled,
                                    real *room) {
    const cvl_gather *g = job->g;
    const ptrdiff_t columns = g->axis[2].k, plane = g->axis[1].k * columns, taps = depths * plane;
    if (g->w_oc == 1 && filled == lanes)
        return (winograd_kernel){w, g->w_ic, g->w_k[0], g->w_k[1], g->w_k[2]};
    for (ptrdiff_t i = 0; i < channels * taps && filled < lanes; i++)
        memset(room + i * lanes + filled, 0, (size_t)(lanes - filled) * sizeof(real));
    if (taps_adjoin(g->axis, g->w_k)) {
        const bool follow = g->w_ic == taps; /* channels do, each with its taps */
        const ptrdiff_t lots = follow ? 1 : channels, length = follow ? channels * taps : taps;
        for (ptrdiff_t i = 0; i < lots; i++)
            job->kernels->copy(room + i * taps * lanes, 1, lanes, w + i * g->w_ic, g->w_oc, 1,
                               filled, length);
    } else
        for (ptrdiff_t i = 0; i < plane; i++)
            job->kernels->copy(room + i * lanes, plane * lanes, 1,
                               w + i / columns * g->w_k[1] + i % columns * g->w_k[2], g->w_ic,
                               g->w_oc, channels, filled);
    return (winograd_kernel){room, taps * lanes, plane * lanes, columns * lanes, lanes};
}

/* The taps of part of a filter along one axis: where the first of them stands in the kernel, and
 * the step to the next; returns how many there are. */
static ptrdiff_t part_taps(const winograd_job *job, int axis, ptrdiff_t filter, ptrdiff_t part,
                           ptrdiff_t *first, ptrdiff_t *step) {
    const cvl_winograd_axis *a = &job->view.axis[axis];
    const cvl_winograd_part *p = &a->filter[filter].part[part];
    const ptrdiff_t *order = job->g->axis[axis].tap_order + a->filter[filter].tap_first + p->first;
    *first = p->taps > 0 ? order[0] : 0;
    *step = p->taps > 1 ? order[a->step] - order[0] : 0;
    return p->taps;
}

/* Transforms part of a filter, of one channel. Taps that it does not have are zero. */
static void transform_part(const winograd_job *job, const winograd_space *space,
                           const ptrdiff_t filter[CVL_AXES], ptrdiff_t number,
                           const winograd_kernel *kernel, ptrdiff_t channel, ptrdiff_t lanes,
                           real *to) {
    const winograd_kernels *transforms = job->view.transforms;
    const ptrdiff_t high = job->view.axis[1].transform, wide = job->view.axis[2].transform;
    ptrdiff_t part[CVL_AXES], row, column, row_step, column_step;
    winograd_parts(&job->view, number, part);
    const ptrdiff_t rows = part_taps(job, 1, filter[1], part[1], &row, &row_step);
    const ptrdiff_t columns = part_taps(job, 2, filter[2], part[2], &column, &column_step);
    const real *from =
        kernel->at + channel * kernel->channel + row * kernel->row + column * kernel->column;
    row_step *= kernel->row;
    column_step *= kernel->column;
    if (rows == high && columns == wide) {
        transforms->weights(to, job->weight_point, from, row_step, column_step, lanes);
        return;
    }
    for (ptrdiff_t i = 0; i < high; i++)
        for (ptrdiff_t j = 0; j < wide; j++) {
            real *tap = space->part + (i * wide + j) * lanes;
            if (i < rows && j < columns)
                memcpy(tap, from + i * row_step + j * column_step, (size_t)lanes * sizeof(real));
            else
                memset(tap, 0, (size_t)lanes * sizeof(real));
        }
    transforms->weights(to, job->weight_point, space->part, wide * lanes, lanes, lanes);
}

/* Where the weights of a channel in part of a filter stand in a panel. */
static ptrdiff_t panel_step(const winograd_job *job, const winograd_panel *panel, ptrdiff_t tap,
                            ptrdiff_t part, ptrdiff_t channel) {
    return ((tap - panel->tap) * job->view.parts + part) * panel->channels + channel -
           panel->channel;
}

/* Transforms the weights of a strip of input channels, at some taps of the depth, of a block of
 * output channels. */
static void transform_weights(const winograd_job *job, const winograd_space *space, ptrdiff_t block,
                              const winograd_panel *panel, ptrdiff_t tap, ptrdiff_t taps,
                              ptrdiff_t channel) {
    const cvl_gather *g = job->g;
    ptrdiff_t filter[CVL_AXES];
    const ptrdiff_t group = winograd_filter(job, block, filter);
    const ptrdiff_t own = block % job->n_blocks, first = winograd_lane(job, own);
    const ptrdiff_t lanes = winograd_lane(job, own + 1) - first;
    const ptrdiff_t channels = cvl_least(strip, panel->channel + panel->channels - channel);
    const real *w = (const real *)g->w + group * g->w_group + first * g->w_oc + channel * g->w_ic +
                    tap * g->w_k[0];
    winograd_kernel kernel =
        bring_kernel(job, w, channels, taps, lanes, cvl_least(lanes, g->oc - first), space->kernel);
    for (const ptrdiff_t end = tap + taps; tap < end; tap++, kernel.at += kernel.depth)
        for (ptrdiff_t p = 0; p < job->view.parts; p++) {
            real *to = panel->at + panel_step(job, panel, tap, p, channel) * job->pitch;
            for (ptrdiff_t i = 0; i < channels; i++)
                transform_part(job, space, filter, p, &kernel, i, lanes, to + i * job->pitch);
        }
}

/* ---- products ------------------------------------------------------------------------------- */

/* Lists the reduction of a point: the channels of a panel in every part that takes part in it, at
 * depths inside the source. Panel after panel, the order is that of all channels at once. */
static ptrdiff_t winograd_terms(const winograd_job *job, const winograd_task *t,
                                const winograd_panel *panel, ptrdiff_t point, ptrdiff_t cut,
                                cvl_term *terms) {
    const cvl_gather *g = job->g;
    const ptrdiff_t parts = job->view.parts, end = panel->channel + panel->channels;
    ptrdiff_t n = 0;
    for (ptrdiff_t tap = t->first_tap; tap < t->last_tap; tap++) {
        const ptrdiff_t k = g->axis[0].tap_order[t->depth->tap_first + tap];
        if (k < panel->tap || k >= panel->tap + panel->taps)
            continue;
        for (ptrdiff_t i = panel->channel; i < end; i += cut)
            for (ptrdiff_t p = 0; p < parts; p++)
                if (part_meets(&job->view, t->filter, p, point))
                    terms[n++] = (cvl_term){.a = (tap * parts + p) * g->ic + i,
                                            .b = panel_step(job, panel, k, p, i),
                                            .length = cvl_least(cut, end - i),
                                            .b_step = job->pitch,
                                            .flush = true};
    }
    return n;
}

/* Of the last points of an axis those that outputs of its last position alone need. */
static int point_kind(const winograd_view *v, ptrdiff_t point) {
    const ptrdiff_t row = point / v->axis[2].points, column = point % v->axis[2].points;
    return (v->axis[1].outputs > 1 && row == v->axis[1].points - 1 ? LAST_ROW : 0) |
           (v->axis[2].outputs > 1 && column == v->axis[2].points - 1 ? LAST_COLUMN : 0);
}

/* Steps that are summed in registers. */
static ptrdiff_t step_cut(const winograd_job *job) {
    return cvl_even_size(job->g->ic, winograd_cut(job->steps));
}

/* Lists the tiles of a plane that need each kind of point. */
static void list_tiles(const winograd_job *job, winograd_task *t, const winograd_plane *plane,
                       const winograd_space *space) {
    const ptrdiff_t high = job->view.axis[1].outputs, wide = job->view.axis[2].outputs;
    for (ptrdiff_t i = 0; i < plane->tiles[1] * plane->tiles[2]; i++) {
        const ptrdiff_t row = plane->at[1] + i / plane->tiles[2];
        const ptrdiff_t column = plane->at[2] + i % plane->tiles[2];
        const int without = ((row + 1) * high > plane->phase[1].count ? LAST_ROW : 0) |
                            ((column + 1) * wide > plane->phase[2].count ? LAST_COLUMN : 0);
        for (int kind = 0; kind < POINT_KINDS; kind++)
            if (!(kind & without)) {
                const ptrdiff_t n = t->needed[kind]++;
                space->input_row[kind][n] = (plane->first + i) * job->tile_pitch;
                space->sum_row[kind][n] = (plane->first + i) * job->sum_pitch;
            }
    }
}

/* Adds the products of a point to its sums, or starts them: a pass of terms, whose weights stay in
 * the cache, at a time. */
static void multiply_point(const winograd_job *job, const winograd_task *t,
                           const winograd_space *space, const winograd_panel *panel,
                           ptrdiff_t block, ptrdiff_t point, bool start) {
    const asks ask = {.a = job->asks};
    const ptrdiff_t cut = step_cut(job);
    const ptrdiff_t most = pass_steps(cut, job->pitch, cvl_l2_bytes() / 16) / cut;
    const ptrdiff_t n_terms = winograd_terms(job, t, panel, point, cut, space->terms);
    const int kind = point_kind(&job->view, point);
    const ptrdiff_t lane = winograd_lane(job, block % job->n_blocks);
    const ptrdiff_t width = winograd_lane(job, block % job->n_blocks + 1) - lane;
    real *const c = space->sums + point * job->sum_point + lane - t->lane;
    for (ptrdiff_t term = 0; term < n_terms || start; term += most, start = false) {
        const product products = {.c = c,
                                  .c_row = space->sum_row[kind],
                                  .init = start ? NULL : c,
                                  .init_row = space->sum_row[kind],
                                  .a = space->inputs + point * job->tile_point,
                                  .a_row = space->input_row[kind],
                                  .a_step = 1,
                                  .b = panel->at + point * job->weight_point,
                                  .b_row = space->step_row,
                                  .terms = space->terms + term,
                                  .n_terms = cvl_least(most, n_terms - term)};
        multiply(job->kernels, &products, t->needed[kind], width, &ask);
    }
}

/* The sums of every point, of weights that are transformed. */
static void multiply_shared(const winograd_job *job, const winograd_task *t,
                            const winograd_space *space) {
    const ptrdiff_t first = lot_block(job, job->first);
    for (ptrdiff_t point = 0; point < job->view.points; point++)
        for (ptrdiff_t block = t->block; block < t->block + t->blocks; block++) {
            const winograd_panel panel = {.at = job->weights + (block - first) * job->weight_block,
                                          .taps = job->g->axis[0].k,
                                          .channels = job->g->ic};
            multiply_point(job, t, space, &panel, block, point, true);
        }
}

/* The sums of every point of one block, whose weights are transformed for that, in the order of
 * shared ones. The depth meets a tap: padding alone is not summed. */
static void multiply_own(const winograd_job *job, const winograd_task *t,
                         const winograd_space *space) {
    const cvl_gather *g = job->g;
    bool start = true;
    for (ptrdiff_t tap = t->first_tap; tap < t->last_tap; tap++)
        for (ptrdiff_t channel = 0; channel < g->ic; channel += job->own_channels) {
            const winograd_panel panel = {.at = space->weights,
                                          .tap = g->axis[0].tap_order[t->depth->tap_first + tap],
                                          .taps = 1,
                                          .channel = channel,
                                          .channels =
                                              cvl_least(job->own_channels, g->ic - channel)};
            for (ptrdiff_t i = 0; i < panel.channels; i += strip)
                transform_weights(job, space, t->block, &panel, panel.tap, 1, channel + i);
            for (ptrdiff_t point = 0; point < job->view.points; point++)
                multiply_point(job, t, space, &panel, t->block, point, start);
            start = false;
        }
}

/* ---- results -------------------------------------------------------------------------------- */

/* Positions of a plane's share along an axis: the last tile may reach beyond the last of them. */
static ptrdiff_t plane_positions(const winograd_view *v, const winograd_plane *plane, int axis) {
    const ptrdiff_t outputs = v->axis[axis].outputs;
    return cvl_least(plane->tiles[axis] * outputs,
                     plane->phase[axis].count - plane->at[axis] * outputs);
}

/* Moves the results of a plane from `out`, line by line or all at once. */
static void move_results(const winograd_job *job, const winograd_task *t,
                         const winograd_plane *plane, const real *out, real *dst) {
    const cvl_data_strides *to = &job->g->dst_strides;
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    const ptrdiff_t rows = plane_positions(&job->view, plane, 1);
    const ptrdiff_t columns = plane_positions(&job->view, plane, 2);
    const ptrdiff_t line = plane->phase[1].out_step * to->s[1];
    const ptrdiff_t step = plane->phase[2].out_step * to->s[2];
    const ptrdiff_t pitch = job->sum_pitch, room = plane->tiles[2] * job->view.axis[2].outputs;
    if (columns == room && line == columns * step) {
        copy(dst, to->c, step, out, 1, pitch, t->lanes, rows * columns);
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row++)
        copy(dst + row * line, to->c, step, out + row * room * pitch, 1, pitch, t->lanes, columns);
}

/* Transforms the sums of a plane back. Returns whether all results are finite. */
static bool transform_outputs(const winograd_job *job, const winograd_task *t,
                              const winograd_plane *plane, const winograd_space *space) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *to = &g->dst_strides;
    const cvl_phase *height = &plane->phase[1], *width = &plane->phase[2];
    const ptrdiff_t high = job->view.axis[1].outputs, wide = job->view.axis[2].outputs;
    const ptrdiff_t rows = plane_positions(&job->view, plane, 1);
    const ptrdiff_t columns = plane_positions(&job->view, plane, 2);
    const real *sums = space->sums + plane->first * job->sum_pitch;
    real *const dst = (real *)g->dst + plane->image * to->n + (t->group * g->oc + t->lane) * to->c +
                      (t->depth->out_first + t->depth_q * t->depth->out_step) * to->s[0] +
                      (height->out_first + plane->at[1] * high * height->out_step) * to->s[1] +
                      (width->out_first + plane->at[2] * wide * width->out_step) * to->s[2];
    const ptrdiff_t line =
        job->moved ? plane->tiles[2] * wide * job->sum_pitch : height->out_step * to->s[1];
    const ptrdiff_t step = job->moved ? job->sum_pitch : width->out_step * to->s[2];
    real *const y = job->moved ? space->out : dst;
    const ptrdiff_t whole = columns / wide; /* tiles of a row */
    bool finite = true;
    for (ptrdiff_t row = 0; row * high < rows; row++)
        for (ptrdiff_t tile = 0, tiles; tile < plane->tiles[2]; tile += tiles) {
            tiles = tile < whole ? whole : 1;
            finite &= job->view.transforms->outputs(
                y + row * high * line + tile * wide * step, line, step,
                cvl_least(high, rows - row * high), cvl_least(wide, columns - tile * wide),
                sums + (row * plane->tiles[2] + tile) * job->sum_pitch, job->sum_point,
                job->sum_pitch, space->bias, tiles, t->lanes, job->stream && !job->moved);
        }
    if (job->moved)
        move_results(job, t, plane, space->out, dst);
    return finite;
}

/* ---- tasks ---------------------------------------------------------------------------------- */

/* The parts of a thread's workspace; without memory, only its size. */
static winograd_space winograd_layout(const winograd_job *job, cvl_arena *memory) {
    const cvl_gather *g = job->g;
    const winograd_view *v = &job->view;
    const ptrdiff_t tiles = tiles_together(v);
    const ptrdiff_t positions = v->size[1] * v->axis[1].outputs * v->size[2] * v->axis[2].outputs;
    winograd_space space;
    space.tile = cvl_take(memory, most_places(v) * g->ic, sizeof(real));
    space.inputs = cvl_take(memory, v->points * job->tile_point, sizeof(real));
    space.sums = cvl_take(memory, v->points * job->sum_point, sizeof(real));
    space.out = cvl_take(memory, job->moved ? positions * job->sum_pitch : 0, sizeof(real));
    space.bias = cvl_take(memory, job->sum_pitch, sizeof(real));
    space.kernel = cvl_take(
        memory, strip * depths_brought(g) * g->axis[1].k * g->axis[2].k * job->pitch, sizeof(real));
    space.part =
        cvl_take(memory, v->axis[1].transform * v->axis[2].transform * job->pitch, sizeof(real));
    space.weights = cvl_take(memory, job->own_channels ? job->weight_block : 0, sizeof(real));
    for (int kind = 0; kind < POINT_KINDS; kind++) {
        space.input_row[kind] = cvl_take(memory, tiles, sizeof(ptrdiff_t));
        space.sum_row[kind] = cvl_take(memory, tiles, sizeof(ptrdiff_t));
    }
    space.step_row = cvl_take(memory, job->steps, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, job->steps, sizeof(cvl_term));
    return space;
}

static winograd_space winograd_space_of(const winograd_job *job, int thread) {
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    return winograd_layout(job, &memory);
}

static void weight_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const winograd_job *job = context;
    const winograd_space space = winograd_space_of(job, thread);
    const ptrdiff_t strips = cvl_ceil_div(job->g->ic, strip), taps = job->g->axis[0].k;
    const ptrdiff_t depths = depths_brought(job->g), lots = cvl_ceil_div(taps, depths);
    for (ptrdiff_t i = begin; i < end; i++) {
        const ptrdiff_t block = i / strips / lots, tap = i / strips % lots * depths;
        const winograd_panel panel = {
            .at = job->weights + block * job->weight_block, .taps = taps, .channels = job->g->ic};
        transform_weights(job, &space, lot_block(job, job->first) + block, &panel, tap,
                          cvl_least(depths, taps - tap), i % strips * strip);
    }
}

/* Takes blocks [block, block + blocks) of those of a task's filter. */
static void take_blocks(const winograd_job *job, winograd_task *t, ptrdiff_t block,
                        ptrdiff_t blocks) {
    const ptrdiff_t own = block % job->n_blocks;
    t->block = block;
    t->blocks = cvl_least(blocks, job->n_blocks - own);
    t->lane = winograd_lane(job, own);
    t->lanes = cvl_least(winograd_lane(job, own + t->blocks), job->g->oc) - t->lane;
}

/* The task of a number, of those of the lots at work. */
static winograd_task nth_winograd_task(const winograd_job *job, ptrdiff_t index) {
    const cvl_gather *g = job->g;
    winograd_task t = {.depth = g->axis[0].phases};
    index = nth_cut(&job->view, index, t.at, &t.planes);
    t.depth_q = index % g->axis[0].out;
    for (; t.depth_q >= t.depth->count; t.depth++)
        t.depth_q -= t.depth->count;
    taps_inside(t.depth, t.depth_q, g->axis[0].in, &t.first_tap, &t.last_tap);

    take_blocks(job, &t, lot_block(job, job->first + index / g->axis[0].out), job->blocks);
    t.group = winograd_filter(job, t.block, t.filter);
    return t;
}

/* Brings and transforms the inputs of a task, plane by plane. */
static void bring_planes(const winograd_job *job, winograd_task *t, const winograd_space *space) {
    const cvl_gather *g = job->g;
    winograd_plane plane;
    for (ptrdiff_t i = 0; i < t->planes; i++) {
        if (!nth_plane(&job->view, t->filter, t->at, t->at[0] + i, &plane))
            continue;
        plane.first = t->tiles;
        t->tiles += plane.tiles[1] * plane.tiles[2];
        list_tiles(job, t, &plane, space);
        for (ptrdiff_t tap = t->first_tap; tap < t->last_tap; tap++) {
            const winograd_inputs inputs = {.src = (const real *)g->src +
                                                   plane.image * g->src_strides.n +
                                                   t->group * g->ic * g->src_strides.c,
                                            .strides = &g->src_strides,
                                            .channels = g->ic,
                                            .to = space->inputs + tap * job->view.parts * g->ic,
                                            .to_tile = job->tile_pitch,
                                            .to_point = job->tile_point};
            const ptrdiff_t depth =
                t->depth->in_first + t->depth_q * t->depth->in_step + tap * t->depth->tap_step;
            transform_inputs(&job->view, t->filter, &plane, depth, &inputs, job->kernels->copy,
                             space->tile);
        }
    }
}

/* The results of a task's blocks, whose inputs are transformed. Returns whether all are finite. */
static bool compute_blocks(const winograd_job *job, const winograd_task *t,
                           const winograd_space *space) {
    const cvl_gather *g = job->g;
    const ptrdiff_t channel = t->group * g->oc + t->lane;
    for (ptrdiff_t o = 0; o < t->lanes; o++)
        space->bias[o] = g->bias ? ((const real *)g->bias)[(channel + o) * g->bias_stride] : 0;
    if (job->own_channels)
        multiply_own(job, t, space);
    else
        multiply_shared(job, t, space);

    bool finite = true;
    winograd_plane plane = {.first = 0};
    for (ptrdiff_t i = 0; i < t->planes; i++)
        if (nth_plane(&job->view, t->filter, t->at, t->at[0] + i, &plane)) {
            finite &= transform_outputs(job, t, &plane, space);
            plane.first += plane.tiles[1] * plane.tiles[2];
        }
    return finite;
}

/* Does a task. Returns whether all its results are finite. */
static bool run_winograd_task(const winograd_job *job, winograd_task *t,
                              const winograd_space *space) {
    const ptrdiff_t first = t->block, end = first + t->blocks;
    bool finite = true;
    bring_planes(job, t, space);
    for (ptrdiff_t block = first; block < end; block += sum_blocks(job)) {
        take_blocks(job, t, block, cvl_least(sum_blocks(job), end - block));
        finite &= compute_blocks(job, t, space);
    }
    return finite;
}

static void winograd_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    winograd_job *job = context;
    const winograd_space space = winograd_space_of(job, thread);
    for (ptrdiff_t i = 0; i < job->steps; i++)
        space.step_row[i] = i * job->pitch;
    bool finite = true;
    for (ptrdiff_t i = begin; i < end; i++) {
        winograd_task t = nth_winograd_task(job, i);
        finite &= run_winograd_task(job, &t, &space);
    }
    if (!finite)
        __atomic_store_n(&job->finite, false, __ATOMIC_RELAXED);
    end_stream(job->stream);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Cuts all tiles into tasks of at most so many. */
static void cut_winograd(winograd_job *job, ptrdiff_t most) {
    winograd_view *v = &job->view;
    cut_planes(v, most);
    job->tile_pitch = channel_room(job->steps);
    job->sum_pitch = channel_room(sum_blocks(job) * job->pitch);
    job->tile_point = channel_room(tiles_together(v) * job->tile_pitch);
    /* Of several parts they are read in pieces too short for the processor's prefetchers. */
    job->asks = v->parts > 1 && leave_level2((double)(v->points * job->tile_point));
    job->sum_point = channel_room(tiles_together(v) * job->sum_pitch);
}

/* What a task needs for a tile. */
static ptrdiff_t tile_bytes(const winograd_job *job) {
    const winograd_view *v = &job->view;
    const ptrdiff_t lanes = sum_blocks(job) * job->pitch;
    const ptrdiff_t outputs = v->axis[1].outputs * v->axis[2].outputs;
    const ptrdiff_t places = v->axis[1].step * v->axis[2].step * outputs * 3 / 2;
    return (v->points * (job->steps + lanes) + places * job->g->ic +
            (job->moved ? outputs * lanes : 0)) *
           (ptrdiff_t)sizeof(real);
}

static ptrdiff_t all_tiles(const winograd_view *v) {
    return v->all[0] * v->all[1] * v->all[2];
}

/* Cuts the blocks of every filter into as few lots as keep the threads busy. Returns whether they
 * do, to four fifths. */
static bool cut_lots(winograd_job *job, ptrdiff_t filters, ptrdiff_t threads) {
    for (ptrdiff_t lots = 1; lots <= job->n_blocks; lots++) {
        job->blocks = cvl_even_size(job->n_blocks, cvl_ceil_div(job->n_blocks, lots));
        job->lots = cvl_ceil_div(job->n_blocks, job->blocks);
        const ptrdiff_t blocks = cvl_ceil_div(filters * job->lots, threads) * job->blocks;
        if (4 * blocks * threads <= 5 * filters * job->n_blocks)
            return true;
    }
    return false;
}

/* Tasks of all tiles, which transform weights themselves, as many channels at a time as keep half
 * of the level-2 cache free and find room beside all tiles. Returns whether that can be: it takes
 * enough lots, and memory. */
static bool plan_own(winograd_job *job, ptrdiff_t filters, ptrdiff_t most_bytes, int threads) {
    const ptrdiff_t cut = step_cut(job), tiles = all_tiles(&job->view);
    const ptrdiff_t channel_bytes =
        job->view.points * job->view.parts * job->pitch * (ptrdiff_t)sizeof(real);
    if (job->g->axis[0].out > 1 || !cut_lots(job, filters, threads))
        return false;
    job->own_channels = cut; /* one block of sums at a time */
    const ptrdiff_t one_cut = cut * channel_bytes, left = most_bytes - tiles * tile_bytes(job);
    const ptrdiff_t cuts = cvl_least(cvl_most(cvl_l2_bytes() / 2, one_cut), left) / one_cut;
    job->own_channels = cuts < 1 ? 0 : cvl_least(cuts * cut, job->g->ic);
    if (!job->own_channels)
        return false;
    job->weight_point = channel_room(job->view.parts * job->own_channels * job->pitch);
    job->weight_block = job->view.points * job->weight_point;
    cut_winograd(job, tiles);
    return true;
}

/* Weights that tasks share: as much as the weights themselves, since every lot is one more wait of
 * the threads for each other. So many tiles together that the weights, which all of them meet, are
 * not most of what is read, and that what they need stays near: as much for level-2 caches of
 * 512 KiB as of 1 MiB. Returns how many lots are at work at a time. */
static ptrdiff_t plan_shared(winograd_job *job, ptrdiff_t filters, ptrdiff_t weight_bytes) {
    enum { least_tiles = 16, enough_bytes = 3 << 19 };
    job->weight_point = channel_room(job->steps * job->pitch);
    job->weight_block = job->view.points * job->weight_point;
    const ptrdiff_t block_bytes = job->weight_block * (ptrdiff_t)sizeof(real);
    const ptrdiff_t budget = (ptrdiff_t)cvl_winograd_budget((double)weight_bytes);
    const ptrdiff_t fitting = budget > block_bytes ? budget / block_bytes : 1;
    job->blocks = fitting < job->n_blocks ? cvl_even_size(job->n_blocks, fitting) : job->n_blocks;
    job->lots = cvl_ceil_div(job->n_blocks, job->blocks);

    const ptrdiff_t tasks_wanted = cvl_enough_tasks(job->g->work);
    const ptrdiff_t tiles = all_tiles(&job->view) * job->g->axis[0].out;
    ptrdiff_t most = enough_bytes / tile_bytes(job);
    if (tasks_wanted > 1)
        most = cvl_least(most, cvl_ceil_div(tiles, tasks_wanted));
    cut_winograd(job, most > least_tiles ? most : least_tiles);
    return job->lots > 1 ? 1 : cvl_least(fitting / job->n_blocks, filters);
}

/* Lets all positions meet all weights: those of some lots at a time, which are transformed first
 * if tasks share them. */
static void run_lots(winograd_job *job, ptrdiff_t all_lots, ptrdiff_t at_work, ptrdiff_t cuts,
                     int threads) {
    const ptrdiff_t lots = cvl_ceil_div(job->g->axis[0].k, depths_brought(job->g));
    const ptrdiff_t strips = lots * cvl_ceil_div(job->g->ic, strip);
    for (job->first = 0; job->first < all_lots; job->first = job->last) {
        job->last = cvl_least(job->first + at_work, all_lots);
        const ptrdiff_t blocks = lot_block(job, job->last) - lot_block(job, job->first);
        if (!job->own_channels)
            cvl_parallel_for(blocks * strips, 1, threads, weight_tasks, job);
        cvl_parallel_for((job->last - job->first) * cuts, 1, threads, winograd_tasks, job);
    }
}

/* A lot of weights; the context is whether all results are finite. */
static cvl_status gather_winograd(const cvl_gather *g, const kernel_table *kernels, void *context) {
    bool *finite = context;
    winograd_job job = {.g = g, .kernels = kernels, .finite = true};
    job.view = view_winograd(kernels, g->axis, g->n);
    job.stream = stream_results(g);
    job.moved = g->dst_strides.c != 1;
    job.steps = g->axis[0].k * job.view.parts * g->ic;
    job.vectors = cvl_ceil_div(g->oc, kernels->lanes);
    job.n_blocks = cvl_ceil_div(job.vectors, kernels->vectors);
    job.pitch = cvl_ceil_div(job.vectors, job.n_blocks) * kernels->lanes;
    const ptrdiff_t filters = g->groups * job.view.axis[1].n_filters * job.view.axis[2].n_filters;
    const ptrdiff_t weight_bytes =
        g->groups * g->oc * g->ic * kernel_taps(g) * (ptrdiff_t)sizeof(real);
    int threads = cvl_threads_for(filters * job.n_blocks, g->work);
    const ptrdiff_t own_bytes = (ptrdiff_t)cvl_winograd_own_bytes((double)weight_bytes, threads);
    const bool own = plan_own(&job, filters, own_bytes, threads);
    const ptrdiff_t at_work = own ? filters * job.lots : plan_shared(&job, filters, weight_bytes);

    cvl_arena arena = {0};
    winograd_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;
    const ptrdiff_t *cut = job.view.cuts, cuts = g->axis[0].out * cut[0] * cut[1] * cut[2];
    const ptrdiff_t shared =
        own ? 0 : cvl_part_bytes(at_work * job.blocks * job.weight_block, sizeof(real));
    threads = cvl_threads_for(cuts * at_work, g->work);
    char *const memory = cvl_alloc_workspace(shared, job.workspace_bytes, &threads);
    if (!memory)
        return CVL_NO_MEMORY;
    job.weights = (real *)memory;
    job.workspace = memory + shared;
    run_lots(&job, filters * job.lots, at_work, cuts, threads);
    cvl_free(memory);
    *finite &= job.finite;
    return CVL_OK;
}

cvl_status
CVL_TYPED(cvl_gather_winograd)(const cvl_gather *g, const cvl_kernels *all_kernels, bool *finite) {
    *finite = true;
    return gather_lots(g, all_kernels->CVL_DTYPE, gather_winograd, finite);
}

void CVL_TYPED(cvl_take_unusual)(const cvl_gather *g, const cvl_gather *again) {
    const cvl_data_strides *to = &g->dst_strides, *from = &again->dst_strides;
    const ptrdiff_t size[] = {g->axis[0].out, g->axis[1].out, g->axis[2].out};
    const ptrdiff_t places = size[0] * size[1] * size[2], channels = g->groups * g->oc;
    for (ptrdiff_t i = 0; i < g->n * places; i++) {
        const ptrdiff_t n = i / places, d = i / (size[1] * size[2]) % size[0];
        const ptrdiff_t h = i / size[2] % size[1], w = i % size[2];
        real *dst = (real *)g->dst + n * to->n + d * to->s[0] + h * to->s[1] + w * to->s[2];
        const real *src = (const real *)again->dst + i * from->s[2];
        for (ptrdiff_t c = 0; c < channels; c++)
            if (dst[c * to->c] - dst[c * to->c] != 0) /* infinite, or NaN */
                dst[c * to->c] = src[c];
    }
}
