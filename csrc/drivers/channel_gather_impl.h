/* Gather with output channels along the lanes. Included by drivers_impl.h.
 *
 * The weights are packed once, in blocks of as many output channels as a channel tile is wide. A task
 * takes a block of destination positions of one image and group, brings their inputs together in a
 * tile (channels contiguous, padding zero; or reads them where they stand), and runs the channel tile
 * over positions x output channels x taps, the reduction cut so that the weights of one cut stay in
 * the level-1 cache while all positions pass over them.
 */

enum {
    /* Steps of the reduction that are summed in registers before they are added to C: so many that the
     * visits to C cost little, so few that the rounding error of long sums stays low. */
    longest_cut = CVL_REAL_BYTES == 4 ? 128 : 64,
    /* Bytes of weights that pass over all positions together: they stay in the level-1 cache. */
    resident_bytes = 16 * 1024,
};

typedef struct channel_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    cvl_blocks blocks;
    real *packed;       /* [groups][block][tap][ic][width of the block] */
    real *bias;         /* [groups][padded] */
    ptrdiff_t vectors;  /* of output channels */
    ptrdiff_t n_blocks; /* of output channels */
    ptrdiff_t splits;   /* of the blocks, into tasks of their own */
    ptrdiff_t padded;   /* output channels rounded up to vectors */
    ptrdiff_t taps;
    ptrdiff_t max_terms;
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} channel_job;

/* The first lane of an output-channel block; blocks are as even as whole vectors allow. */
static ptrdiff_t block_lane(const channel_job *job, ptrdiff_t block) {
    return job->vectors * block / job->n_blocks * job->kernels->lanes;
}

static void pack_block(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const channel_job *job = context;
    const cvl_gather *g = job->g;
    char *workspace = job->workspace + thread * job->workspace_bytes;
    for (ptrdiff_t i = begin; i < end; i++) {
        const ptrdiff_t group = i / job->n_blocks, block = i % job->n_blocks;
        const ptrdiff_t lane = block_lane(job, block);
        const ptrdiff_t width = block_lane(job, block + 1) - lane;
        weight_block weights = {
            .w = (real *)g->w + group * g->w_group + lane * g->w_oc,
            .oc = g->w_oc,
            .ic = g->w_ic,
            .k = {g->w_k[0], g->w_k[1], g->w_k[2]},
            .size = {g->axis[0].k, g->axis[1].k, g->axis[2].k},
            .order = {g->axis[0].tap_order, g->axis[1].tap_order, g->axis[2].tap_order},
            .all_taps = true,
            .channels = g->ic,
            .lanes = g->oc - lane < width ? g->oc - lane : width,
            .width = width};
        real *packed = job->packed + job->taps * g->ic * (group * job->padded + lane);
        pack_weights(&weights, packed, (real *)workspace, job->kernels->copy);
        real *bias = job->bias + group * job->padded + lane;
        memset(bias, 0, (size_t)width * sizeof(real));
        if (g->bias)
            for (ptrdiff_t o = 0; o < weights.lanes; o++)
                bias[o] = ((const real *)g->bias)[(group * g->oc + lane + o) * g->bias_stride];
    }
}

/* What a task computes: `rows` of the slab by `columns` destination columns (of all width phases), from
 * dst on, for some of the output-channel blocks of a group. */
typedef struct channel_task {
    ptrdiff_t n, group, split, column_block;
    const cvl_slab *slab;
    real *dst;
    ptrdiff_t dst_line, columns;
    input_tile tile;
} channel_task;

/* A thread's workspace. A position is a destination of the block: where its inputs start in the tile,
 * and where its sums go, in dst or in `out`. */
typedef struct channel_space {
    real *tile, *out;
    ptrdiff_t *a_row, *dst_row, *out_place, *out_row;
    cvl_term *terms;
    ptrdiff_t *cut_end;
} channel_space;

static channel_task nth_channel_task(const channel_job *job, ptrdiff_t index) {
    const cvl_gather *g = job->g;
    const cvl_blocks *blocks = &job->blocks;
    const cvl_gather_axis *width = &g->axis[2];
    const cvl_data_strides *to = &g->dst_strides;
    channel_task t = {.slab = &blocks->slabs[index % blocks->n_slabs]};
    index /= blocks->n_slabs;
    t.column_block = index % blocks->n_columns;
    index /= blocks->n_columns;
    t.n = index % g->n;
    index /= g->n;
    t.split = index % job->splits;
    t.group = index / job->splits;

    const cvl_slab *slab = t.slab;
    const ptrdiff_t out_step = width->phases[0].out_step;
    const ptrdiff_t first_column = t.column_block * blocks->columns * out_step;
    const ptrdiff_t left = width->out - first_column;
    t.columns = blocks->columns * out_step < left ? blocks->columns * out_step : left;
    t.dst_line = slab->height->out_step * to->s[1];
    t.dst = (real *)g->dst + t.n * to->n + t.group * g->oc * to->c +
            (slab->depth->out_first + slab->depth->out_step * slab->depth_q) * to->s[0] +
            (slab->height->out_first + slab->height->out_step * slab->height_q) * to->s[1] +
            first_column * to->s[2];
    return t;
}

/* The reduction over taps and channels of one width phase, in runs along A and B, cut into pieces of
 * even length. Neighbouring taps whose channels follow one another become one run. */
static ptrdiff_t list_terms(const channel_job *job, const channel_task *task,
                            const cvl_phase *width, ptrdiff_t b_pitch, cvl_term *terms,
                            ptrdiff_t *cut_end) {
    const cvl_gather *g = job->g;
    const input_tile *tile = &task->tile;
    const cvl_phase *depth = task->slab->depth, *height = task->slab->height;
    const ptrdiff_t tap0 = tap_offset(tile, 2, width, 0);
    const ptrdiff_t tap_pitch = width->taps > 1 ? tap_offset(tile, 2, width, 1) - tap0 : g->ic;
    const bool merge = tap_pitch == g->ic;
    const ptrdiff_t runs = merge ? 1 : width->taps, run = merge ? width->taps * g->ic : g->ic;
    const ptrdiff_t total = depth->taps * height->taps * width->taps * g->ic;
    const ptrdiff_t cuts = (total + longest_cut - 1) / longest_cut;
    const ptrdiff_t cut = cuts ? (total + cuts - 1) / cuts : 1;

    ptrdiff_t n = 0, n_cuts = 0, room = cut;
    for (ptrdiff_t jd = 0; jd < depth->taps; jd++)
        for (ptrdiff_t jh = 0; jh < height->taps; jh++)
            for (ptrdiff_t jw = 0; jw < runs; jw++) {
                const ptrdiff_t a = tap_offset(tile, 0, depth, jd) +
                                    tap_offset(tile, 1, height, jh) + tap0 + jw * tap_pitch;
                const ptrdiff_t tap =
                    ((depth->tap_first + jd) * g->axis[1].k + height->tap_first + jh) *
                        g->axis[2].k +
                    width->tap_first + jw;
                for (ptrdiff_t done = 0, length; done < run; done += length) {
                    length = run - done < room ? run - done : room;
                    terms[n++] = (cvl_term){
                        .a = a + done, .b = (tap * g->ic + done) * b_pitch, .length = length};
                    room -= length;
                    if (room == 0)
                        cut_end[n_cuts++] = n, room = cut;
                }
            }
    if (room < cut || n_cuts == 0)
        cut_end[n_cuts++] = n;
    return n_cuts;
}

/* Runs the channel tile over `positions` x one block of output channels: a few cuts at a time, as many as
 * stay in the cache while all positions pass over them. */
static void multiply(const kernel_table *kernels, ptrdiff_t width, real *c, const ptrdiff_t *c_row,
                     const real *a, const ptrdiff_t *a_row, const real *b, const cvl_term *terms,
                     const ptrdiff_t *cut_end, ptrdiff_t n_cuts, ptrdiff_t positions,
                     const real *init) {
    const ptrdiff_t vectors = width / kernels->lanes, rows = kernels->rows[vectors - 1];
    const ptrdiff_t tiles = (positions + rows - 1) / rows;
    const ptrdiff_t fitting = resident_bytes / (longest_cut * width * (ptrdiff_t)sizeof(real));
    const ptrdiff_t together = fitting > 1 ? fitting : 1;
    for (ptrdiff_t first = 0; first < n_cuts; first += together) {
        const ptrdiff_t last = n_cuts - first < together ? n_cuts : first + together;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const ptrdiff_t m0 = positions * tile / tiles, m1 = positions * (tile + 1) / tiles;
            for (ptrdiff_t cut = first; cut < last; cut++) {
                const ptrdiff_t begin = cut ? cut_end[cut - 1] : 0;
                kernels->channel_tile[vectors - 1][m1 - m0 - 1](
                    c, c_row + m0, a, a_row + m0, 1, b, width, terms + begin, cut_end[cut] - begin,
                    cut == 0 ? init : NULL);
            }
        }
    }
}

/* Chooses between packing the task's inputs and reading them where they stand. */
static void bring_inputs(const channel_job *job, channel_task *task, real *room) {
    const cvl_gather *g = job->g;
    const cvl_slab *slab = task->slab;
    const real *src =
        (const real *)g->src + task->n * g->src_strides.n + task->group * g->ic * g->src_strides.c;
    const ptrdiff_t in[] = {g->axis[0].in, g->axis[1].in, g->axis[2].in};
    input_tile *tile = &task->tile;
    tile->map[0] = cvl_channel_map(slab->depth, 1, 1);
    tile->map[1] = cvl_channel_map(slab->height, 1, slab->rows);
    tile->map[2] = job->blocks.width;
    tile->shift[0] = slab->depth_q * slab->depth->in_step;
    tile->shift[1] = slab->height_q * slab->height->in_step;
    tile->shift[2] = task->column_block * job->blocks.columns * g->axis[2].phases[0].in_step;
    if ((g->src_strides.c == 1 || g->ic == 1) && tile_is_inside(tile, in))
        tile_in_place(tile, src, &g->src_strides);
    else
        pack_channels_together(tile, room, g->ic, src, &g->src_strides, g->ic, in,
                               job->kernels->copy);
}

/* Lists the positions of a task, one width phase after another; returns how many. */
static ptrdiff_t list_positions(const channel_job *job, const channel_task *task,
                                const channel_space *space) {
    const cvl_gather_axis *width = &job->g->axis[2];
    ptrdiff_t n = 0;
    for (const cvl_phase *p = width->phases; p < width->phases + width->n_phases; p++) {
        const ptrdiff_t count = cvl_block_columns(&job->blocks, p, task->column_block);
        for (ptrdiff_t row = 0; row < task->slab->rows; row++)
            for (ptrdiff_t q = 0; q < count; q++, n++) {
                const ptrdiff_t column = p->out_first + p->out_step * q;
                space->a_row[n] = row * task->tile.position[1] + q * task->tile.position[2];
                space->dst_row[n] = row * task->dst_line + column * job->g->dst_strides.s[2];
                space->out_place[n] = row * task->columns + column;
            }
    }
    return n;
}

/* Moves a block of sums, out[position][width], to dst. */
static void store_block(const channel_job *job, const channel_task *task, const real *out,
                        ptrdiff_t width, real *dst, ptrdiff_t lanes) {
    const cvl_data_strides *to = &job->g->dst_strides;
    const bool rows_follow = task->dst_line == task->columns * to->s[2];
    const ptrdiff_t lines = rows_follow ? 1 : task->slab->rows;
    const ptrdiff_t length = rows_follow ? task->slab->rows * task->columns : task->columns;
    for (ptrdiff_t line = 0; line < lines; line++)
        job->kernels->copy(dst + line * task->dst_line, to->s[2], to->c,
                           out + line * length * width, width, 1, length, lanes);
}

/* One block of output channels at all positions: where channels are contiguous and fill their vectors
 * in dst itself, else by way of `out`. */
static void run_block(const channel_job *job, const channel_task *task, const channel_space *space,
                      ptrdiff_t positions, ptrdiff_t block) {
    const cvl_gather *g = job->g;
    const cvl_slab *slab = task->slab;
    const ptrdiff_t lane = block_lane(job, block);
    const ptrdiff_t width = block_lane(job, block + 1) - lane;
    const ptrdiff_t lanes = g->oc - lane < width ? g->oc - lane : width;
    const bool in_place = g->dst_strides.c == 1 && lanes == width;
    const real *b = job->packed + job->taps * g->ic * (task->group * job->padded + lane);
    const real *bias = job->bias + task->group * job->padded + lane;
    real *const dst = task->dst + lane * g->dst_strides.c, *const c = in_place ? dst : space->out;
    const ptrdiff_t *c_row = in_place ? space->dst_row : space->out_row;
    if (!in_place)
        for (ptrdiff_t i = 0; i < positions; i++)
            space->out_row[i] = space->out_place[i] * width;

    ptrdiff_t first = 0;
    for (ptrdiff_t i = 0; i < g->axis[2].n_phases; i++) {
        const cvl_phase *p = &g->axis[2].phases[i];
        const ptrdiff_t count = slab->rows * cvl_block_columns(&job->blocks, p, task->column_block);
        if (count == 0)
            continue;
        ptrdiff_t n_cuts = 1;
        space->cut_end[0] = 0; /* without taps, one cut of no terms: the bias alone */
        if (slab->depth->taps && slab->height->taps && p->taps)
            n_cuts = list_terms(job, task, p, width, space->terms, space->cut_end);
        multiply(job->kernels, width, c, c_row + first, task->tile.base, space->a_row + first, b,
                 space->terms, space->cut_end, n_cuts, count, bias);
        first += count;
    }
    if (!in_place)
        store_block(job, task, space->out, width, dst, lanes);
}

static void run_channel_task(const channel_job *job, ptrdiff_t index, char *memory) {
    const cvl_blocks *blocks = &job->blocks;
    const ptrdiff_t max_width = job->kernels->vectors * job->kernels->lanes;
    const channel_space space = {
        .tile = cvl_take(&memory, blocks->places * job->g->ic, sizeof(real)),
        .out = cvl_take(&memory, blocks->positions * max_width, sizeof(real)),
        .a_row = cvl_take(&memory, blocks->positions, sizeof(ptrdiff_t)),
        .dst_row = cvl_take(&memory, blocks->positions, sizeof(ptrdiff_t)),
        .out_place = cvl_take(&memory, blocks->positions, sizeof(ptrdiff_t)),
        .out_row = cvl_take(&memory, blocks->positions, sizeof(ptrdiff_t)),
        .terms = cvl_take(&memory, job->max_terms, sizeof(cvl_term)),
        .cut_end = cvl_take(&memory, job->max_terms, sizeof(ptrdiff_t))};
    channel_task task = nth_channel_task(job, index);
    bring_inputs(job, &task, space.tile);
    const ptrdiff_t positions = list_positions(job, &task, &space);
    const ptrdiff_t end = job->n_blocks * (task.split + 1) / job->splits;
    for (ptrdiff_t block = job->n_blocks * task.split / job->splits; block < end; block++)
        run_block(job, &task, &space, positions, block);
}

static void channel_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const channel_job *job = context;
    for (ptrdiff_t i = begin; i < end; i++)
        run_channel_task(job, i, job->workspace + thread * job->workspace_bytes);
}

cvl_status CVL_TYPED(cvl_gather_channels)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    const kernel_table *kernels = all_kernels->CVL_DTYPE;
    channel_job job = {.g = g, .kernels = kernels};
    const ptrdiff_t lanes = kernels->lanes, max_width = kernels->vectors * lanes;
    const ptrdiff_t size[] = {g->axis[0].k, g->axis[1].k, g->axis[2].k};
    cvl_status status = CVL_NO_MEMORY;
    char *memory = NULL;

    job.vectors = (g->oc + lanes - 1) / lanes;
    job.n_blocks = (job.vectors + kernels->vectors - 1) / kernels->vectors;
    job.padded = job.vectors * lanes;
    job.taps = size[0] * size[1] * size[2];
    status = cvl_cut(g, cvl_channel_map, g->ic * (ptrdiff_t)sizeof(real), cvl_l2_bytes() / 2,
                     g->n * g->groups * job.n_blocks, &job.blocks);
    if (status != CVL_OK)
        return status;
    const ptrdiff_t areas = g->n * g->groups * job.blocks.n_slabs * job.blocks.n_columns;
    job.splits = areas >= 8 ? 1 : job.n_blocks < 8 / areas ? job.n_blocks : 8 / areas;
    job.max_terms = 2 * job.taps + job.taps * g->ic / longest_cut + 2;

    const ptrdiff_t tile_bytes =
        cvl_part_bytes(cvl_scale_bytes(job.blocks.places, g->ic), sizeof(real));
    const ptrdiff_t scratch_bytes = cvl_part_bytes(weight_scratch(size, max_width), sizeof(real));
    job.workspace_bytes =
        cvl_add_bytes(tile_bytes > scratch_bytes ? tile_bytes : scratch_bytes,
                      cvl_part_bytes(job.blocks.positions * max_width, sizeof(real)) +
                          4 * cvl_part_bytes(job.blocks.positions, sizeof(ptrdiff_t)) +
                          cvl_part_bytes(job.max_terms, sizeof(cvl_term)) +
                          cvl_part_bytes(job.max_terms, sizeof(ptrdiff_t)));
    const ptrdiff_t tasks = areas * job.splits;
    const int threads = cvl_threads_for(tasks, g->work);
    const ptrdiff_t packed_count = job.taps * g->ic * job.padded * g->groups;
    const ptrdiff_t bias_count = job.padded * g->groups;
    const ptrdiff_t shared_bytes = cvl_add_bytes(cvl_part_bytes(packed_count, sizeof(real)),
                                                 cvl_part_bytes(bias_count, sizeof(real)));
    memory = cvl_alloc(
        (size_t)cvl_add_bytes(shared_bytes, cvl_scale_bytes(job.workspace_bytes, threads)));
    status = CVL_NO_MEMORY;
    if (!memory)
        goto cleanup;
    job.workspace = memory;
    job.packed = cvl_take(&job.workspace, packed_count, sizeof(real));
    job.bias = cvl_take(&job.workspace, bias_count, sizeof(real));
    cvl_parallel_for(g->groups * job.n_blocks, 1, threads, pack_block, &job);
    cvl_parallel_for(tasks, 1, threads, channel_tasks, &job);
    status = CVL_OK;
cleanup:
    cvl_free(memory);
    cvl_free_blocks(&job.blocks);
    return status;
}
