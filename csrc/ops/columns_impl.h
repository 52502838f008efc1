/* unfold and fold for one dtype. Included by columns.c with `real` and CVL_NAME defined. */

/* Both directions of one (channel, tap) row: `row` is its columns, x its channel. */
static void
CVL_NAME(walk_tap)(const columns_job *job, real *x, real *row, const ptrdiff_t k[], bool fold) {
    const cvl_problem *p = job->p;
    const cvl_axis *a = p->axis;
    const ptrdiff_t position = job->strides->position;
    ptrdiff_t first[CVL_AXES], last[CVL_AXES];
    if (!a[0].out || !a[1].out || !a[2].out)
        return;
    for (int i = 0; i < CVL_AXES; i++)
        positions_inside(&a[i], k[i], &first[i], &last[i]);

    for (ptrdiff_t od = 0; od < a[0].out; od++)
        for (ptrdiff_t oh = 0; oh < a[1].out; oh++) {
            real *columns = row + (od * a[1].out + oh) * a[2].out * position;
            const bool inside = od >= first[0] && od < last[0] && oh >= first[1] && oh < last[1];
            const ptrdiff_t begin = inside ? first[2] : a[2].out, end = inside ? last[2] : a[2].out;
            if (!fold) {
                for (ptrdiff_t ow = 0; ow < begin; ow++)
                    columns[ow * position] = 0;
                for (ptrdiff_t ow = end; ow < a[2].out; ow++)
                    columns[ow * position] = 0;
            }
            if (begin >= end)
                continue;
            const ptrdiff_t id = od * a[0].stride - a[0].pad + k[0] * a[0].dilation;
            const ptrdiff_t ih = oh * a[1].stride - a[1].pad + k[1] * a[1].dilation;
            const ptrdiff_t iw = begin * a[2].stride - a[2].pad + k[2] * a[2].dilation;
            const ptrdiff_t step = end - begin > 1 ? a[2].stride * p->x.s[2] : 0;
            real *cell = x + id * p->x.s[0] + ih * p->x.s[1] + iw * p->x.s[2];
            for (ptrdiff_t ow = begin; ow < end; ow++, cell += step)
                if (fold)
                    *cell += columns[ow * position];
                else
                    columns[ow * position] = *cell;
        }
}

static void CVL_NAME(walk_channel)(const columns_job *job, ptrdiff_t n, ptrdiff_t c, bool fold) {
    const cvl_problem *p = job->p;
    const cvl_axis *a = p->axis;
    const cvl_column_strides *s = job->strides;
    real *x = (real *)job->x + n * p->x.n + c * p->x.c;
    real *columns = (real *)job->columns + n * s->n;

    if (fold && a[1].in && a[2].in)
        for (ptrdiff_t d = 0; d < a[0].in; d++)
            for (ptrdiff_t h = 0; h < a[1].in; h++)
                for (ptrdiff_t w = 0; w < a[2].in; w++)
                    x[d * p->x.s[0] + h * p->x.s[1] + w * p->x.s[2]] = 0;

    ptrdiff_t row = c * a[0].k * a[1].k * a[2].k;
    ptrdiff_t k[CVL_AXES];
    for (k[0] = 0; k[0] < a[0].k; k[0]++)
        for (k[1] = 0; k[1] < a[1].k; k[1]++)
            for (k[2] = 0; k[2] < a[2].k; k[2]++, row++)
                CVL_NAME(walk_tap)(job, x, columns + row * s->row, k, fold);
}

static void CVL_NAME(unfold)(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const columns_job *job = context;
    (void)thread;
    for (ptrdiff_t i = begin; i < end; i++)
        CVL_NAME(walk_channel)(job, i / job->p->ic, i % job->p->ic, false);
}

static void CVL_NAME(fold)(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const columns_job *job = context;
    (void)thread;
    for (ptrdiff_t i = begin; i < end; i++)
        CVL_NAME(walk_channel)(job, i / job->p->ic, i % job->p->ic, true);
}
