/* The three primitives for one dtype, as the formulas of docs/math.md read. Included by reference.c
 * with `real` and CVL_NAME defined. */

/* Channel c of image n, to be indexed by spatial position. */
static const real *CVL_NAME(channel)(const void *base, const cvl_data_strides *s, ptrdiff_t n,
                                     ptrdiff_t c) {
    return (const real *)base + n * s->n + c * s->c;
}

/* (1) y[o] = b[o] + sum_{i,k} x[stride*o - pad + dilation*k] * w[o,i,k] */
static void CVL_NAME(forward)(const cvl_problem *p, real *y, const real *x, const real *w,
                              const real *b, ptrdiff_t b_stride) {
    for (ptrdiff_t n = 0; n < p->n; n++)
    for (ptrdiff_t g = 0; g < p->groups; g++)
    for (ptrdiff_t o = 0; o < p->oc; o++)
    for_each_position(p->axis, out, od, oh, ow) {
        double sum = b ? (double)b[(g * p->oc + o) * b_stride] : 0.0;
        for (ptrdiff_t i = 0; i < p->ic; i++)
        for_each_position(p->axis, k, kd, kh, kw) {
            const ptrdiff_t id = cvl_input_index(&p->axis[0], od, kd);
            const ptrdiff_t ih = cvl_input_index(&p->axis[1], oh, kh);
            const ptrdiff_t iw = cvl_input_index(&p->axis[2], ow, kw);
            if (id < 0 || ih < 0 || iw < 0)
                continue;
            sum += (double)CVL_NAME(channel)(x, &p->x, n, g * p->ic + i)[at(p->x.s, id, ih, iw)]
                 * (double)w[(g * p->oc + o) * p->w.oc + i * p->w.ic + at(p->w.k, kd, kh, kw)];
        }
        y[n * p->y.n + (g * p->oc + o) * p->y.c + at(p->y.s, od, oh, ow)] = (real)sum;
    }
}

/* (2) dx[i] = b[i] + sum_{o,k : stride*out - pad + dilation*k = in} dy[o] * w[o,i,k] */
static void CVL_NAME(grad_input)(const cvl_problem *p, real *dx, const real *dy, const real *w,
                                 const real *b, ptrdiff_t b_stride) {
    for (ptrdiff_t n = 0; n < p->n; n++)
    for (ptrdiff_t g = 0; g < p->groups; g++)
    for (ptrdiff_t i = 0; i < p->ic; i++)
    for_each_position(p->axis, in, id, ih, iw) {
        double sum = b ? (double)b[(g * p->ic + i) * b_stride] : 0.0;
        for (ptrdiff_t o = 0; o < p->oc; o++)
        for_each_position(p->axis, k, kd, kh, kw) {
            const ptrdiff_t od = cvl_output_index(&p->axis[0], id, kd);
            const ptrdiff_t oh = cvl_output_index(&p->axis[1], ih, kh);
            const ptrdiff_t ow = cvl_output_index(&p->axis[2], iw, kw);
            if (od < 0 || oh < 0 || ow < 0)
                continue;
            sum += (double)CVL_NAME(channel)(dy, &p->y, n, g * p->oc + o)[at(p->y.s, od, oh, ow)]
                 * (double)w[(g * p->oc + o) * p->w.oc + i * p->w.ic + at(p->w.k, kd, kh, kw)];
        }
        dx[n * p->x.n + (g * p->ic + i) * p->x.c + at(p->x.s, id, ih, iw)] = (real)sum;
    }
}

/* (3) dw[o,i,k] = sum_{n,out} dy[o] * x[stride*out - pad + dilation*k] */
static void CVL_NAME(grad_weight)(const cvl_problem *p, real *dw, const real *dy, const real *x) {
    for (ptrdiff_t g = 0; g < p->groups; g++)
    for (ptrdiff_t o = 0; o < p->oc; o++)
    for (ptrdiff_t i = 0; i < p->ic; i++)
    for_each_position(p->axis, k, kd, kh, kw) {
        double sum = 0.0;
        for (ptrdiff_t n = 0; n < p->n; n++)
        for_each_position(p->axis, out, od, oh, ow) {
            const ptrdiff_t id = cvl_input_index(&p->axis[0], od, kd);
            const ptrdiff_t ih = cvl_input_index(&p->axis[1], oh, kh);
            const ptrdiff_t iw = cvl_input_index(&p->axis[2], ow, kw);
            if (id < 0 || ih < 0 || iw < 0)
                continue;
            sum += (double)CVL_NAME(channel)(dy, &p->y, n, g * p->oc + o)[at(p->y.s, od, oh, ow)]
                 * (double)CVL_NAME(channel)(x, &p->x, n, g * p->ic + i)[at(p->x.s, id, ih, iw)];
        }
        dw[(g * p->oc + o) * p->w.oc + i * p->w.ic + at(p->w.k, kd, kh, kw)] = (real)sum;
    }
}
