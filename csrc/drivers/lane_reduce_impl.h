/* Weight gradient with channels of several groups along the lanes, of groups as many channels wide
 * in as out: of one, which is depthwise convolution, or of a few. Included by drivers_impl.h.
 *
 * As in the gather, channels that stand together are read where they do, unless their lines would
 * not stay in the level-1 cache; others are brought together in tiles of x and dy; no padding is
 * stored. Rows that meet the same taps are summed together, a strip of a few columns at a time, for
 * all channels: so many positions that storing the sums costs little, so few that x and dy stay in
 * the level-1 cache and the rounding error of long sums stays low.
 */

typedef struct lane_reduce_job {
    const cvl_reduce *r;
    const kernel_table *kernels;
    bool together; /* whether channels stand together, */
    bool in_place; /* and are read where they do */
    bool asks;     /* for what the next rows read: it comes from memory */
    lane_walk walk;
    cvl_chunks chunks;
    ptrdiff_t channels; /* of all groups */
    ptrdiff_t taps, splits;
    ptrdiff_t vectors, n_blocks; /* of channels */
    ptrdiff_t pitch;             /* of tiles: lanes from place to place */
    ptrdiff_t strip;             /* columns that are summed before the others of their rows */
    real *partial;               /* [split][channel of x in its group][tap][vector][lane] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} lane_reduce_job;

typedef struct lane_reduce_space {
    real *x, *dy;
    cvl_lane_run *runs;
} lane_reduce_space;

/* What a task sums: vectors [first, last) of channels. */
typedef struct lane_reduce_task {
    ptrdiff_t first, last;
    real *sums;
} lane_reduce_task;

/* An image's chunk of x and dy; vectors stand one after another but for the last, `back` before
 * that. */
typedef struct lane_operands {
    lane_view x;
    const real *dy;
    ptrdiff_t dy_row, dy_step;
    ptrdiff_t back;
} lane_operands;

static lane_reduce_space lane_reduce_layout(const lane_reduce_job *job, char *memory,
                                            ptrdiff_t *bytes) {
    const cvl_chunks *chunks = &job->chunks;
    const ptrdiff_t lanes = job->in_place ? 0 : job->pitch;
    lane_reduce_space space;
    cvl_arena arena = {.memory = memory};
    space.x = cvl_take(&arena, cvl_scale_bytes(chunks->places, lanes), sizeof(real));
    space.dy =
        cvl_take(&arena, cvl_scale_bytes(chunks->rows * chunks->columns, lanes), sizeof(real));
    space.runs = cvl_take(&arena, job->taps, sizeof *space.runs);
    *bytes = arena.bytes;
    return space;
}

/* How far the last vector of all channels starts before the end of the one before it. */
static ptrdiff_t vector_back(const lane_reduce_job *job) {
    const ptrdiff_t over = job->vectors * job->kernels->lanes - job->channels;
    return job->vectors > 1 ? over : 0;
}

/* Brings `count` positions of a task's channels together: to[position][lane]. */
static void bring_lanes(const lane_reduce_job *job, const lane_reduce_task *task, real *to,
                        const real *from, ptrdiff_t step, ptrdiff_t channel_step, ptrdiff_t count) {
    const ptrdiff_t lanes = job->kernels->lanes, width = (task->last - task->first) * lanes;
    const ptrdiff_t pitch = job->pitch;
    const ptrdiff_t first = task->first * lanes, left = job->channels - first;
    const ptrdiff_t back = task->last == job->vectors ? vector_back(job) : 0;
    const ptrdiff_t together = back > 0 ? width - lanes : cvl_least(left, width);
    copy_kernel *const copy = job->kernels->copy;
    if (together > 0)
        copy(to, pitch, 1, from + first * channel_step, step, channel_step, count, together);
    if (back > 0)
        copy(to + together, pitch, 1, from + (first + together - back) * channel_step, step,
             channel_step, count, lanes);
}

/* The same for rows of positions, of which rows and positions without space between them are
 * one. */
static void bring_lane_rows(const lane_reduce_job *job, const lane_reduce_task *task, real *to,
                            const real *from, ptrdiff_t row, ptrdiff_t step, ptrdiff_t channel_step,
                            ptrdiff_t rows, ptrdiff_t columns) {
    if (row == columns * step)
        columns *= rows, rows = 1;
    for (ptrdiff_t i = 0; i < rows; i++)
        bring_lanes(job, task, to + i * columns * job->pitch, from + i * row, step, channel_step,
                    columns);
}

static lane_view reduce_tile(const lane_reduce_job *job, const lane_reduce_task *task,
                             const cvl_chunk *chunk, const real *x, real *tile) {
    const cvl_reduce *r = job->r;
    const cvl_data_strides *s = &r->x_strides;
    const cvl_map map[] = {
        sources_inside(r->axis[0].phases, 1, chunk->depth, 1, r->axis[0].in),
        sources_inside(r->axis[1].phases, 1, chunk->row, chunk->rows, r->axis[1].in),
        sources_inside(r->axis[2].phases, 1, chunk->column, chunk->columns, r->axis[2].in)};
    lane_view view = {.base = tile};
    ptrdiff_t stride = job->pitch, from[CVL_AXES];
    for (int i = CVL_AXES - 1; i >= 0; i--) {
        view.first[i] = map[i].first;
        view.step[i] = map[i].step;
        view.stride[i] = stride;
        stride *= map[i].length;
        from[i] = map[i].length > 1 ? map[i].step * s->s[i] : 0;
        x += map[i].length > 0 ? map[i].first * s->s[i] : 0;
    }
    for (ptrdiff_t d = 0; d < (stride ? map[0].length : 0); d++)
        bring_lane_rows(job, task, tile + d * view.stride[0], x + d * from[0], from[1], from[2],
                        s->c, map[1].length, map[2].length);
    return view;
}

static lane_operands bring_lane_operands(const lane_reduce_job *job, const lane_reduce_task *task,
                                         const cvl_chunk *chunk, ptrdiff_t image,
                                         const lane_reduce_space *space) {
    const cvl_reduce *r = job->r;
    const ptrdiff_t lanes = job->kernels->lanes, first = task->first * lanes;
    const cvl_data_strides *xs = &r->x_strides, *s = &r->dy_strides;
    const real *x = (const real *)r->x + image * xs->n;
    const real *dy = (const real *)r->dy + image * s->n + chunk->depth * s->s[0] +
                     chunk->row * s->s[1] + chunk->column * s->s[2];
    if (job->in_place)
        return (lane_operands){.x = view_in_place(x + first, xs, r->axis),
                               .dy = dy + first,
                               .dy_row = s->s[1],
                               .dy_step = s->s[2],
                               .back = task->last == job->vectors ? vector_back(job) : 0};
    bring_lane_rows(job, task, space->dy, dy, s->s[1], s->s[2], s->c, chunk->rows, chunk->columns);
    return (lane_operands){.x = reduce_tile(job, task, chunk, x, space->x),
                           .dy = space->dy,
                           .dy_row = chunk->columns * job->pitch,
                           .dy_step = job->pitch};
}

/* Lists the taps in depth and height [first, last) of each, those of the same place along the width
 * together; returns how many runs there are. Offsets are from the sources that tap 0 meets. */
static ptrdiff_t list_reduce_runs(const lane_reduce_job *job, const lane_view *view,
                                  const ptrdiff_t first[2], const ptrdiff_t last[2],
                                  cvl_lane_run *runs) {
    const cvl_reduce *r = job->r;
    const cvl_phase *depth = r->axis[0].phases, *height = r->axis[1].phases;
    const cvl_phase *width = r->axis[2].phases;
    const ptrdiff_t padded = job->vectors * job->kernels->lanes;
    const ptrdiff_t width_tap = lane_distance(view, 2, width->tap_step);
    cvl_lane_run *run = runs;
    for (ptrdiff_t c = 0; c < job->walk.classes; c++) {
        const ptrdiff_t taps = (width->taps - 1 - c) / job->walk.classes + 1;
        const ptrdiff_t strips = cvl_ceil_div(taps, CVL_MAX_RUN);
        for (ptrdiff_t i = 0; i < strips; i++) {
            const ptrdiff_t begin = taps * i / strips, end = taps * (i + 1) / strips;
            const ptrdiff_t j = c + begin * job->walk.classes;
            for (ptrdiff_t jd = first[0]; jd < last[0]; jd++)
                for (ptrdiff_t jh = first[1]; jh < last[1]; jh++)
                    *run++ = (cvl_lane_run){
                        .x = jd * lane_distance(view, 0, depth->tap_step) +
                             jh * lane_distance(view, 1, height->tap_step) + j * width_tap,
                        .w = ((jd * height->taps + jh) * width->taps + j) * padded,
                        .taps = end - begin,
                        .place = j * width->tap_step};
        }
    }
    return run - runs;
}

enum { few_columns = 16, least_in_tile = 4 };

/* Lines that the level-1 cache keeps of neighbouring positions of one channel. */
static ptrdiff_t positions_kept(const lane_reduce_job *job) {
    return cvl_least(lines_kept(job->r->x_strides.s[2], job->walk.step),
                     lines_kept(job->r->dy_strides.s[2], job->walk.parts));
}

/* Columns of a strip. Few, with all channels before the next
 * ones, read memory as a stream, fewer where the level-1 cache would not keep them; but where taps
 * are many, it is their sums that take the time, and rows are best long. */
static ptrdiff_t strip_columns(const lane_reduce_job *job) {
    enum { few_taps = 4 };
    if (job->r->axis[2].phases->taps > few_taps)
        return longest_cut;
    return job->in_place && positions_kept(job) <= few_columns ? few_columns / 2 : few_columns;
}

/* Some rows of a chunk that meet the same taps. x is where the sources of the first row, at tap 0,
 * begin in the view. */
static void reduce_lane_rows(const lane_reduce_job *job, const lane_reduce_task *task,
                             const cvl_chunk *chunk, const lane_operands *operands,
                             const cvl_lane_run *runs, ptrdiff_t n_runs, const real *x,
                             const real *dy, ptrdiff_t rows) {
    const cvl_phase *p = job->r->axis[2].phases;
    const lane_view *view = &operands->x;
    const lane_walk *walk = &job->walk;
    const ptrdiff_t in = job->r->axis[2].in, lanes = job->kernels->lanes;
    const ptrdiff_t widest = cvl_least(longest_cut / rows, job->strip);
    const ptrdiff_t padded = job->vectors * lanes;
    const ptrdiff_t even = task->last - (operands->back > 0); /* vectors end to end */
    const cvl_lane_weights weights = {job->r->ic, job->taps * padded, walk->classes * padded};
    lane_sums_kernel *const sum =
        job->r->ic > 1 ? job->kernels->group_sums : job->kernels->lane_sums;
    const ptrdiff_t x_row = rows > 1 ? lane_distance(view, 1, job->r->axis[1].phases->in_step) : 0;
    for (ptrdiff_t part = 0; part < walk->parts && part < chunk->columns; part++) {
        const ptrdiff_t count = (chunk->columns - part - 1) / walk->parts + 1;
        const ptrdiff_t first = p->in_first + (chunk->column + part) * p->in_step;
        ptrdiff_t begin, end;
        positions_that_meet(p, walk->step, first, count, in, &begin, &end);
        const bool steps = end - begin > 1 || walk->classes < p->taps;
        const ptrdiff_t x_step = steps ? lane_distance(view, 2, walk->step) : 0;
        const ptrdiff_t pieces = cvl_ceil_div(end - begin, widest);
        for (ptrdiff_t piece = 0; piece < pieces; piece++) {
            const ptrdiff_t at = begin + (end - begin) * piece / pieces;
            const ptrdiff_t pixels = begin + (end - begin) * (piece + 1) / pieces - at;
            const cvl_places places = {first + at * walk->step, walk->step, in};
            const real *xp = x + lane_distance(view, 2, places.first - view->first[2]);
            const real *dp = dy + (part + at * walk->parts) * operands->dy_step;
            for (ptrdiff_t v = task->first, next; v < task->last; v = next) {
                const ptrdiff_t back = v < even ? 0 : operands->back;
                const ptrdiff_t lane = (v - task->first) * lanes - back;
                next = v < even ? even : task->last;
                sum(task->sums + v * lanes, &weights, dp + lane, operands->dy_row,
                    walk->parts * operands->dy_step, xp + lane, x_row, x_step, runs, n_runs,
                    &places, rows, pixels, next - v, job->asks);
            }
        }
    }
}

/* Rows [row, end) of a chunk, which meet the same taps. */
static void reduce_lane_class(const lane_reduce_job *job, const lane_reduce_task *task,
                              const cvl_chunk *chunk, const lane_operands *operands,
                              const cvl_lane_run *runs, ptrdiff_t n_runs, ptrdiff_t row,
                              ptrdiff_t end) {
    const cvl_phase *depth = job->r->axis[0].phases, *height = job->r->axis[1].phases;
    const lane_view *view = &operands->x;
    const ptrdiff_t pixels = cvl_ceil_div(chunk->columns, job->walk.parts);
    const ptrdiff_t most = longest_cut / cvl_even_size(pixels, job->strip);
    const real *x =
        view->base +
        lane_distance(view, 0, depth->in_first + chunk->depth * depth->in_step - view->first[0]);
    for (ptrdiff_t i = row; i < end; i += most) {
        const ptrdiff_t source = height->in_first + i * height->in_step;
        reduce_lane_rows(job, task, chunk, operands, runs, n_runs,
                         x + lane_distance(view, 1, source - view->first[1]),
                         operands->dy + (i - chunk->row) * operands->dy_row,
                         cvl_least(most, end - i));
    }
}

static void lane_reduce_image(const lane_reduce_job *job, const lane_reduce_task *task,
                              const cvl_chunk *chunk, ptrdiff_t image,
                              const lane_reduce_space *space) {
    const cvl_reduce *r = job->r;
    const lane_operands operands = bring_lane_operands(job, task, chunk, image, space);
    ptrdiff_t first[2], last[2];
    taps_inside(r->axis[0].phases, chunk->depth, r->axis[0].in, &first[0], &last[0]);
    const ptrdiff_t end = chunk->row + chunk->rows;
    for (ptrdiff_t row = chunk->row, next; row < end; row = next) {
        next = same_taps(r->axis[1].phases, r->axis[1].in, row, end, &first[1], &last[1]);
        if (first[0] == last[0] || first[1] == last[1])
            continue;
        const ptrdiff_t n_runs = list_reduce_runs(job, &operands.x, first, last, space->runs);
        reduce_lane_class(job, task, chunk, &operands, space->runs, n_runs, row, next);
    }
}

static void lane_reduce_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const lane_reduce_job *job = context;
    const ptrdiff_t padded = job->vectors * job->kernels->lanes, rows = job->taps * job->r->ic;
    ptrdiff_t bytes;
    const lane_reduce_space space =
        lane_reduce_layout(job, job->workspace + thread * job->workspace_bytes, &bytes);
    if (job->channels < job->kernels->lanes)
        memset(space.x, 0, (size_t)bytes);
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t block = index % job->n_blocks, split = index / job->n_blocks;
        const lane_reduce_task task = {.first = job->vectors * block / job->n_blocks,
                                       .last = job->vectors * (block + 1) / job->n_blocks,
                                       .sums = job->partial + split * rows * padded};
        const ptrdiff_t lanes = job->kernels->lanes;
        for (ptrdiff_t row = 0; row < rows; row++)
            memset(task.sums + row * padded + task.first * lanes, 0,
                   (size_t)((task.last - task.first) * lanes) * sizeof(real));
        const ptrdiff_t last = job->chunks.count * (split + 1) / job->splits;
        for (ptrdiff_t c = job->chunks.count * split / job->splits; c < last; c++) {
            const cvl_chunk chunk = cvl_nth_chunk(job->r, &job->chunks, c);
            for (ptrdiff_t i = 0; i < chunk.images; i++)
                lane_reduce_image(job, &task, &chunk, chunk.image + i, &space);
        }
    }
}

/* Stores `rows` taps that follow one another in dw, sums[tap][vector][lane]. */
static void store_lane_taps(const lane_reduce_job *job, real *dw, ptrdiff_t tap_step,
                            const real *sums, ptrdiff_t rows) {
    const ptrdiff_t lane_step = job->r->dw_strides.oc, lanes = job->kernels->lanes;
    const ptrdiff_t padded = job->vectors * lanes, back = vector_back(job);
    const ptrdiff_t whole = back > 0 ? padded - lanes : job->channels;
    job->kernels->copy(dw, tap_step, lane_step, sums, padded, 1, rows, whole);
    job->kernels->copy(dw + whole * lane_step, tap_step, lane_step, sums + whole + back, padded, 1,
                       rows, job->channels - whole);
}

/* Adds the partial results in order and stores them in dw. */
static void lane_reduce_finish(const lane_reduce_job *job) {
    const cvl_reduce *r = job->r;
    const cvl_weight_strides *to = &r->dw_strides;
    const cvl_phase *const phase[] = {r->axis[0].phases, r->axis[1].phases, r->axis[2].phases};
    const ptrdiff_t row = phase[2]->taps * job->vectors * job->kernels->lanes;
    const ptrdiff_t all = r->ic * phase[0]->taps * phase[1]->taps * row;
    add_partials(job->partial, job->splits, all, 0, all);
    const real *from = job->partial;
    for (ptrdiff_t i = 0; i < r->ic; i++)
        for (ptrdiff_t d = 0; d < phase[0]->taps; d++)
            for (ptrdiff_t h = 0; h < phase[1]->taps; h++, from += row)
                store_lane_taps(job,
                                (real *)r->dw + i * to->ic + (phase[0]->tap_first + d) * to->k[0] +
                                    (phase[1]->tap_first + h) * to->k[1] +
                                    phase[2]->tap_first * to->k[2],
                                to->k[2], from, phase[2]->taps);
}

static bool reduce_together(const cvl_reduce *r, ptrdiff_t lanes) {
    return r->groups * r->ic >= lanes && r->x_strides.c == 1 && r->dy_strides.c == 1;
}

/* Elements of x and dy. */
static double operand_count(const cvl_reduce *r) {
    double x = 1, dy = 1;
    for (int i = 0; i < CVL_AXES; i++)
        x *= (double)r->axis[i].in, dy *= (double)r->axis[i].out;
    return (x + dy) * (double)r->n * (double)(r->groups * r->ic);
}

/* Chunks for blocks of so many lanes, which fit the level-2 cache. */
static cvl_chunks cut_lane_chunks(const lane_reduce_job *job, ptrdiff_t lanes) {
    enum { enough_positions = 1024 };
    const ptrdiff_t bytes = lanes * (ptrdiff_t)sizeof(real);
    return cvl_cut_reduce(job->r, cvl_dense_map, cvl_dense_map, bytes, bytes, cvl_l2_bytes() / 2,
                          enough_positions, false);
}

/* Whether the places of a chunk have room in a tile: windows far apart have not. */
static bool chunk_fits(const cvl_reduce *r, ptrdiff_t lanes) {
    const lane_reduce_job job = {.r = r};
    const ptrdiff_t bytes = lanes * (ptrdiff_t)sizeof(real);
    return cvl_scale_bytes(cut_lane_chunks(&job, lanes).places, bytes) <= cvl_l2_bytes();
}

/* Whether rows share inputs that the level-1 cache would not keep from one to the next, by far, or
 * though an image of a few vectors of channels fits the level-2 cache: it is brought together. */
static bool worth_bringing(const lane_reduce_job *job) {
    const cvl_gather_axis *height = &job->r->axis[1], *width = &job->r->axis[2];
    const ptrdiff_t bytes = least_in_tile * job->kernels->lanes * (ptrdiff_t)sizeof(real);
    const ptrdiff_t places = cvl_add_bytes(cvl_scale_bytes(height->in, width->in),
                                           cvl_scale_bytes(height->out, width->out));
    const ptrdiff_t kept = positions_kept(job);
    return height->phases->taps > 1 &&
           (kept <= few_columns / 2 ||
            (kept <= few_columns && cvl_scale_bytes(places, bytes) <= cvl_l2_bytes()));
}

/* Blocks of channels: where they are read in place, wide, so that memory is read in long runs; in
 * tiles, a vector, or as many as small tiles leave room for; and enough of them to share out. */
static ptrdiff_t count_lane_blocks(const lane_reduce_job *job) {
    enum { most_in_place = 32, least_in_place = 8, most_in_tile = 8 };
    enum { tile_bytes = 256 * 1024, small_tile_bytes = 32 * 1024, enough_tasks = 8 };
    const ptrdiff_t lanes = job->kernels->lanes, bytes = lanes * (ptrdiff_t)sizeof(real);
    ptrdiff_t most = most_in_place;
    if (!job->in_place) {
        const cvl_chunks chunks = cut_lane_chunks(job, lanes);
        const ptrdiff_t places = cvl_add_bytes(chunks.places, chunks.rows * chunks.columns);
        const ptrdiff_t room = job->together ? tile_bytes : small_tile_bytes;
        most = cvl_least(job->together ? most_in_place : most_in_tile,
                         room / cvl_scale_bytes(places, bytes));
    }
    most = cvl_least(most, job->vectors);
    const cvl_chunks chunks = cut_lane_chunks(job, most * lanes);
    most = cvl_least(most, job->vectors * chunks.count / enough_tasks);
    const ptrdiff_t fewest = job->in_place ? least_in_place : job->together ? least_in_tile : 1;
    return cvl_ceil_div(job->vectors, most > fewest ? most : fewest);
}

bool CVL_TYPED(cvl_reduce_lanes_fit)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    const ptrdiff_t lanes = all_kernels->CVL_DTYPE->lanes;
    return reduce_together(r, lanes) || chunk_fits(r, lanes);
}

cvl_status CVL_TYPED(cvl_reduce_lanes)(const cvl_reduce *r, const cvl_kernels *all_kernels) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    lane_reduce_job job = {.r = r, .kernels = kernels};
    const ptrdiff_t lanes = kernels->lanes;
    job.taps = reduce_taps(r);
    job.walk = walk_taps(r->axis[2].phases, 0); /* the order of sums depends on the shape alone */
    job.together = reduce_together(r, lanes);
    job.in_place = job.together && !(worth_bringing(&job) && chunk_fits(r, lanes));
    job.channels = r->groups * r->ic;
    job.vectors = cvl_ceil_div(job.channels, lanes);
    job.n_blocks = count_lane_blocks(&job);
    const ptrdiff_t widest = cvl_ceil_div(job.vectors, job.n_blocks) * lanes;
    job.pitch = job.together ? odd_vectors(widest, lanes) : widest;
    job.strip = strip_columns(&job);
    job.chunks = cut_lane_chunks(&job, widest);
    const ptrdiff_t sums = cvl_scale_bytes(job.taps * r->ic, job.vectors * lanes);
    job.splits = cvl_reduce_splits(job.chunks.count, job.n_blocks,
                                   cvl_scale_bytes(sums, (ptrdiff_t)sizeof(real)));
    job.asks = job.in_place && come_from_memory(operand_count(r));
    lane_reduce_layout(&job, NULL, &job.workspace_bytes);

    const ptrdiff_t tasks = job.n_blocks * job.splits;
    int threads = cvl_threads_for(tasks, r->work);
    job.partial = alloc_partials(sums, job.splits, job.workspace_bytes, &threads, &job.workspace);
    if (!job.partial)
        return CVL_NO_MEMORY;
    cvl_parallel_for(tasks, 1, threads, lane_reduce_tasks, &job);
    lane_reduce_finish(&job);
    cvl_free(job.partial);
    return CVL_OK;
}
