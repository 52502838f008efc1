/* Gather with channels of several groups along the lanes, of groups as many channels wide in as
 * out: of one, which is depthwise convolution, or of a few. Included by drivers_impl.h.
 *
 * A task takes a block of rows and columns of one image, of all phases, and a block of channels.
 * Channels that stand together are read and written where they do; but inputs whose lines would not
 * stay in the level-1 cache are brought together before. Else a vector of them, or a few, is
 * brought together in a tile, and the results are parted again: so planes too small to fill vectors
 * with positions fill them.
 *
 * No padding is stored. A row is summed over the taps whose rows lie inside the source, and the
 * lane tile is told where a row ends.
 */

enum { rows_in_place = 4 }; /* share their inputs in the level-1 cache */

typedef struct lane_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    bool in_place;             /* whether results are written where they stand, */
    bool brings;               /* and whether inputs are brought together */
    bool stream;               /* whether results are written past the caches, */
    bool staged;               /* a few rows at a time, which are brought together first */
    bool asks;                 /* whether tasks ask for what the next depth reads, not the tiles */
    bool sweeps;               /* whether sweep tiles are used for lane tiles */
    bool spreads;              /* whether all phases are computed at once, and where in all that */
    ptrdiff_t shift[CVL_AXES]; /* the inputs reach the first output stands */
    ptrdiff_t n_blocks, pitch; /* of channels; elements from tap to tap of the weights */
    ptrdiff_t rows, columns;   /* positions of a task, in every phase */
    ptrdiff_t n_depths, n_rows, n_columns; /* parts of the axes */
    ptrdiff_t tile_places, tile_pitch, out_places;
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} lane_job;

/* How the taps of one width phase are walked. Positions and taps step together, `step` sources at a
 * time: every parts-th position and every classes-th tap, so that what one tap reads for a position
 * the next reads for its neighbour. */
typedef struct lane_walk {
    ptrdiff_t parts, classes, step;
} lane_walk;

typedef struct lane_line {
    const cvl_phase *phase;
    lane_walk walk;
    ptrdiff_t w_step;
    const cvl_lane_run *runs;
    ptrdiff_t row_runs; /* to a row of taps */
} lane_line;

/* Where sources stand: (s - first)/step*stride from base on along each axis. */
typedef struct lane_view {
    const real *base;
    ptrdiff_t first[CVL_AXES], step[CVL_AXES], stride[CVL_AXES];
} lane_view;

typedef struct lane_task {
    ptrdiff_t n, block, depth, row, column; /* of the positions: the first ones */
    ptrdiff_t first, skip, channels;        /* read from first on, written from first + skip on */
    ptrdiff_t lanes;                        /* that are computed */
} lane_task;

/* One phase of depth and height of a task, as the lane tile sees it. */
typedef struct lane_slab {
    const cvl_phase *depth, *height;
    ptrdiff_t first, last; /* taps of the depth that lie inside the source */
    lane_view view;
    ptrdiff_t rows, columns;
    ptrdiff_t channels;
    real *dst; /* of the first row and of the first column of all phases */
    ptrdiff_t dst_row, dst_column, dst_origin;
    ptrdiff_t tile_row; /* from row to row of what a lane tile writes */
} lane_slab;

/* A thread's workspace, the channels whose weights it holds, and the slab whose taps are listed. */
typedef struct lane_space {
    real *tile, *out, *weights, *bias;
    real *filters; /* of one input of every group, as they stand in the weights */
    cvl_lane_run *runs;
    lane_line *lines;
    ptrdiff_t block;
    lane_slab held;
} lane_space;

static ptrdiff_t lane_channels(const cvl_gather *g) {
    return g->groups * g->oc;
}

/* Lays a thread's workspace out; with memory NULL, says in *bytes how large it is. */
static lane_space lane_layout(const lane_job *job, char *memory, ptrdiff_t *bytes) {
    const ptrdiff_t taps = kernel_taps(job->g);
    lane_space space = {.block = -1};
    cvl_arena arena = {.memory = memory};
    space.tile = cvl_take(&arena, cvl_scale_bytes(job->tile_places, job->tile_pitch), sizeof(real));
    space.out = cvl_take(&arena, cvl_scale_bytes(job->out_places, job->pitch), sizeof(real));
    space.weights = cvl_take(&arena, cvl_scale_bytes(taps * job->g->ic, job->pitch), sizeof(real));
    space.bias = cvl_take(&arena, job->pitch, sizeof(real));
    space.filters =
        cvl_take(&arena, job->g->ic > 1 ? cvl_scale_bytes(taps, job->pitch) : 0, sizeof(real));
    space.runs = cvl_take(&arena, taps, sizeof *space.runs);
    space.lines = cvl_take(&arena, job->g->axis[2].n_phases, sizeof *space.lines);
    *bytes = arena.bytes;
    return space;
}

/* Where a tap stands in the weights. */
static ptrdiff_t weight_tap(const cvl_gather *g, ptrdiff_t tap) {
    const ptrdiff_t kh = g->axis[1].k, kw = g->axis[2].k;
    return tap % kw * g->w_k[2] + tap / kw % kh * g->w_k[1] + tap / kw / kh * g->w_k[0];
}

/* weights[input of its group][tap][channel] of a block of channels. */
static void bring_filters(const lane_job *job, const lane_space *space, const lane_task *task) {
    const cvl_gather *g = job->g;
    copy_kernel *const copy = job->kernels->copy;
    const ptrdiff_t width = g->oc, channels = task->channels, pitch = job->pitch;
    const ptrdiff_t taps = kernel_taps(g), plane = taps * pitch;
    const ptrdiff_t lane = width == 1 ? g->w_group : g->w_oc;
    const bool even = g->w_group == width * lane;
    const bool follow =
        g->w_k[2] == 1 && g->w_k[1] == g->axis[2].k && g->w_k[0] == g->axis[1].k * g->axis[2].k;
    const real *const w = (const real *)g->w + task->first / width * g->w_group;
    real *const to = space->weights;
    if (!even && (!follow || lane != taps)) { /* lanes that are so many in of their groups */
        for (ptrdiff_t o = 0; o < width; o++)
            for (ptrdiff_t t = 0; t < taps; t++)
                copy(to + t * pitch + o, plane, width, w + o * lane + weight_tap(g, t), g->w_ic,
                     g->w_group, g->ic, channels / width);
        return;
    }
    for (ptrdiff_t i = 0; i < g->ic; i++) {
        const real *filters = w + i * g->w_ic;
        if (!even) {
            for (ptrdiff_t c = 0; c < channels; c += width)
                copy(space->filters + c * taps, 0, 1, filters + c / width * g->w_group, 0, 1, 1,
                     width * taps);
            filters = space->filters;
        }
        if (follow)
            copy(to + i * plane, pitch, 1, filters, 1, lane, taps, channels);
        else
            for (ptrdiff_t t = 0; t < taps; t++)
                copy(to + i * plane + t * pitch, 0, 1, filters + weight_tap(g, t), 0, lane, 1,
                     channels);
    }
}

/* The weights and the bias of a block of channels, unless they are those at hand. */
static void bring_lane_weights(const lane_job *job, lane_space *space, const lane_task *task) {
    const cvl_gather *g = job->g;
    const ptrdiff_t pitch = job->pitch;
    if (space->block == task->block)
        return;
    space->block = task->block;
    if (task->channels < pitch)
        memset(space->weights, 0, (size_t)(g->ic * kernel_taps(g) * pitch) * sizeof(real));
    bring_filters(job, space, task);
    memset(space->bias, 0, (size_t)pitch * sizeof(real));
    if (g->bias)
        for (ptrdiff_t c = 0; c < task->channels; c++)
            space->bias[c] = ((const real *)g->bias)[(task->first + c) * g->bias_stride];
}

static lane_task nth_lane_task(const lane_job *job, ptrdiff_t index) {
    const cvl_gather *g = job->g;
    const ptrdiff_t lanes = job->kernels->lanes, channels = lane_channels(g);
    const ptrdiff_t vectors = job->in_place ? channels / lanes : cvl_ceil_div(channels, lanes);
    lane_task t = {.depth = index % job->n_depths};
    index /= job->n_depths;
    t.row = index % job->n_rows * job->rows;
    index /= job->n_rows;
    t.column = index % job->n_columns * job->columns;
    index /= job->n_columns;
    t.n = index % g->n;
    t.block = index / g->n;
    const ptrdiff_t begin = vectors * t.block / job->n_blocks * lanes;
    const ptrdiff_t end =
        t.block + 1 == job->n_blocks ? channels : vectors * (t.block + 1) / job->n_blocks * lanes;
    t.first = begin;
    t.lanes = end - begin;
    if (!job->in_place) {
        /* A last vector that is not full is filled up with channels before it. */
        t.lanes = (t.lanes + lanes - 1) / lanes * lanes;
        t.skip = cvl_least(begin, t.lanes - (end - begin));
        t.first -= t.skip;
    }
    t.channels = end - t.first;
    return t;
}

/* Elements between two sources that lie `distance` apart along an axis. */
static ptrdiff_t lane_distance(const lane_view *view, int axis, ptrdiff_t distance) {
    const ptrdiff_t step = view->step[axis];
    return (step == 1 ? distance : distance / step) * view->stride[axis];
}

/* Reads a block of channels where it stands, from base on. */
static lane_view view_in_place(const real *base, const cvl_data_strides *s,
                               const cvl_gather_axis *axis) {
    lane_view view = {.base = base, .step = {1, 1, 1}};
    for (int i = 0; i < CVL_AXES; i++)
        view.stride[i] = axis[i].in > 1 ? s->s[i] : 0; /* of one element it may be anything */
    return view;
}

/* The sources that positions q to q + count of some phases meet, none of them padding. */
static cvl_map sources_inside(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t q,
                              ptrdiff_t count, ptrdiff_t in) {
    cvl_map map = cvl_dense_map(phases, n_phases, count);
    const ptrdiff_t shift = q * phases->in_step;
    ptrdiff_t begin, end;
    cvl_inside(&map, 0, shift, in, &begin, &end);
    map.first += shift + begin * map.step;
    map.length = end - begin;
    return map;
}

/* Lanes from place to place of a tile for channels that stand together: an odd number of vectors,
 * so that a channel's places are spread over all sets of the level-1 cache. */
static ptrdiff_t odd_vectors(ptrdiff_t channels, ptrdiff_t lanes) {
    return (cvl_ceil_div(channels, lanes) | 1) * lanes;
}

/* Brings what a task reads for one phase of depth and height together:
 * tile[depth][height][width][lane]. */
static lane_view view_of_tile(const lane_job *job, const lane_task *task, const cvl_phase *depth,
                              const cvl_phase *height, ptrdiff_t rows, ptrdiff_t columns,
                              real *tile) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *s = &g->src_strides;
    const ptrdiff_t lanes = job->in_place ? job->tile_pitch : task->lanes;
    const cvl_map map[] = {sources_inside(depth, 1, task->depth, 1, g->axis[0].in),
                           sources_inside(height, 1, task->row, rows, g->axis[1].in),
                           sources_inside(g->axis[2].phases, g->axis[2].n_phases, task->column,
                                          columns, g->axis[2].in)};
    lane_view view = {.base = tile};
    ptrdiff_t stride = lanes, from[CVL_AXES];
    const real *src = (const real *)g->src + task->n * s->n + task->first * s->c;
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        view.first[i] = map[i].first;
        view.step[i] = map[i].step;
        view.stride[i] = stride;
        stride *= map[i].length;
        from[i] = map[i].length > 1 ? map[i].step * s->s[i] : 0;
        src += map[i].length > 0 ? map[i].first * s->s[i] : 0;
    }
    if (stride == 0)
        return view;
    const ptrdiff_t line = map[2].length, lines = map[1].length;
    const bool together = lines == 1 || from[1] == line * from[2];
    for (ptrdiff_t d = 0; d < map[0].length; d++)
        for (ptrdiff_t h = 0; h < lines; h += together ? lines : 1)
            job->kernels->copy(tile + (d * lines + h) * line * lanes, lanes, 1,
                               src + d * from[0] + h * from[1], from[2], s->c,
                               together ? lines * line : line, task->channels);
    return view;
}

/* Lines of the level-1 cache that elements `step` times `stride` apart share: its ways, of all sets
 * into which they fall. */
static ptrdiff_t lines_kept(ptrdiff_t stride, ptrdiff_t step) {
    enum { ways = 8, way_bytes = 4096, line = 64 };
    const size_t bytes = (size_t)stride * (size_t)step * sizeof(real);
    const size_t power = bytes & -bytes; /* of two that divides them; what is above may be lost */
    const size_t apart = power == 0 || power > way_bytes ? way_bytes : power < line ? line : power;
    return ways * way_bytes / (ptrdiff_t)apart;
}

/* Tap after tap, each alone. */
static lane_walk walk_apart(const cvl_phase *p) {
    return (lane_walk){.parts = 1, .classes = p->taps, .step = p->in_step};
}

/* Decides how the taps of a width phase are walked, whose sources stand `stride` apart: with
 * neighbours sharing what they read, if they do so often enough, and are not so far apart that
 * their lines crowd in one set of the level-2 cache. */
static lane_walk walk_taps(const cvl_phase *p, ptrdiff_t stride) {
    enum { few = 4 };
    if (p->taps <= 1)
        return walk_apart(p);
    const ptrdiff_t common = cvl_dense_map(p, 1, 2).step;
    const ptrdiff_t every = p->tap_step / common, classes = p->in_step / common;
    if (classes >= p->taps || every > p->count / few)
        return walk_apart(p);
    const ptrdiff_t step = p->in_step * every;
    if (cvl_scale_bytes(step, stride * (ptrdiff_t)sizeof(real)) >= cvl_l2_bytes() / 8)
        return walk_apart(p);
    return (lane_walk){.parts = every, .classes = classes, .step = step};
}

static lane_line start_line(const lane_job *job, const cvl_phase *p) {
    const cvl_gather *g = job->g;
    const ptrdiff_t in_place = g->axis[2].in > 1 ? g->src_strides.s[2] : 0;
    const ptrdiff_t stride = job->brings ? job->tile_pitch : in_place;
    lane_line line = {.phase = p};
    line.walk = job->sweeps ? walk_apart(p) : walk_taps(p, stride < 0 ? -stride : stride);
    const ptrdiff_t *order = g->axis[2].tap_order + p->tap_first;
    if (line.walk.classes < p->taps)
        line.w_step = (order[line.walk.classes] - order[0]) * job->pitch;
    return line;
}

/* Positions [*begin, *end) of `count`, the first of whose tap 0 meets source `first`, that meet the
 * source; of the others, not even the place can be computed. */
static void positions_that_meet(const cvl_phase *p, ptrdiff_t step, ptrdiff_t first,
                                ptrdiff_t count, ptrdiff_t in, ptrdiff_t *begin, ptrdiff_t *end) {
    const ptrdiff_t reach = (p->taps - 1) * p->tap_step;
    *begin = first + reach >= 0 ? 0 : (-first - reach + step - 1) / step;
    *end = first + (count - 1) * step < in ? count : first >= in ? 0 : (in - 1 - first) / step + 1;
    *begin = cvl_least(*begin, *end);
}

/* The row of the kernel that a tap of the depth and one of the height are in. */
static ptrdiff_t kernel_row(const lane_job *job, const lane_slab *slab, ptrdiff_t jd,
                            ptrdiff_t jh) {
    const cvl_gather_axis *const axis = job->g->axis;
    return axis[0].tap_order[slab->depth->tap_first + jd] * axis[1].k +
           axis[1].tap_order[slab->height->tap_first + jh];
}

/* The weights, of a row of the kernel, that a tap of the width has. */
static ptrdiff_t kernel_weights(const lane_job *job, const cvl_phase *width, ptrdiff_t row,
                                ptrdiff_t jw) {
    const cvl_gather_axis *axis = &job->g->axis[2];
    return (row * axis->k + axis->tap_order[width->tap_first + jw]) * job->pitch;
}

/* Lists the taps that a line meets at one depth, a row of them after another; returns where the
 * list ends. Offsets are from the sources that tap 0 meets. */
static cvl_lane_run *list_lane_runs(const lane_job *job, const lane_slab *slab,
                                    const lane_line *line, cvl_lane_run *run) {
    const cvl_gather *g = job->g;
    const cvl_phase *depth = slab->depth, *height = slab->height, *width = line->phase;
    const ptrdiff_t width_tap = lane_distance(&slab->view, 2, width->tap_step);
    ptrdiff_t steps = 0;
    for (ptrdiff_t jh = 0; jh < height->taps; jh++)
        for (ptrdiff_t jd = slab->first; jd < slab->last; jd++) {
            const ptrdiff_t x = jd * lane_distance(&slab->view, 0, depth->tap_step) +
                                jh * lane_distance(&slab->view, 1, height->tap_step);
            const ptrdiff_t row = kernel_row(job, slab, jd, jh);
            for (ptrdiff_t c = 0; c < line->walk.classes && c < width->taps; c++) {
                const ptrdiff_t taps = (width->taps - 1 - c) / line->walk.classes + 1;
                const ptrdiff_t strips = (taps + CVL_MAX_RUN - 1) / CVL_MAX_RUN;
                for (ptrdiff_t i = 0; i < strips; i++, run++) {
                    const ptrdiff_t begin = taps * i / strips, end = taps * (i + 1) / strips;
                    const ptrdiff_t j = c + begin * line->walk.classes;
                    steps += (end - begin) * g->ic;
                    *run = (cvl_lane_run){.x = x + j * width_tap,
                                          .w = kernel_weights(job, width, row, j),
                                          .taps = end - begin,
                                          .place = j * width->tap_step,
                                          .flush = steps + CVL_MAX_RUN * g->ic > longest_cut};
                    if (run->flush)
                        steps = 0;
                }
            }
        }
    return run;
}

/* Lists the taps of all width phases, unless those that are listed are the same. */
static void bring_lane_runs(const lane_job *job, lane_space *space, const lane_slab *slab) {
    const lane_slab *held = &space->held;
    if (held->depth == slab->depth && held->height == slab->height && held->first == slab->first &&
        held->last == slab->last &&
        memcmp(held->view.step, slab->view.step, sizeof held->view.step) == 0 &&
        memcmp(held->view.stride, slab->view.stride, sizeof held->view.stride) == 0)
        return;
    cvl_lane_run *runs = space->runs;
    for (ptrdiff_t i = 0; i < job->g->axis[2].n_phases; i++) {
        lane_line *line = &space->lines[i];
        cvl_lane_run *end = list_lane_runs(job, slab, line, runs);
        line->runs = runs;
        line->row_runs = slab->height->taps > 0 ? (end - runs) / slab->height->taps : 0;
        runs = end;
    }
    space->held = *slab;
}

/* How far beyond the inputs of a pixel those stand that a sweep asks for: about a page. */
static ptrdiff_t sweep_ahead(const lane_job *job) {
    enum { bytes = 4096 };
    const ptrdiff_t pixels = cvl_ceil_div(bytes, job->pitch * (ptrdiff_t)sizeof(real));
    return pixels * job->g->src_strides.s[2];
}

/* The filter of rows [first, last) of taps at one depth, for a sweep tile. */
static cvl_sweep sweep_of(const lane_job *job, const lane_slab *slab, const cvl_phase *width,
                          ptrdiff_t first, ptrdiff_t last) {
    cvl_sweep sweep = {.rows = last - first,
                       .row = lane_distance(&slab->view, 1, slab->height->tap_step),
                       .column = lane_distance(&slab->view, 2, width->tap_step),
                       .place = width->tap_step};
    for (ptrdiff_t h = 0; h < sweep.rows; h++)
        for (ptrdiff_t k = 0; k < CVL_SWEEP_TAPS; k++)
            sweep.weight[h][k] = kernel_weights(job, width, kernel_row(job, slab, 0, first + h), k);
    return sweep;
}

/* The positions of a line in some rows that meet rows [first, last) of its taps. x is where the
 * sources of the first row, at tap 0, begin in the view; c, where the row's results do. */
static void run_lane_line(const lane_job *job, const lane_space *space, const lane_task *task,
                          const lane_slab *slab, const lane_line *line, ptrdiff_t first_tap,
                          ptrdiff_t last_tap, const real *x, real *c, ptrdiff_t rows) {
    const cvl_phase *p = line->phase;
    const lane_view *view = &slab->view;
    const ptrdiff_t in = job->g->axis[2].in;
    const ptrdiff_t count = cvl_least(slab->columns, p->count - task->column);
    const cvl_lane_weights weights = {job->g->ic, kernel_taps(job->g) * job->pitch, line->w_step};
    const cvl_lane_run *runs = line->runs + first_tap * line->row_runs;
    const ptrdiff_t n_runs = (last_tap - first_tap) * line->row_runs;
    const ptrdiff_t x_row =
        rows > 1 && n_runs > 0 ? lane_distance(view, 1, slab->height->in_step) : 0;
    const ptrdiff_t ahead = job->brings             ? 0
                            : job->sweeps           ? sweep_ahead(job)
                            : slab->depth->taps > 1 ? lane_distance(view, 0, slab->depth->in_step)
                                                    : rows * x_row;
    cvl_sweep sweep = {0};
    if (job->sweeps && n_runs > 0)
        sweep = sweep_of(job, slab, p, first_tap, last_tap);
    for (ptrdiff_t part = 0; part < line->walk.parts && part < count; part++) {
        const ptrdiff_t pixels =
            line->walk.parts == 1 ? count : (count - part - 1) / line->walk.parts + 1;
        const ptrdiff_t first = p->in_first + (task->column + part) * p->in_step;
        ptrdiff_t begin = 0, end = 0;
        if (n_runs > 0)
            positions_that_meet(p, line->walk.step, first, pixels, in, &begin, &end);
        const ptrdiff_t cut[] = {0, begin, end, pixels};
        for (int i = 0; i < 3; i++) {
            if (cut[i] == cut[i + 1])
                continue;
            const bool meets = i == 1, steps = end - begin > 1 || line->walk.classes < p->taps;
            const cvl_places places = {first + cut[i] * line->walk.step, line->walk.step, in};
            const ptrdiff_t column =
                p->out_first + (task->column + part + cut[i] * line->walk.parts) * p->out_step -
                slab->dst_origin;
            const ptrdiff_t c_step = p->out_step * line->walk.parts * slab->dst_column;
            const ptrdiff_t x_step = meets && steps ? lane_distance(view, 2, line->walk.step) : 0;
            const bool past = job->stream && job->in_place && !job->staged;
            const real *from = x;
            if (meets)
                from += lane_distance(view, 2, places.first - view->first[2]);
            if (meets && job->sweeps)
                job->kernels->sweep_tile(c + column * slab->dst_column, slab->tile_row, c_step,
                                         space->bias, from + first_tap * sweep.row, x_row, x_step,
                                         space->weights, &sweep, &places, ahead, rows,
                                         cut[i + 1] - cut[i], slab->channels, past);
            else
                job->kernels->lane_tile(c + column * slab->dst_column, slab->tile_row, c_step,
                                        space->bias, from, meets ? x_row : 0, x_step,
                                        space->weights, &weights, runs, meets ? n_runs : 0, &places,
                                        ahead, rows, cut[i + 1] - cut[i], slab->channels, past);
        }
    }
}

/* Writes rows of results, brought together, to where they go. */
static void write_rows(const lane_job *job, const lane_slab *slab, const real *out, real *dst,
                       ptrdiff_t rows) {
    const ptrdiff_t row = slab->tile_row;
    const bool together = slab->dst_row == row;
    job->kernels->copy_past(dst, slab->dst_row, 1, out, row, 1, together ? 1 : rows,
                            together ? rows * row : row);
}

/* Asks for what the next task's depth is the first to read, where rows [row, row + rows) of this
 * one stand: it comes from memory, the rest of what that task reads from the cache. */
static void ask_next_depth(const lane_job *job, const lane_task *task, const lane_slab *slab,
                           ptrdiff_t row, ptrdiff_t rows) {
    const cvl_phase *depth = slab->depth, *height = slab->height;
    const cvl_data_strides *from = &job->g->src_strides;
    const ptrdiff_t place =
        depth->in_first + (task->depth + 1) * depth->in_step + (depth->taps - 1) * depth->tap_step;
    ptrdiff_t first = height->in_first + row * height->in_step;
    ptrdiff_t last = first + rows * height->in_step;
    if (row + rows == task->row + slab->rows)
        last += (height->taps - 1) * height->tap_step;
    first = cvl_most(first, 0);
    last = cvl_least(last, job->g->axis[1].in);
    if (place < 0 || place >= job->g->axis[0].in)
        return;
    const real *at = slab->view.base + place * from->s[0];
    for (ptrdiff_t i = first; i < last; i++)
        for (ptrdiff_t k = 0; k < job->g->axis[2].in * from->s[2]; k += line_channels)
            ask_for(at + i * from->s[1] + k);
}

/* All rows of a slab, those that meet the same taps together. */
static void run_lane_slab(const lane_job *job, lane_space *space, const lane_task *task,
                          lane_slab *slab) {
    const cvl_gather *g = job->g;
    const cvl_phase *depth = slab->depth, *height = slab->height;
    const lane_view *view = &slab->view;
    taps_inside(depth, task->depth, g->axis[0].in, &slab->first, &slab->last);
    bring_lane_runs(job, space, slab);
    const ptrdiff_t end = task->row + slab->rows;
    for (ptrdiff_t row = task->row, next; row < end; row = next) {
        ptrdiff_t first, last;
        next = same_taps(height, g->axis[1].in, row, end, &first, &last);
        const bool meets = slab->first < slab->last && first < last;
        const bool all = job->brings && !job->staged;
        const ptrdiff_t most = cvl_even_size(next - row, all ? next - row : rows_in_place);
        for (ptrdiff_t r = row, rows; r < next; r += rows) {
            rows = cvl_least(most, next - r);
            real *const dst = slab->dst + (r - task->row) * slab->dst_row;
            if (job->asks)
                ask_next_depth(job, task, slab, r, rows);
            const real *x = view->base;
            if (meets)
                x +=
                    lane_distance(view, 0,
                                  depth->in_first + task->depth * depth->in_step - view->first[0]) +
                    lane_distance(view, 1, height->in_first + r * height->in_step - view->first[1]);
            for (ptrdiff_t i = 0; i < g->axis[2].n_phases; i++)
                run_lane_line(job, space, task, slab, &space->lines[i], first, last, x,
                              job->staged ? space->out : dst, rows);
            if (job->staged)
                write_rows(job, slab, space->out, dst, rows);
        }
    }
}

/* Parts the results of a slab again. */
static void part_lanes(const lane_job *job, const lane_task *task, const lane_slab *slab, real *dst,
                       ptrdiff_t dst_row, ptrdiff_t columns) {
    const cvl_data_strides *to = &job->g->dst_strides;
    const bool together = dst_row == columns * to->s[2];
    copy_kernel *const copy = copy_results(job->kernels, job->stream);
    const ptrdiff_t count = together ? slab->rows * columns : columns;
    for (ptrdiff_t row = 0; row < slab->rows; row += together ? slab->rows : 1)
        copy(dst + row * dst_row, to->s[2], to->c, slab->dst + row * slab->dst_row + task->skip,
             slab->dst_column, 1, count, task->channels - task->skip);
}

static void run_lane_phases(const lane_job *job, lane_space *space, const lane_task *task,
                            const cvl_phase *depth, const cvl_phase *height) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *to = &g->dst_strides;
    const cvl_gather_axis *width = &g->axis[2];
    const ptrdiff_t rows = cvl_least(job->rows, height->count - task->row);
    if (depth->count <= task->depth || rows <= 0)
        return;
    lane_slab slab = {.depth = depth,
                      .height = height,
                      .rows = rows,
                      .columns = job->columns,
                      .dst_origin = task->column * width->phases->out_step};
    const ptrdiff_t columns =
        cvl_least(job->columns * width->phases->out_step, width->out - slab.dst_origin);
    real *const dst = (real *)g->dst + task->n * to->n + (task->first + task->skip) * to->c +
                      (depth->out_first + depth->out_step * task->depth) * to->s[0] +
                      (height->out_first + height->out_step * task->row) * to->s[1] +
                      slab.dst_origin * to->s[2];
    const ptrdiff_t dst_row = height->out_step * to->s[1];
    if (job->brings)
        slab.view = view_of_tile(job, task, depth, height, rows,
                                 cvl_least(job->columns, most_positions(width) - task->column),
                                 space->tile);
    else
        slab.view = view_in_place((const real *)g->src + task->n * g->src_strides.n +
                                      task->first * g->src_strides.c,
                                  &g->src_strides, g->axis);
    slab.channels = task->lanes;
    if (job->in_place) {
        slab.dst = dst;
        slab.dst_row = dst_row;
        slab.dst_column = to->s[2];
        slab.tile_row = job->staged ? columns * slab.dst_column : dst_row;
        run_lane_slab(job, space, task, &slab);
        return;
    }
    slab.dst_column = task->lanes;
    slab.dst = space->out;
    slab.dst_row = slab.tile_row = columns * slab.dst_column;
    run_lane_slab(job, space, task, &slab);
    part_lanes(job, task, &slab, dst, dst_row, columns);
}

/* Whether each source of an axis reaches as many neighbouring destinations as a spread tile has
 * taps, its stride further from one source to the next; and where among those of all sources, those
 * beyond the destinations too, the first destination stands. */
static bool axis_spreads(const cvl_gather_axis *a, ptrdiff_t *shift) {
    enum { stride = CVL_SPREAD_STRIDE };
    const cvl_phase *const p = a->phases;
    if (a->n_phases != stride || a->k != CVL_SPREAD_TAPS || p[0].taps == 0)
        return false;
    for (ptrdiff_t i = 0; i < stride; i++) {
        if (p[i].out_step != stride || p[i].in_step != 1)
            return false;
        for (ptrdiff_t j = 0; j < p[i].taps; j++) {
            const ptrdiff_t tap = a->tap_order[p[i].tap_first + j];
            const ptrdiff_t first =
                stride * (p[i].in_first + j * p[i].tap_step) + tap - p[i].out_first;
            if (i + j == 0)
                *shift = first;
            if (first != *shift)
                return false;
        }
    }
    return true;
}

/* All phases of a task at once, from where the channels stand. */
static void spread_lanes(const lane_job *job, const lane_space *space, const lane_task *task) {
    enum { stride = CVL_SPREAD_STRIDE };
    const cvl_gather_axis *axis = job->g->axis;
    const cvl_data_strides *from = &job->g->src_strides, *to = &job->g->dst_strides;
    const cvl_phase *depth = axis[0].phases;
    const ptrdiff_t row = stride * task->row, column = stride * task->column;
    const ptrdiff_t rows = cvl_least(stride * job->rows, axis[1].out - row);
    const ptrdiff_t columns = cvl_least(stride * job->columns, axis[2].out - column);
    const ptrdiff_t most = cvl_even_size(rows, rows_in_place);
    const cvl_places at_columns = {job->shift[2] + column, stride, axis[2].in};
    const real *const x = (const real *)job->g->src + task->n * from->n + task->first * from->c +
                          (depth->in_first + task->depth * depth->in_step) * from->s[0];
    real *dst = (real *)job->g->dst + task->n * to->n + task->first * to->c +
                (depth->out_first + task->depth * depth->out_step) * to->s[0] + row * to->s[1] +
                column * to->s[2];
    for (ptrdiff_t r = 0, now; r < rows; r += now, dst += now * to->s[1]) {
        now = cvl_least(most, rows - r);
        const cvl_places at_rows = {job->shift[1] + row + r, stride, axis[1].in};
        job->kernels->spread_tile(dst, to->s[1], to->s[2], space->bias, x, from->s[1], from->s[2],
                                  space->weights, job->pitch, &at_rows, &at_columns, now, columns,
                                  task->lanes, job->stream);
    }
}

static void lane_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const lane_job *job = context;
    const cvl_gather_axis *axis = job->g->axis;
    ptrdiff_t bytes;
    lane_space space = lane_layout(job, job->workspace + thread * job->workspace_bytes, &bytes);
    if (!job->in_place)
        memset(space.tile, 0, (size_t)(job->tile_places * job->tile_pitch) * sizeof(real));
    for (ptrdiff_t i = 0; i < axis[2].n_phases; i++)
        space.lines[i] = start_line(job, &axis[2].phases[i]);
    for (ptrdiff_t i = begin; i < end; i++) {
        const lane_task task = nth_lane_task(job, i);
        bring_lane_weights(job, &space, &task);
        if (job->spreads) {
            spread_lanes(job, &space, &task);
            continue;
        }
        for (ptrdiff_t d = 0; d < axis[0].n_phases; d++)
            for (ptrdiff_t h = 0; h < axis[1].n_phases; h++)
                run_lane_phases(job, &space, &task, &axis[0].phases[d], &axis[1].phases[h]);
    }
    end_stream(job->stream);
}

/* The most places that `count` positions of an axis read, of each phase alone or of all
 * together. */
static ptrdiff_t lane_places(const cvl_gather_axis *axis, ptrdiff_t count, bool together) {
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < (together ? 1 : axis->n_phases); i++) {
        const cvl_phase *p = &axis->phases[i];
        const cvl_map map = together ? cvl_dense_map(p, axis->n_phases, count)
                                     : cvl_dense_map(p, 1, cvl_least(count, p->count));
        most = map.length > most ? map.length : most;
    }
    return cvl_least(most, axis->in);
}

/* Places of a task's tile, and of its results. */
static ptrdiff_t lane_tile_places(const cvl_gather *g, ptrdiff_t rows, ptrdiff_t columns) {
    return cvl_scale_bytes(
        cvl_scale_bytes(lane_places(&g->axis[0], 1, false), lane_places(&g->axis[1], rows, false)),
        lane_places(&g->axis[2], columns, true));
}

static ptrdiff_t lane_out_places(const cvl_gather *g, ptrdiff_t rows, ptrdiff_t columns) {
    const cvl_gather_axis *width = &g->axis[2];
    return cvl_scale_bytes(rows, cvl_least(width->out, columns * width->phases->out_step));
}

/* Bytes of a task's tile and results, so many lanes wide. */
static ptrdiff_t lane_bytes(const cvl_gather *g, ptrdiff_t lanes, ptrdiff_t rows,
                            ptrdiff_t columns) {
    return cvl_scale_bytes(
        cvl_add_bytes(lane_tile_places(g, rows, columns), lane_out_places(g, rows, columns)),
        lanes * (ptrdiff_t)sizeof(real));
}

/* Cuts rows and columns so that what a task holds in half of the level-2 cache fits it, and so that
 * there are tasks enough. That is all that it reads where inputs are brought together, or where the
 * next task's depth meets the same rows. Else it is a few rows in place, or one that is swept, and
 * the other half is for what comes next, which is asked for meanwhile. */
static void cut_lanes(lane_job *job) {
    enum { least_columns = 16 };
    const cvl_gather *g = job->g;
    const ptrdiff_t all_rows = most_positions(&g->axis[1]);
    const ptrdiff_t all_columns = most_positions(&g->axis[2]);
    const ptrdiff_t budget = cvl_l2_bytes() / 2;
    const bool all_stay = job->brings || lane_places(&g->axis[0], 1, false) > 1;
    const ptrdiff_t least_rows = all_stay || job->sweeps ? 1 : cvl_least(all_rows, rows_in_place);
    ptrdiff_t rows = all_rows, columns = all_columns;
    while (columns > least_columns && lane_bytes(g, job->pitch, least_rows, columns) > budget)
        columns = cvl_even_size(all_columns, columns - columns / 4);
    while (all_stay && rows > 1 && lane_bytes(g, job->pitch, rows, columns) > budget)
        rows = cvl_even_size(all_rows, rows - (rows + 7) / 8);

    const ptrdiff_t repeats = g->n * job->n_blocks * most_positions(&g->axis[0]);
    const ptrdiff_t enough = cvl_enough_tasks(g->work);
    while (rows > 1 &&
           repeats * cvl_ceil_div(all_rows, rows) * cvl_ceil_div(all_columns, columns) < enough)
        rows = cvl_even_size(all_rows, (rows + 1) / 2);
    while (columns > least_columns &&
           repeats * cvl_ceil_div(all_rows, rows) * cvl_ceil_div(all_columns, columns) < enough)
        columns = cvl_even_size(all_columns, (columns + 1) / 2);
    job->rows = rows;
    job->columns = columns;
    job->n_depths = most_positions(&g->axis[0]);
    job->n_rows = cvl_ceil_div(all_rows, rows);
    job->n_columns = cvl_ceil_div(all_columns, columns);
}

/* Whether an axis has the taps that a lane tile walks down, and this stride, in steps of a tap. */
static bool axis_walks(const cvl_gather_axis *axis, ptrdiff_t stride) {
    const cvl_phase *p = axis->phases;
    return axis->n_phases == 1 && p->taps == CVL_DESCENT_TAPS && p->in_step == stride * p->tap_step;
}

/* Whether lane tiles walk down rows: then they ask for what comes next, too. */
static bool walks_down(const cvl_gather *g) {
    const cvl_gather_axis *height = &g->axis[1], *width = &g->axis[2];
    return g->ic == 1 && ((axis_walks(height, 1) && axis_walks(width, 1)) ||
                          (axis_walks(height, 2) && axis_walks(width, 2)));
}

/* Whether a sweep tile has the taps of all phases of an axis, from `least` on. */
static bool axis_sweeps(const cvl_gather_axis *axis, ptrdiff_t least) {
    for (ptrdiff_t i = 0; i < axis->n_phases; i++) {
        const cvl_phase *p = &axis->phases[i];
        if (p->taps < least || p->taps > CVL_SWEEP_TAPS || p->tap_step >= axis->in)
            return false;
    }
    return true;
}

/* Whether sweep tiles have the filter, and inputs are so many that they come from memory when other
 * work shares the last cache. */
static bool sweeps_rows(const cvl_gather *g) {
    const cvl_gather_axis *a = g->axis;
    return g->ic == 1 && cvl_one_tap_inside(&a[0]) && axis_sweeps(&a[1], 2) && a[2].n_phases == 1 &&
           axis_sweeps(&a[2], CVL_SWEEP_TAPS) && exceed_mebibytes(source_count(g), 4);
}

/* Whether the level-1 cache keeps fewer places of one channel than a lane tile comes back to, for
 * another row of taps or for the next vector of the same lines. Where each is loaded once, or would
 * be brought once for each tap of the depth, to bring them together pays while an image of a few
 * vectors of channels, `bytes`, fits the level-2 cache. */
static bool crowded_inputs(const cvl_gather *g, bool walks, ptrdiff_t lanes, ptrdiff_t bytes) {
    const cvl_phase *depth = g->axis[0].phases, *height = g->axis[1].phases;
    const cvl_phase *width = g->axis[2].phases;
    const bool loaded_once = walks && lanes == line_channels;
    const bool must_fit = loaded_once || (walks && depth->taps > 1);
    const ptrdiff_t pixels = loaded_once ? 8 : 6; /* of a tile, at most */
    const ptrdiff_t rows =
        loaded_once ? 1 : depth->taps * cvl_ceil_div(height->taps, height->in_step);
    const ptrdiff_t columns =
        cvl_add_bytes(cvl_scale_bytes(pixels - 1, width->in_step), width->taps);
    return g->axis[0].n_phases == 1 && g->axis[1].n_phases == 1 && height->taps > 1 &&
           lines_kept(g->src_strides.s[2], 1) <= cvl_scale_bytes(rows, columns) &&
           (!must_fit || bytes <= cvl_l2_bytes() / 2);
}

static bool lanes_in_place(const cvl_gather *g, ptrdiff_t lanes) {
    return lane_channels(g) >= lanes && g->src_strides.c == 1 && g->dst_strides.c == 1;
}

/* Whether a task has all channels, and those of a position follow those of the one before. */
static bool lanes_follow(const lane_job *job, const cvl_data_strides *strides) {
    return job->in_place && job->n_blocks == 1 && strides->s[2] == lane_channels(job->g);
}

/* Whether results that are written past the caches are brought together first: tiles would write
 * them in parts of cache lines, but for sweep tiles. */
static bool stage_lanes(const lane_job *job) {
    return !job->spreads && stream_copies(job->g) && lanes_follow(job, &job->g->dst_strides) &&
           (lane_channels(job->g) % line_channels > 0 ||
            (job->kernels->lanes < line_channels && !job->sweeps));
}

bool CVL_TYPED(cvl_lanes_fit)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    enum { few = 16 };
    const ptrdiff_t lanes = all_kernels->CVL_DTYPE->lanes;
    return lanes_in_place(g, lanes) ||
           lane_bytes(g, lanes, 1, cvl_least(few, most_positions(&g->axis[2]))) <=
               cvl_l2_bytes() / 2;
}

cvl_status CVL_TYPED(cvl_gather_lanes)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    enum {
        block_vectors = 32, /* read in place: wide, so that memory is read in long runs */
        least_vectors = 4,  /* brought together: lines enough */
        tile_vectors = 8,
        tile_bytes = 32 * 1024, /* of small tiles, which are best several vectors wide */
    };
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    lane_job job = {.g = g, .kernels = kernels};
    const ptrdiff_t lanes = kernels->lanes, channels = lane_channels(g);
    job.in_place = lanes_in_place(g, lanes);
    const ptrdiff_t plane_bytes =
        lane_bytes(g, lanes, most_positions(&g->axis[1]), most_positions(&g->axis[2]));
    const bool walks = walks_down(g);
    job.brings = !job.in_place ||
                 crowded_inputs(g, walks, lanes, cvl_scale_bytes(least_vectors, plane_bytes));
    job.sweeps = !job.brings && kernels->sweep_tile && sweeps_rows(g);
    job.stream = stream_results(g);
    const ptrdiff_t vectors = job.in_place ? channels / lanes : cvl_ceil_div(channels, lanes);
    const ptrdiff_t to_share = vectors * g->n / cvl_enough_tasks(g->work);
    ptrdiff_t most = block_vectors;
    if (!job.in_place)
        most = cvl_least(cvl_least(tile_vectors, to_share), tile_bytes / plane_bytes);
    else if (job.brings)
        most = cvl_most(least_vectors, cvl_least(cvl_least(block_vectors, to_share),
                                                 cvl_l2_bytes() / 2 / plane_bytes));
    job.n_blocks = cvl_ceil_div(vectors, most > 1 ? most : 1);
    job.pitch =
        (cvl_ceil_div(vectors, job.n_blocks) + (job.in_place && channels % lanes > 0)) * lanes;
    cut_lanes(&job);
    job.tile_pitch = job.in_place ? odd_vectors(job.pitch, lanes) : job.pitch;
    if (job.brings)
        job.tile_places = lane_tile_places(g, job.rows, job.columns);
    if (!job.in_place)
        job.out_places = lane_out_places(g, job.rows, job.columns);
    job.asks = !job.brings && !walks && g->axis[0].phases->taps > 1 && job.n_columns == 1 &&
               lanes_follow(&job, &g->src_strides);
    job.spreads = !job.brings && g->ic == 1 && cvl_one_tap_inside(&g->axis[0]) &&
                  axis_spreads(&g->axis[1], &job.shift[1]) &&
                  axis_spreads(&g->axis[2], &job.shift[2]);
    job.staged = stage_lanes(&job);
    if (job.staged)
        job.out_places = lane_out_places(g, rows_in_place, job.columns);
    lane_layout(&job, NULL, &job.workspace_bytes);

    const ptrdiff_t tasks = g->n * job.n_blocks * job.n_depths * job.n_rows * job.n_columns;
    int threads = cvl_threads_for(tasks, g->work);
    job.workspace = cvl_alloc_workspace(0, job.workspace_bytes, &threads);
    if (!job.workspace)
        return CVL_NO_MEMORY;
    cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, lane_tasks, &job);
    cvl_free(job.workspace);
    return CVL_OK;
}
