/* Gather with neighbouring steps of the reduction along the lanes. Included by drivers_impl.h.
 *
 * For few positions and a kernel of one tap: then weights are most of what is read. They are met
 * where they stand, once, in the order in which they do; no other way has use for all lanes and
 * packs none. A task takes some output channels of a group and all positions, row by row. */

typedef struct dot_job {
    const cvl_gather *g;
    const kernel_table *kernels;
    const real *src, *bias; /* channels and biases side by side: where they stand, or copies */
    cvl_data_strides from;  /* of src, from position to position */
    ptrdiff_t splits;       /* of the output channels of a group, into tasks */
} dot_job;

static void dot_tasks(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const dot_job *job = context;
    const cvl_gather *g = job->g;
    const cvl_data_strides *from = &job->from, *to = &g->dst_strides;
    (void)thread;
    for (ptrdiff_t index = begin; index < end; index++) {
        const ptrdiff_t group = index / job->splits, split = index % job->splits;
        const ptrdiff_t first = g->oc * split / job->splits;
        const ptrdiff_t rows = g->oc * (split + 1) / job->splits - first;
        const ptrdiff_t channel = group * g->oc + first;
        const real *const w = (const real *)g->w + group * g->w_group + first * g->w_oc;
        for (ptrdiff_t n = 0; n < g->n; n++)
            for (ptrdiff_t d = 0; d < g->axis[0].out; d++)
                for (ptrdiff_t h = 0; h < g->axis[1].out; h++)
                    job->kernels->dots(
                        (real *)g->dst + n * to->n + channel * to->c + d * to->s[0] + h * to->s[1],
                        to->c, to->s[2], job->bias ? job->bias + channel : NULL, w, g->w_oc, rows,
                        job->src + n * from->n + group * g->ic * from->c + d * from->s[0] +
                            h * from->s[1],
                        from->s[2], g->axis[2].out, g->ic);
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

cvl_status CVL_TYPED(cvl_gather_dots)(const cvl_gather *g, const cvl_kernels *all_kernels) {
    const ptrdiff_t channels = g->groups * g->ic, biases = g->bias ? g->groups * g->oc : 0;
    dot_job job = {.g = g,
                   .kernels = all_kernels->CVL_DTYPE,
                   .src = g->src,
                   .bias = g->bias,
                   .from = g->src_strides};
    ptrdiff_t positions = g->n;
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_phase *p = g->axis[i].phases;
        job.src += p->in_first * g->src_strides.s[i];
        job.from.s[i] = g->axis[i].out > 1 ? p->in_step * g->src_strides.s[i] : 0;
        positions *= g->axis[i].out;
    }
    const bool packed = g->src_strides.c != 1 && channels > 1;
    const bool bias_packed = biases > 0 && g->bias_stride != 1;
    const ptrdiff_t src_bytes = packed ? cvl_part_bytes(positions * channels, sizeof(real)) : 0;
    const ptrdiff_t bias_bytes = bias_packed ? cvl_part_bytes(biases, sizeof(real)) : 0;
    char *const memory = cvl_alloc((size_t)(src_bytes + bias_bytes));
    if (!memory)
        return CVL_NO_MEMORY;
    if (packed) {
        copy_positions(&job, job.src, &job.from, (real *)memory);
        job.src = (const real *)memory;
        job.from.c = 1;
        ptrdiff_t step = channels;
        for (int i = CVL_AXES - 1; i >= 0; i--) {
            job.from.s[i] = step;
            step *= g->axis[i].out;
        }
        job.from.n = step;
    }
    if (bias_packed) {
        job.bias = (const real *)(memory + src_bytes);
        job.kernels->copy((real *)job.bias, biases, 1, g->bias, 0, g->bias_stride, 1, biases);
    }
    const ptrdiff_t tasks_wanted = cvl_enough_tasks(g->work);
    job.splits = least(g->oc, (tasks_wanted + g->groups - 1) / g->groups);
    const ptrdiff_t tasks = g->groups * job.splits;
    const int threads = cvl_threads_for(tasks, g->work);
    cvl_parallel_for(tasks, task_grain(g->work, tasks, threads), threads, dot_tasks, &job);
    cvl_free(memory);
    return CVL_OK;
}
