/* db, the sum of dy over everything but its channels: equation (4) of docs/math.md. */
#include "cvl.h"
#include "kernels/kernels.h"
#include "support/threads.h"

typedef struct bias_job {
    cvl_dtype dtype;
    const cvl_kernels *kernels;
    void *db;
    const void *dy;
    ptrdiff_t db_stride, n;
    const ptrdiff_t *size;
    const cvl_data_strides *strides;
} bias_job;

/* Some elements of a row: few, so that little is lost to rounding. */
static double sum_piece(const bias_job *job, ptrdiff_t at, ptrdiff_t terms) {
    const ptrdiff_t step = job->strides->s[2];
    const float *f32 = (const float *)job->dy + at;
    const double *f64 = (const double *)job->dy + at;
    if (step == 1)
        return job->dtype == CVL_F32 ? (double)job->kernels->f32->sum(f32, terms)
                                     : job->kernels->f64->sum(f64, terms);
    double sum = 0;
    for (ptrdiff_t i = 0; i < terms; i++)
        sum += job->dtype == CVL_F32 ? (double)f32[i * step] : f64[i * step];
    return sum;
}

/* A sum of pieces, itself in parts: one running sum would be rounded as often as there are
 * pieces. */
typedef struct parted_sum {
    double total, part;
    int terms; /* of the part */
} parted_sum;

static void add(parted_sum *s, double term) {
    enum { most_terms = 32 };
    s->part += term;
    if (++s->terms == most_terms) {
        s->total += s->part;
        s->part = 0;
        s->terms = 0;
    }
}

/* The kernel sums on many lanes; elements apart are summed on one. */
static double sum_channel(const bias_job *job, ptrdiff_t channel) {
    enum { piece_on_lanes = 256, piece_on_one = 32 };
    const cvl_data_strides *s = job->strides;
    const ptrdiff_t *size = job->size;
    const bool whole = s->s[2] == 1 && s->s[1] == size[2];
    const ptrdiff_t rows = whole ? 1 : size[1], length = whole ? size[1] * size[2] : size[2];
    const ptrdiff_t piece = s->s[2] == 1 ? piece_on_lanes : piece_on_one;
    parted_sum sum = {0};
    if (!size[0] || !size[1] || !size[2])
        return 0;
    for (ptrdiff_t n = 0; n < job->n; n++)
        for (ptrdiff_t d = 0; d < size[0]; d++)
            for (ptrdiff_t h = 0; h < rows; h++) {
                const ptrdiff_t row = n * s->n + channel * s->c + d * s->s[0] + h * s->s[1];
                for (ptrdiff_t w = 0; w < length; w += piece)
                    add(&sum,
                        sum_piece(job, row + w * s->s[2], length - w < piece ? length - w : piece));
            }
    return sum.total + sum.part;
}

static void sum_channels(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const bias_job *job = context;
    (void)thread;
    for (ptrdiff_t c = begin; c < end; c++) {
        const double sum = sum_channel(job, c);
        if (job->dtype == CVL_F32)
            ((float *)job->db)[c * job->db_stride] = (float)sum;
        else
            ((double *)job->db)[c * job->db_stride] = sum;
    }
}

cvl_status cvl_grad_bias(cvl_dtype dtype, void *db, ptrdiff_t db_stride, const void *dy,
                         ptrdiff_t n, ptrdiff_t channels, const ptrdiff_t size[CVL_AXES],
                         const cvl_data_strides *strides) {
    bias_job job = {dtype, cvl_kernels_in_use(), db, dy, db_stride, n, size, strides};
    const double work =
        (double)n * (double)channels * (double)size[0] * (double)size[1] * (double)size[2];
    const int threads = cvl_threads_for(channels, work / 4);
    cvl_parallel_for(channels, channels / (8 * threads) + 1, threads, sum_channels, &job);
    return CVL_OK;
}
