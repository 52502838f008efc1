/* Gather by columns, with neighbouring source positions along the lanes: the products of a source
 * position with all taps of all output channels, each added where it belongs, which is known as
 * GEMM and col2im. Included by drivers_impl.h.
 *
 * For few output channels of many input channels: every input is read once, and where it stands
 * outside of padding; what is added, one number to a tap, is little beside the reduction. A task
 * takes some rows of positions, or some positions of a single row, in every phase, of one image and
 * group. It brings the inputs of a few source rows together a panel at a time, for a pass of the
 * reduction; runs the product tile over (output channel, tap) x positions x input channels; and
 * adds rows of products to its sums. Tasks compute anew the products of sources that both of two
 * neighbours meet.
 */

typedef struct column_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    ptrdiff_t taps, products; /* of a filter; of a source position, with all output channels */
    ptrdiff_t size[CVL_AXES], cuts[CVL_AXES];    /* positions of a task in a phase; tasks */
    ptrdiff_t before[CVL_AXES], after[CVL_AXES]; /* q meets sources q - before to q + after */
    ptrdiff_t lines, pitch; /* source rows taken together, at most; their positions, in vectors */
    ptrdiff_t cut, pass;    /* steps of the reduction summed in registers, and of a pass */
    real *weights;          /* [group][output channel][tap][input channel] */
    char *workspace;
    ptrdiff_t workspace_bytes; /* per thread */
} column_job;

/* A tap of the width: sources [first, first + length) are for sums from `to` on. */
typedef struct column_run {
    ptrdiff_t tap, first, length, to;
} column_run;

typedef struct column_space {
    real *sums; /* [output channel][depth][height phase][row][width phase][column] */
    real *products, *panel;
    ptrdiff_t *a_row, *c_row, *b_row;
    cvl_term *terms;
    column_run *runs;
    ptrdiff_t n_runs;
} column_space;

/* Positions [first, end) of every phase along each axis, and the sources [from, to) that these
 * meet. */
typedef struct column_task {
    ptrdiff_t n, group;
    ptrdiff_t first[CVL_AXES], end[CVL_AXES], from[CVL_AXES], to[CVL_AXES];
} column_task;

/* Elements of a row of sums, and of all rows of one output channel. */
static ptrdiff_t sums_row(const column_job *job) {
    return job->g->axis[2].n_phases * job->size[2];
}

static ptrdiff_t sums_channel(const column_job *job) {
    const cvl_gather_axis *axis = job->g->axis;
    return axis[0].out * axis[1].n_phases * job->size[1] * sums_row(job);
}

/* The parts of a thread's workspace; without memory, only its size. */
static column_space column_layout(const column_job *job, cvl_arena *memory) {
    const cvl_gather *g = job->g;
    column_space space = {0};
    space.sums = cvl_take(memory, g->oc * sums_channel(job), sizeof(real));
    space.products = cvl_take(memory, job->products * job->pitch, sizeof(real));
    space.panel = cvl_take(memory, job->pass * panel_lanes(job->kernels), sizeof(real));
    space.a_row = cvl_take(memory, job->products, sizeof(ptrdiff_t));
    space.c_row = cvl_take(memory, job->products, sizeof(ptrdiff_t));
    space.b_row = cvl_take(memory, job->pass, sizeof(ptrdiff_t));
    space.terms = cvl_take(memory, cvl_ceil_div(job->pass, job->cut), sizeof(cvl_term));
    space.runs = cvl_take(memory, g->axis[2].k, sizeof(column_run));
    return space;
}

/* Packs the weights of some output channels of all groups: a row to each tap. */
static void column_weights(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const column_job *job = context;
    const cvl_gather *g = job->g;
    const bool adjoin = taps_adjoin(g->axis, g->w_k);
    const ptrdiff_t rows = g->axis[1].k, columns = g->axis[2].k, plane = rows * columns;
    (void)thread;
    for (ptrdiff_t i = begin; i < end; i++) {
        const real *w = (const real *)g->w + i / g->oc * g->w_group + i % g->oc * g->w_oc;
        real *const to = job->weights + i * job->taps * g->ic;
        for (ptrdiff_t d = 0; d < g->axis[0].k; d++)
            if (adjoin)
                job->kernels->copy(to + d * plane * g->ic, g->ic, 1, w + d * g->w_k[0], 1, g->w_ic,
                                   plane, g->ic);
            else
                for (ptrdiff_t tap = 0; tap < plane; tap++)
                    job->kernels->copy(to + (d * plane + tap) * g->ic, g->ic, 1,
                                       w + d * g->w_k[0] + tap / columns * g->w_k[1] +
                                           tap % columns * g->w_k[2],
                                       1, g->w_ic, 1, g->ic);
    }
}

/* What is the same for all tasks. */
static void list_column_rows(const column_job *job, const column_space *space) {
    list_even(space->a_row, job->products, 0, job->g->ic);
    list_even(space->c_row, job->products, 0, job->pitch);
    list_even(space->b_row, job->pass, 0, panel_lanes(job->kernels));
}

/* Lists the taps of the width that a task's positions meet. */
static void list_runs(const column_job *job, const column_task *t, column_space *space) {
    const cvl_gather_axis *width = &job->g->axis[2];
    space->n_runs = 0;
    for (ptrdiff_t i = 0; i < width->n_phases; i++) {
        const cvl_phase *p = &width->phases[i];
        const ptrdiff_t count = cvl_least(t->end[2], p->count) - t->first[2];
        for (ptrdiff_t j = 0; j < p->taps && count > 0; j++) {
            ptrdiff_t first, last;
            cvl_positions_inside(p, j, width->in, t->first[2], count, &first, &last);
            if (first < last)
                space->runs[space->n_runs++] = (column_run){
                    .tap = width->tap_order[p->tap_first + j],
                    .first = p->in_first + j * p->tap_step + t->first[2] + first - t->from[2],
                    .length = last - first,
                    .to = i * job->size[2] + first};
        }
    }
}

/* ---- products ------------------------------------------------------------------------------- */

/* Brings a pass of channels at `count` positions of some source rows, `width` to a row, together,
 * from `first` on: panel[channel][lane]. What fills the last vector is zero. */
static void pack_columns(const column_job *job, const real *src, ptrdiff_t width,
                         ptrdiff_t channels, ptrdiff_t first, ptrdiff_t count, real *panel) {
    const cvl_data_strides *s = &job->g->src_strides;
    const ptrdiff_t pitch = panel_lanes(job->kernels);
    const ptrdiff_t filled = cvl_ceil_div(count, job->kernels->lanes) * job->kernels->lanes;
    const bool follow = width == 1 || s->s[1] == width * s->s[2];
    for (ptrdiff_t done = 0, n; done < count; done += n) {
        const ptrdiff_t row = (first + done) / width, column = (first + done) % width;
        n = follow ? count : cvl_least(width - column, count - done);
        job->kernels->copy(panel + done, pitch, 1, src + row * s->s[1] + column * s->s[2], s->c,
                           width == 1 ? s->s[1] : s->s[2], channels, n);
    }
    for (ptrdiff_t i = 0; i < channels && count < filled; i++)
        memset(panel + i * pitch + count, 0, (size_t)(filled - count) * sizeof(real));
}

/* The products of `lines` source rows: products[output channel, tap][position]. */
static void take_columns(const column_job *job, const column_task *t, ptrdiff_t depth,
                         ptrdiff_t line, ptrdiff_t lines, const column_space *space) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *s = &g->src_strides;
    const kernel_table *kernels = job->kernels;
    const real *src = (const real *)g->src + t->n * s->n + t->group * g->ic * s->c +
                      depth * s->s[0] + line * s->s[1] + t->from[2] * s->s[2];
    const ptrdiff_t row = t->to[2] - t->from[2], positions = lines * row;
    const ptrdiff_t vectors = cvl_ceil_div(positions, kernels->lanes);
    const ptrdiff_t panels = cvl_ceil_div(vectors, kernels->panel_vectors);
    for (ptrdiff_t i = 0; i < panels; i++) {
        const ptrdiff_t first = panel_lane(kernels, vectors, i, panels);
        const ptrdiff_t width = panel_lane(kernels, vectors, i + 1, panels) - first;
        for (ptrdiff_t k = 0; k < g->ic; k += job->pass) {
            const ptrdiff_t steps = cvl_least(job->pass, g->ic - k);
            pack_columns(job, src + k * s->c, row, steps, first,
                         cvl_least(width, positions - first), space->panel);
            const product products = {
                .c = space->products + first,
                .c_row = space->c_row,
                .init = k ? space->products + first : NULL,
                .init_row = space->c_row,
                .a = job->weights + t->group * job->products * g->ic + k,
                .a_row = space->a_row,
                .a_step = 1,
                .b = space->panel,
                .b_row = space->b_row,
                .terms = space->terms,
                .n_terms = list_cuts(space->terms, steps, job->cut, panel_lanes(kernels))};
            multiply(kernels, &products, job->products, width, &no_asks);
        }
    }
}

/* ---- sums ----------------------------------------------------------------------------------- */

/* The position of a phase that meets a source with tap j; negative or too large where none does. */
static ptrdiff_t position_met(const cvl_phase *p, ptrdiff_t j, ptrdiff_t source) {
    return source - p->in_first - j * p->tap_step;
}

/* Whether any tap of any phase brings a source to positions [first, end). */
static bool source_is_met(const cvl_gather_axis *axis, ptrdiff_t source, ptrdiff_t first,
                          ptrdiff_t end) {
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++)
        for (ptrdiff_t j = 0; j < p->taps; j++) {
            const ptrdiff_t q = position_met(p, j, source);
            if (q >= first && q < cvl_least(end, p->count))
                return true;
        }
    return false;
}

/* Adds the products of a source row, those of (output channel, tap) `pitch` apart, with the taps of
 * one depth and one row of taps. */
static void add_runs(const column_job *job, const column_space *space, real *sums,
                     const real *products, ptrdiff_t first_tap) {
    for (const column_run *run = space->runs; run < space->runs + space->n_runs; run++)
        job->kernels->add(sums + run->to,
                          products + (first_tap + run->tap) * job->pitch + run->first, run->length);
}

/* Adds the products of a source row where its taps of the depth and the height belong. */
static void add_line(const column_job *job, const column_task *t, ptrdiff_t depth, ptrdiff_t line,
                     const real *products, const column_space *space) {
    const cvl_gather_axis *axis = job->g->axis, *high = &axis[1];
    for (const cvl_phase *d = axis[0].phases; d < axis[0].phases + axis[0].n_phases; d++)
        for (ptrdiff_t i = 0; i < d->taps; i++) {
            const ptrdiff_t z = position_met(d, i, depth);
            if (z < 0 || z >= d->count)
                continue;
            const ptrdiff_t out = d->out_first + d->out_step * z;
            const ptrdiff_t tap = axis[0].tap_order[d->tap_first + i] * high->k;
            for (ptrdiff_t phase = 0; phase < high->n_phases; phase++) {
                const cvl_phase *h = &high->phases[phase];
                for (ptrdiff_t j = 0; j < h->taps; j++) {
                    const ptrdiff_t row = position_met(h, j, line) - t->first[1];
                    if (row < 0 || row >= cvl_least(t->end[1], h->count) - t->first[1])
                        continue;
                    const ptrdiff_t first_tap =
                        (tap + high->tap_order[h->tap_first + j]) * axis[2].k;
                    real *const sums =
                        space->sums +
                        ((out * high->n_phases + phase) * job->size[1] + row) * sums_row(job);
                    for (ptrdiff_t c = 0; c < job->g->oc; c++)
                        add_runs(job, space, sums + c * sums_channel(job), products,
                                 c * job->taps + first_tap);
                }
            }
        }
}

static void start_sums(const column_job *job, const column_task *t, real *sums) {
    const cvl_gather *g = job->g;
    const ptrdiff_t count = sums_channel(job);
    for (ptrdiff_t c = 0; c < g->oc; c++, sums += count) {
        const real bias =
            g->bias ? ((const real *)g->bias)[(t->group * g->oc + c) * g->bias_stride] : 0;
        for (ptrdiff_t i = 0; i < count; i++)
            sums[i] = bias;
    }
}

/* Moves the sums to dst, all output channels of a row of positions together. */
static void store_columns(const column_job *job, const column_task *t, const real *sums) {
    const cvl_gather *g = job->g;
    const cvl_gather_axis *high = &g->axis[1], *wide = &g->axis[2];
    const cvl_data_strides *to = &g->dst_strides;
    copy_kernel *const copy = copy_phases(g, job->kernels, false);
    real *const dst = (real *)g->dst + t->n * to->n + t->group * g->oc * to->c;
    for (ptrdiff_t z = 0; z < g->axis[0].out; z++)
        for (ptrdiff_t i = 0; i < high->n_phases; i++) {
            const cvl_phase *h = &high->phases[i];
            const ptrdiff_t rows = cvl_least(t->end[1], h->count) - t->first[1];
            for (ptrdiff_t row = 0; row < rows; row++) {
                const ptrdiff_t y = h->out_first + h->out_step * (t->first[1] + row);
                const real *from =
                    sums + ((z * high->n_phases + i) * job->size[1] + row) * sums_row(job);
                for (const cvl_phase *w = wide->phases; w < wide->phases + wide->n_phases; w++) {
                    const ptrdiff_t x = w->out_first + w->out_step * t->first[2];
                    const ptrdiff_t count = cvl_least(t->end[2], w->count) - t->first[2];
                    if (count > 0)
                        copy(dst + z * to->s[0] + y * to->s[1] + x * to->s[2], to->c,
                             w->out_step * to->s[2], from, sums_channel(job), 1, g->oc, count);
                    from += job->size[2];
                }
            }
        }
}

static void run_column_task(const column_job *job, ptrdiff_t index, column_space *space) {
    const cvl_gather *g = job->g;
    const cvl_gather_axis *axis = g->axis;
    column_task t;
    for (int i = CVL_AXES - 1; i >= 0; index /= job->cuts[i], i--) {
        t.first[i] = index % job->cuts[i] * job->size[i];
        t.end[i] = cvl_least(t.first[i] + job->size[i], most_positions(&axis[i]));
        t.from[i] = cvl_most(t.first[i] - job->before[i], 0);
        t.to[i] = cvl_least(t.end[i] + job->after[i], axis[i].in);
    }
    t.n = index % g->n;
    t.group = index / g->n;
    list_runs(job, &t, space);
    start_sums(job, &t, space->sums);
    for (ptrdiff_t depth = t.from[0]; depth < t.to[0] && space->n_runs > 0; depth++) {
        if (!source_is_met(&axis[0], depth, t.first[0], t.end[0]))
            continue;
        for (ptrdiff_t line = t.from[1], lines; line < t.to[1]; line += cvl_most(lines, 1)) {
            for (lines = 0; lines < job->lines && line + lines < t.to[1] &&
                            source_is_met(&axis[1], line + lines, t.first[1], t.end[1]);)
                lines++;
            if (lines > 0)
                take_columns(job, &t, depth, line, lines, space);
            for (ptrdiff_t i = 0; i < lines; i++)
                add_line(job, &t, depth, line + i, space->products + i * (t.to[2] - t.from[2]),
                         space);
        }
    }
    store_columns(job, &t, space->sums);
}

static void column_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const column_job *job = context;
    cvl_arena memory = {.memory = job->workspace + thread * job->workspace_bytes};
    column_space space = column_layout(job, &memory);
    list_column_rows(job, &space);
    for (ptrdiff_t i = begin; i < end; i++)
        run_column_task(job, i, &space);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* What of the source a position of an axis meets: from `before` to `after` its own number. */
static void find_reach(const cvl_gather_axis *axis, ptrdiff_t *before, ptrdiff_t *after) {
    *before = -axis->in;
    *after = -axis->out;
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++)
        for (ptrdiff_t j = 0; j < p->taps; j++) {
            *before = cvl_most(*before, -p->in_first - j * p->tap_step);
            *after = cvl_most(*after, p->in_first + j * p->tap_step);
        }
}

/* Cuts the rows of positions, or the positions of a single row, into tasks whose sums stay near,
 * enough of them for the threads, and so large that they compute little anew. Which task a position
 * is in has no influence on its sum. */
static void cut_columns(column_job *job, ptrdiff_t tasks_wanted) {
    const cvl_gather *g = job->g;
    const int cut = g->axis[1].out > 1 ? 1 : 2;
    const ptrdiff_t parts = cvl_ceil_div(tasks_wanted, g->n * g->groups);
    double others = (double)g->oc * (double)sizeof(real); /* of each position along the axis */
    for (int i = 0; i < CVL_AXES; i++) {
        job->size[i] = most_positions(&g->axis[i]);
        job->cuts[i] = 1;
        others *= (double)g->axis[i].n_phases * (i == cut ? 1 : (double)job->size[i]);
    }
    const ptrdiff_t all = job->size[cut];
    const ptrdiff_t near = (ptrdiff_t)((double)(cvl_l2_bytes() / 4) / others);
    const ptrdiff_t least = cvl_most(2 * (job->before[cut] + job->after[cut]),
                                     cut == 1 ? 1 : 4 * panel_lanes(job->kernels));
    const ptrdiff_t size = cvl_most(least, cvl_least(near, cvl_ceil_div(all, parts)));
    job->size[cut] = cvl_even_size(all, cvl_least(size, all));
    job->cuts[cut] = cvl_ceil_div(all, job->size[cut]);
}

static column_job plan_columns(const cvl_gather *g, const kernel_table *kernels,
                               ptrdiff_t tasks_wanted) {
    const ptrdiff_t pass_bytes = 64 * 1024, lines_bytes = 64 * 1024, panel = panel_lanes(kernels);
    column_job job = {.g = g, .kernels = kernels, .taps = kernel_taps(g)};
    job.products = g->oc * job.taps;
    for (int i = 0; i < CVL_AXES; i++)
        find_reach(&g->axis[i], &job.before[i], &job.after[i]);
    cut_columns(&job, tasks_wanted);
    job.cut = cvl_even_size(g->ic, longest_cut);
    job.pass = cvl_least(pass_steps(job.cut, panel, pass_bytes), g->ic);
    const ptrdiff_t row = cvl_least(g->axis[2].in, job.size[2] + job.before[2] + job.after[2]);
    const ptrdiff_t row_bytes = job.products * row * (ptrdiff_t)sizeof(real);
    const ptrdiff_t lines = cvl_most(lines_bytes / row_bytes, cvl_ceil_div(panel, row));
    job.lines = cvl_least(lines, g->axis[1].in); /* a panel full, at least */
    job.pitch = channel_room(cvl_ceil_div(job.lines * row, kernels->lanes) * kernels->lanes);
    cvl_arena arena = {0};
    column_layout(&job, &arena);
    job.workspace_bytes = arena.bytes;
    return job;
}

bool CVL_TYPED(cvl_columns_fit)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    const ptrdiff_t most_bytes = 3 << 20;
    double bytes = (double)g->oc * (double)kernel_taps(g) * (double)sizeof(real);
    if (g->ic == 0)
        return false;
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_gather_axis *a = &g->axis[i];
        if (a->in > 2 * a->out)
            return false;
        for (const cvl_phase *p = a->phases; p < a->phases + a->n_phases; p++)
            if (p->in_step != 1)
                return false;
    }
    bytes *= (double)g->axis[2].in + (double)g->axis[2].out * (double)g->axis[0].out;
    /* As if of one task, which takes most: the choice must not know of the threads. */
    return bytes <= (double)most_bytes &&
           plan_columns(g, all_kernels->CVL_DTYPE, 1).workspace_bytes <= most_bytes;
}

cvl_status CVL_TYPED(cvl_gather_columns)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    column_job job = plan_columns(g, all_kernels->CVL_DTYPE, cvl_enough_tasks(g->work));
    const ptrdiff_t tasks = g->groups * g->n * job.cuts[1] * job.cuts[2];
    const ptrdiff_t channels = g->groups * g->oc;
    const ptrdiff_t weight_bytes =
        cvl_part_bytes(cvl_scale_bytes(channels * job.taps, g->ic), sizeof(real));
    int threads = cvl_threads_for(tasks, g->work);
    char *const memory = cvl_alloc_workspace(weight_bytes, job.workspace_bytes, &threads);
    if (!memory)
        return CVL_NO_MEMORY;
    job.weights = (real *)memory;
    job.workspace = memory + weight_bytes;
    cvl_parallel_for(channels, 1, cvl_threads_for(channels, g->work), column_weights, &job);
    cvl_parallel_for(tasks, 1, threads, column_tasks, &job);
    cvl_free(memory);
    return CVL_OK;
}
