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

/* A channel's rows are summed by the kernel (or one by one where they are not contiguous), the rows'
 * sums in double. */
static double sum_channel(const bias_job *job, ptrdiff_t channel) {
    const cvl_data_strides *s = job->strides;
    const ptrdiff_t *size = job->size;
    const bool whole = s->s[2] == 1 && s->s[1] == size[2];
    const ptrdiff_t rows = whole ? 1 : size[1], length = whole ? size[1] * size[2] : size[2];
    double sum = 0;
    if (!size[0] || !size[1] || !size[2])
        return sum;
    for (ptrdiff_t n = 0; n < job->n; n++)
        for (ptrdiff_t d = 0; d < size[0]; d++)
            for (ptrdiff_t h = 0; h < rows; h++) {
                const ptrdiff_t at = n * s->n + channel * s->c + d * s->s[0] + h * s->s[1];
                if (job->dtype == CVL_F32) {
                    const float *row = (const float *)job->dy + at;
                    if (s->s[2] == 1)
                        sum += (double)job->kernels->f32->sum(row, length);
                    else
                        for (ptrdiff_t w = 0; w < length; w++)
                            sum += (double)row[w * s->s[2]];
                } else {
                    const double *row = (const double *)job->dy + at;
                    if (s->s[2] == 1)
                        sum += job->kernels->f64->sum(row, length);
                    else
                        for (ptrdiff_t w = 0; w < length; w++)
                            sum += row[w * s->s[2]];
                }
            }
    return sum;
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
