/* Gather with neighbouring steps of the reduction along the lanes. Included by drivers_impl.h.
 *
 * For a kernel of one tap, and few positions, where weights are most of what is read, or few output
 * channels, where inputs are: either is met where it stands, once, in the order in which it does.
 * The other, and the biases, are copied first unless they stand so, too. A task takes some output
 * channels of a group, or some positions. */

typedef struct dot_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    const real *src, *w, *bias; /* where they stand, or copies: channels side by side */
    cvl_data_strides from;      /* of src, from position to position */
    ptrdiff_t w_group, w_oc;
    ptrdiff_t positions; /* of all images */
    ptrdiff_t splits;    /* of the output channels of a group, */
    ptrdiff_t parts;     /* and of the positions, into tasks */
} dot_job;

/* Output channels [first, first + rows) of a group at positions [position, end). */
static void dot_lines(const dot_job *job, ptrdiff_t group, ptrdiff_t first, ptrdiff_t rows,
                      ptrdiff_t position, ptrdiff_t end) {
    const cvl_gather *g = job->g;
    const cvl_data_strides *from = &job->from, *to = &g->dst_strides;
    const ptrdiff_t columns = g->axis[2].out, height = g->axis[1].out, depth = g->axis[0].out;
    const ptrdiff_t channel = group * g->oc + first;
    for (ptrdiff_t n; position < end; position += n) {
        const ptrdiff_t column = position % columns, line = position / columns;
        const ptrdiff_t h = line % height, d = line / height % depth, image = line / height / depth;
        n = cvl_least(columns - column, end - position);
        job->kernels->dots((real *)g->dst + image * to->n + channel * to->c + d * to->s[0] +
                               h * to->s[1] + column * to->s[2],
                           to->c, to->s[2], job->bias ? job->bias + channel : NULL,
                           job->w + group * job->w_group + first * job->w_oc, job->w_oc, rows,
                           job->src + image * from->n + group * g->ic * from->c + d * from->s[0] +
                               h * from->s[1] + column * from->s[2],
                           from->s[2], n, g->ic);
    }
}

static void dot_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const dot_job *job = context;
    const ptrdiff_t oc = job->g->oc;
    (void)thread;
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t part = index % job->parts, split = index / job->parts % job->splits;
        const ptrdiff_t first = oc * split / job->splits, last = oc * (split + 1) / job->splits;
        dot_lines(job, index / job->parts / job->splits, first, last - first,
                  job->positions * part / job->parts, job->positions * (part + 1) / job->parts);
    }
}

/* Copies the inputs of all positions, [n][depth][height][width][channel]. */
static void copy_positions(const dot_job *job, const real *src, const cvl_data_strides *from,
                           real *to) {
    const cvl_gather *g = job->g;
    const ptrdiff_t channels = g->groups * g->ic, columns = g->axis[2].out;
    for (ptrdiff_t n = 0; n < g->n; n++)
        for (ptrdiff_t d = 0; d < g->axis[0].out; d++)
            for (ptrdiff_t h = 0; h < g->axis[1].out; h++, to += columns * channels)
                job->kernels->copy(to, channels, 1,
                                   src + n * from->n + d * from->s[0] + h * from->s[1], from->s[2],
                                   from->c, columns, channels);
}

/* Copies what does not stand channel by channel. */
static void bring_dot_operands(dot_job *job, real *src, real *w, real *bias) {
    const cvl_gather *g = job->g;
    const ptrdiff_t channels = g->groups * g->ic, biases = g->groups * g->oc;
    if (src) {
        copy_positions(job, job->src, &job->from, src);
        job->src = src;
        job->from.c = 1;
        ptrdiff_t step = channels;
        for (int i = CVL_AXES - 1; i >= 0; i--) {
            job->from.s[i] = step;
            step *= g->axis[i].out;
        }
        job->from.n = step;
    }
    if (w) {
        for (ptrdiff_t group = 0; group < g->groups; group++)
            job->kernels->copy(w + group * g->oc * g->ic, g->ic, 1, job->w + group * g->w_group,
                               g->w_oc, g->w_ic, g->oc, g->ic);
        job->w = w;
        job->w_oc = g->ic;
        job->w_group = g->oc * g->ic;
    }
    if (bias) {
        job->kernels->copy(bias, biases, 1, job->bias, 0, g->bias_stride, 1, biases);
        job->bias = bias;
    }
}

cvl_status CVL_TYPED(cvl_gather_dots)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    enum { least_positions_of_part = 64 };
    dot_job job = {.g = g,
                   .kernels = all_kernels->CVL_DTYPE,
                   .src = g->src,
                   .w = g->w,
                   .bias = g->bias,
                   .from = g->src_strides,
                   .w_group = g->w_group,
                   .w_oc = g->w_oc,
                   .positions = g->n};
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_phase *p = g->axis[i].phases;
        job.src += p->in_first * g->src_strides.s[i];
        job.from.s[i] = g->axis[i].out > 1 ? p->in_step * g->src_strides.s[i] : 0;
        job.positions *= g->axis[i].out;
    }
    const ptrdiff_t channels = g->groups * g->ic, biases = g->groups * g->oc;
    const ptrdiff_t copied_src =
        g->src_strides.c != 1 && channels > 1 ? cvl_scale_bytes(job.positions, channels) : 0;
    const ptrdiff_t copied_w = g->w_ic != 1 && g->ic > 1 ? cvl_scale_bytes(biases, g->ic) : 0;
    const ptrdiff_t copied_bias = g->bias && g->bias_stride != 1 ? biases : 0;
    const ptrdiff_t src_bytes = cvl_part_bytes(copied_src, sizeof(real));
    const ptrdiff_t w_bytes = cvl_part_bytes(copied_w, sizeof(real));
    const ptrdiff_t bytes =
        cvl_add_bytes(cvl_add_bytes(src_bytes, w_bytes), cvl_part_bytes(copied_bias, sizeof(real)));
    char *const memory = cvl_alloc((size_t)bytes);
    if (!memory)
        return CVL_NO_MEMORY;
    bring_dot_operands(&job, copied_src ? (real *)memory : NULL,
                       copied_w ? (real *)(memory + src_bytes) : NULL,
                       copied_bias ? (real *)(memory + src_bytes + w_bytes) : NULL);

    const ptrdiff_t lots = cvl_ceil_div(cvl_enough_tasks(g->work), g->groups);
    const bool by_rows = g->oc >= job.positions;
    const ptrdiff_t most_parts = cvl_ceil_div(job.positions, least_positions_of_part);
    job.splits = by_rows ? cvl_least(g->oc, lots) : 1;
    job.parts = by_rows ? 1 : cvl_least(most_parts, lots);
    const ptrdiff_t tasks = g->groups * job.splits * job.parts;
    const int threads = cvl_threads_for(tasks, g->work);
    cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, dot_tasks, &job);
    cvl_free(memory);
    return CVL_OK;
}
