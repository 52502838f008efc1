#include "trial.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/winograd_cost.h"

const char *const operation_names[N_OPERATIONS] = {"forward",   "grad_input", "grad_weight",
                                                   "grad_bias", "unfold",     "fold"};

/* ---- elements ------------------------------------------------------------------------------- */

static size_t real_bytes(cvl_dtype dtype) {
    return dtype == CVL_F32 ? sizeof(float) : sizeof(double);
}

static void put(cvl_dtype dtype, void *base, ptrdiff_t at, double value) {
    if (dtype == CVL_F32)
        ((float *)base)[at] = (float)value;
    else
        ((double *)base)[at] = value;
}

static double get(cvl_dtype dtype, const void *base, ptrdiff_t at) {
    return dtype == CVL_F32 ? (double)((const float *)base)[at] : ((const double *)base)[at];
}

static ptrdiff_t count(const view *v) {
    ptrdiff_t n = 1;
    for (int i = 0; i < v->rank; i++)
        if (v->size[i] == 0)
            return 0;
    for (int i = 0; i < v->rank; i++)
        n *= v->stride[i] || v->size[i] < 2 ? v->size[i] : 1;
    return n;
}

/* The next index of a walk over all elements that differ; false after the last. */
static bool next(const view *v, ptrdiff_t index[MOST_AXES]) {
    for (int i = v->rank - 1; i >= 0; i--) {
        if (++index[i] < v->size[i] && v->stride[i])
            return true;
        index[i] = 0;
    }
    return false;
}

static ptrdiff_t element(const view *v, const ptrdiff_t index[MOST_AXES]) {
    ptrdiff_t at = 0;
    for (int i = 0; i < v->rank; i++)
        at += index[i] ? index[i] * v->stride[i] : 0;
    return at;
}

/* ---- layouts -------------------------------------------------------------------------------- */

static const ptrdiff_t extremes[] = {
    (ptrdiff_t)1 << 31,   (ptrdiff_t)1 << 53, PTRDIFF_MAX / 64 - 1, PTRDIFF_MAX / 64,
    PTRDIFF_MAX / 64 + 1, (ptrdiff_t)1 << 62, PTRDIFF_MAX,
};

static ptrdiff_t draw_extreme(source *s) {
    return extremes[draw(s, 0, sizeof extremes / sizeof *extremes - 1)];
}

/* An axis this long has a stride of zero: only an input's can be. */
enum { most_stored = 1 << 20 };

enum { PLAIN, LAST, ANY, LAYOUTS }; /* channels first, channels last, any */

/* Strides in elements, in the order of the axes or of a permutation, with gaps, reversed or
 * zero. */
static void draw_strides(source *s, view *v, bool is_output) {
    int order[MOST_AXES];
    const int layout = (int)draw(s, 0, LAYOUTS - 1);
    for (int i = 0; i < v->rank; i++)
        order[i] = v->rank - 1 - i;
    if (layout == LAST && v->rank == 5) {
        const int channels_last[] = {1, 4, 3, 2, 0};
        memcpy(order, channels_last, sizeof channels_last);
    }
    if (layout == ANY)
        for (int i = v->rank - 1; i > 0; i--) {
            const int j = (int)draw(s, 0, i), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
    ptrdiff_t step = layout == ANY ? draw(s, 1, 3) : 1;
    for (int i = 0; i < v->rank; i++) {
        const int axis = order[i];
        const ptrdiff_t size = v->size[axis];
        v->stride[axis] = layout == ANY && one_in(s, 4) ? -step : step;
        if (size >= most_stored || (!is_output && size > 1 && one_in(s, 16)))
            v->stride[axis] = 0;
        else if (size <= 1 && layout == ANY && one_in(s, 4))
            v->stride[axis] = one_in(s, 4) ? PTRDIFF_MAX / 16 : draw(s, -5, 5);
        else
            step = size ? step * size + (layout == ANY && one_in(s, 4) ? draw(s, 0, 9) : 0) : step;
    }
}

static void fill_with_nan(cvl_dtype dtype, guarded *g) {
    for (size_t i = 0; i < g->bytes / real_bytes(dtype); i++)
        put(dtype, g->data, (ptrdiff_t)i, NAN);
}

static void allocate(source *s, cvl_dtype dtype, view *v) {
    ptrdiff_t low = 0, high = -1;
    if (count(v)) {
        high = 0;
        for (int i = 0; i < v->rank; i++) {
            const ptrdiff_t reach = v->size[i] > 1 ? (v->size[i] - 1) * v->stride[i] : 0;
            *(reach < 0 ? &low : &high) += reach;
        }
    }
    const bool flush_with_end = draw(s, 0, 1);
    v->memory = guard_alloc((size_t)(high - low + 1) * real_bytes(dtype), flush_with_end);
    v->base = (char *)v->memory.data - low * (ptrdiff_t)real_bytes(dtype);
    v->in_use = true;
    fill_with_nan(dtype, &v->memory);
}

/* The values themselves need not come from the fuzzer's bytes, one seed does. */
static void fill(source *s, const trial *t, view *v, values values) {
    source own = {.state = draw_word(s, 1)};
    ptrdiff_t index[MOST_AXES] = {0};
    const double special[] = {NAN, INFINITY, -INFINITY};
    if (count(v))
        do {
            double value = values == REAL ? (double)draw(&own, -10000, 10000) / 10000
                                          : (double)draw(&own, -4, 4);
            if (values == HOSTILE && one_in(&own, 40))
                value = special[draw(&own, 0, 2)];
            put(t->p.dtype, v->base, element(v, index), value);
        } while (next(v, index));
    guard_read_only(&v->memory);
}

static void take_strides(ptrdiff_t to[CVL_AXES], const view *v) {
    memcpy(to, v->stride + v->rank - CVL_AXES, CVL_AXES * sizeof *to);
}

/* ---- problems ------------------------------------------------------------------------------- */

static cvl_axis draw_axis(source *s, bool long_axis, bool pointwise) {
    cvl_axis a = {.k = 1, .stride = 1, .dilation = 1};
    a.in = draw(s, 1, long_axis ? 40 : 7);
    if (pointwise && !one_in(s, 8)) {
        a.out = a.in;
        return a;
    }
    a.k = draw(s, 1, long_axis ? 5 : 3);
    a.stride = one_in(s, 2) ? 1 : draw(s, 1, 5);
    a.dilation = one_in(s, 2) ? 1 : draw(s, 1, 5);
    a.pad = one_in(s, 2) ? 0 : draw(s, -3, 8);
    const ptrdiff_t room = a.in + 2 * a.pad - a.dilation * (a.k - 1) - 1;
    a.out = room < 0 ? draw(s, 0, 3) : room / a.stride + 1 + (one_in(s, 4) ? draw(s, -1, 4) : 0);
    if (one_in(s, 32))
        a.in = 0;
    if (one_in(s, 32))
        a.out = 0;
    if (one_in(s, 64))
        a.k = 0;
    return a;
}

/* Numbers at the edges of what fits. Sizes too, where an input can have them by a stride of
 * zero. */
static void make_extreme(source *s, operation op, cvl_axis *a) {
    ptrdiff_t *const size = op == FORWARD || op == GRAD_WEIGHT || op == UNFOLD ? &a->in : &a->out;
    switch (draw(s, 0, 3)) {
    case 0: a->stride = draw_extreme(s); break;
    case 1: a->dilation = draw_extreme(s); break;
    case 2: a->pad = one_in(s, 2) ? draw_extreme(s) : -draw_extreme(s); break;
    default:
        if (op != GRAD_BIAS && op != FOLD)
            *size = (ptrdiff_t)1 << draw(s, 20, 40);
    }
}

static double work(const trial *t) {
    double n = (double)t->p.n * (double)t->p.groups * (double)t->p.oc * (double)t->p.ic;
    for (int i = 0; i < CVL_AXES; i++) {
        const cvl_axis *a = &t->p.axis[i];
        n *= (double)(t->op == GRAD_INPUT  ? a->in * a->k
                      : t->op == GRAD_BIAS ? a->out
                                           : a->out * a->k);
    }
    return n;
}

/* The most elements that an array has, were those of a stride of zero stored once. */
static double elements(const cvl_problem *p) {
    double x = (double)p->n * (double)p->groups * (double)p->ic;
    double y = (double)p->n * (double)p->groups * (double)p->oc;
    for (int i = 0; i < CVL_AXES; i++) {
        x *= p->axis[i].in < most_stored ? (double)p->axis[i].in : 1;
        y *= p->axis[i].out < most_stored ? (double)p->axis[i].out : 1;
    }
    return x > y ? x : y;
}

/* Halves the largest of the numbers that the reference's loops run over, until they are few
 * enough. */
static void bound_work(trial *t, double most) {
    cvl_problem *p = &t->p;
    while (work(t) > most || elements(p) > most) {
        ptrdiff_t *largest = &p->n, *const sizes[] = {&p->groups, &p->ic, &p->oc};
        for (int i = 0; i < 3; i++)
            if (*sizes[i] > *largest)
                largest = sizes[i];
        for (int i = 0; i < CVL_AXES; i++) {
            ptrdiff_t *const size = t->op == GRAD_INPUT ? &p->axis[i].in : &p->axis[i].out;
            if (*size > *largest)
                largest = size;
            if (p->axis[i].k > *largest)
                largest = &p->axis[i].k;
        }
        *largest = (*largest + 1) / 2;
    }
}

static void draw_problem(source *s, trial *t, double most_work) {
    cvl_problem *p = &t->p;
    const ptrdiff_t channels = one_in(s, 2) ? 4 : 40;
    const bool pointwise = one_in(s, 6), extreme = one_in(s, 8);
    const int rank = (int)draw(s, 1, CVL_AXES);
    p->n = draw(s, 1, 3);
    p->groups = one_in(s, 3) ? draw(s, 1, 40) : 1;
    p->ic = one_in(s, 3) ? 1 : draw(s, 1, channels);
    p->oc = one_in(s, 3) ? 1 : draw(s, 1, channels);
    /* Many groups are depthwise as often as not; no draw of its own, so that the corpus keeps its
     * meaning. */
    if (p->groups > 8 && p->groups % 2 == 0)
        p->ic = p->oc = 1;
    if (one_in(s, 64))
        *(ptrdiff_t *[]){&p->n, &p->ic, &p->oc}[draw(s, 0, 2)] = 0;
    for (int i = 0; i < CVL_AXES; i++) {
        p->axis[i] = (cvl_axis){.in = 1, .out = 1, .k = 1, .stride = 1, .dilation = 1};
        if (i >= CVL_AXES - rank)
            p->axis[i] = draw_axis(s, i == CVL_AXES - 1, pointwise);
    }
    if (t->op == UNFOLD || t->op == FOLD)
        p->groups = p->oc = 1;
    if (extreme)
        make_extreme(s, t->op, &p->axis[draw(s, CVL_AXES - rank, CVL_AXES - 1)]);
    bound_work(t, most_work);
}

/* Channels of a vector and more, and windows that Winograd's filtering can take apart. */
static void draw_filterable(source *s, trial *t) {
    cvl_problem *p = &t->p;
    const ptrdiff_t most_taps[CVL_AXES] = {3, 5, 11}, most_size[CVL_AXES] = {4, 20, 30};
    p->n = draw(s, 1, 2);
    p->groups = one_in(s, 4) ? 2 : 1;
    p->ic = draw(s, 8, 72);
    p->oc = draw(s, 8, 72);
    for (int i = 0; i < CVL_AXES; i++) {
        cvl_axis *a = &p->axis[i];
        *a = (cvl_axis){.in = 1, .out = 1, .k = 1, .stride = 1, .dilation = 1};
        if (i == 0 && !one_in(s, 4))
            continue;
        a->k = one_in(s, 3) ? draw(s, 1, most_taps[i]) : 3;
        a->stride = one_in(s, 2) ? 1 : draw(s, 1, 3);
        a->dilation = one_in(s, 3) ? draw(s, 1, 3) : 1;
        a->pad = draw(s, 0, a->dilation * (a->k - 1));
        a->in = a->dilation * (a->k - 1) + draw(s, 1, most_size[i]);
        a->out = (a->in + 2 * a->pad - a->dilation * (a->k - 1) - 1) / a->stride + 1;
    }
    if (one_in(s, 8)) { /* tiles far apart, of padding but for the first */
        cvl_axis *const a = &p->axis[draw(s, 1, CVL_AXES - 1)];
        a->stride = (ptrdiff_t)1 << draw(s, 4, 40);
        a->out = draw(s, 2, 4);
    }
    bound_work(t, 2e7);
}

/* Few channels of many, which several taps bring together. */
static void draw_few_sums(source *s, trial *t) {
    cvl_problem *p = &t->p;
    const ptrdiff_t most_taps[CVL_AXES] = {3, 5, 7}, most_size[CVL_AXES] = {4, 20, 40};
    ptrdiff_t *const few = t->op == FORWARD ? &p->oc : &p->ic;
    ptrdiff_t *const many = t->op == FORWARD ? &p->ic : &p->oc;
    p->n = draw(s, 1, 3);
    p->groups = one_in(s, 4) ? 2 : 1;
    *few = draw(s, 1, 3);
    *many = draw(s, 40, 300);
    for (int i = 0; i < CVL_AXES; i++) {
        cvl_axis *a = &p->axis[i];
        *a = (cvl_axis){.in = 1, .out = 1, .k = 1, .stride = 1, .dilation = 1};
        if (i == 0 ? !one_in(s, 4) : i == 1 && one_in(s, 4))
            continue;
        a->k = draw(s, 2, most_taps[i]);
        a->stride = t->op == FORWARD || one_in(s, 2) ? 1 : draw(s, 1, 4);
        a->dilation = one_in(s, 3) ? draw(s, 1, 4) : 1;
        a->pad = draw(s, -1, a->dilation * (a->k - 1));
        const ptrdiff_t room = a->dilation * (a->k - 1) + draw(s, 1, most_size[i]);
        a->in = room - 2 * a->pad > 0 ? room - 2 * a->pad : 1;
        a->out = (a->in + 2 * a->pad - a->dilation * (a->k - 1) - 1) / a->stride + 1;
        a->out = a->out > 1 ? a->out : 1;
        a->in += draw(s, 0, a->stride - 1);
    }
    bound_work(t, 2e7);
}

static void set_size(view *v, int rank, const ptrdiff_t *size) {
    v->rank = rank;
    memcpy(v->size, size, (size_t)rank * sizeof *size);
}

/* The arrays of a problem, how they lie in memory, and what is in them. */
static void draw_arrays(source *s, trial *t) {
    cvl_problem *p = &t->p;
    const operation op = t->op;
    const cvl_dtype dtype = p->dtype;
    const values values = t->values;
    const cvl_axis *a = p->axis;
    const ptrdiff_t taps = a[0].k * a[1].k * a[2].k;
    const ptrdiff_t places = op == UNFOLD || op == FOLD ? a[0].out * a[1].out * a[2].out : 0;
    const bool with_bias = op == GRAD_BIAS || (op < GRAD_WEIGHT && draw(s, 0, 1));
    view *const all[] = {&t->x, &t->y, &t->w, &t->columns, &t->b};
    const bool columns = op == UNFOLD || op == FOLD;
    const bool used[] = {op != GRAD_BIAS, !columns, op < GRAD_BIAS, columns, with_bias};
    view *const outputs[] = {&t->y, &t->x, &t->w, &t->b, &t->columns, &t->x};
    t->out = outputs[op];

    const ptrdiff_t ic = p->groups * p->ic, oc = p->groups * p->oc;
    set_size(&t->x, 5, (ptrdiff_t[]){p->n, ic, a[0].in, a[1].in, a[2].in});
    set_size(&t->y, 5, (ptrdiff_t[]){p->n, oc, a[0].out, a[1].out, a[2].out});
    set_size(&t->w, 5, (ptrdiff_t[]){oc, p->ic, a[0].k, a[1].k, a[2].k});
    set_size(&t->columns, 3, (ptrdiff_t[]){p->n, p->ic * taps, places});
    set_size(&t->b, 1, (ptrdiff_t[]){op == GRAD_INPUT ? ic : oc});

    view *const slides[] = {&t->x, &t->y, &t->x, &t->y, &t->x, &t->columns};
    for (int i = 0; i < 5; i++)
        if (used[i]) {
            draw_strides(s, all[i], all[i] == t->out);
            allocate(s, dtype, all[i]);
            if (all[i] != t->out)
                fill(s, t, all[i], values == HOSTILE && all[i] != slides[op] ? WHOLE : values);
        }
    p->x = (cvl_data_strides){.n = t->x.stride[0], .c = t->x.stride[1]};
    p->y = (cvl_data_strides){.n = t->y.stride[0], .c = t->y.stride[1]};
    p->w = (cvl_weight_strides){.oc = t->w.stride[0], .ic = t->w.stride[1]};
    take_strides(p->x.s, &t->x);
    take_strides(p->y.s, &t->y);
    take_strides(p->w.k, &t->w);
    t->threads = (int)draw(s, 1, 3);

    char axes[600] = "";
    for (int i = 0, at = 0; i < CVL_AXES; i++)
        at += snprintf(axes + at, sizeof axes - (size_t)at,
                       " {in %td out %td k %td stride %td pad %td dilation %td}", a[i].in, a[i].out,
                       a[i].k, a[i].stride, a[i].pad, a[i].dilation);
    guard_case("%s %s %s n %td groups %td ic %td oc %td%s x{%td %td %td %td %td} y{%td %td %td %td "
               "%td} w{%td %td %td %td %td} columns{%td %td %td} bias %d values %d threads %d",
               cvl_isa(), operation_names[op], dtype == CVL_F32 ? "f32" : "f64", p->n, p->groups,
               p->ic, p->oc, axes, p->x.n, p->x.c, p->x.s[0], p->x.s[1], p->x.s[2], p->y.n, p->y.c,
               p->y.s[0], p->y.s[1], p->y.s[2], p->w.oc, p->w.ic, p->w.k[0], p->w.k[1], p->w.k[2],
               t->columns.stride[0], t->columns.stride[1], t->columns.stride[2], with_bias,
               (int)values, t->threads);
}

void trial_draw(source *s, operation op, cvl_dtype dtype, values values, double most_work,
                trial *t) {
    *t = (trial){.op = op, .p.dtype = dtype, .values = values};
    draw_problem(s, t, most_work);
    draw_arrays(s, t);
}

void trial_free(trial *t) {
    view *const all[] = {&t->x, &t->y, &t->w, &t->columns, &t->b};
    for (int i = 0; i < 5; i++)
        if (all[i]->in_use)
            guard_free(&all[i]->memory);
    guard_free(&t->expected);
}

/* ---- choices -------------------------------------------------------------------------------- */

static _Thread_local int n_taken[N_KINDS];

int trials_taken(kind kind) {
    return n_taken[kind];
}

/* The core takes Winograd's filtering where it estimates that to pay, as it does in few problems as
 * small as these: every other trial says that it costs nothing, where it can be. */
static _Thread_local bool filtering_is_free;

/* Infinite where filtering cannot be. */
static double filtering_cost(double estimate) {
    if (!filtering_is_free || isinf(estimate))
        return estimate;
    n_taken[FOR_FILTERING]++;
    return -1;
}

typeof(cvl_winograd_gather_cost) __real_cvl_winograd_gather_cost, __wrap_cvl_winograd_gather_cost;
typeof(cvl_winograd_reduce_cost) __real_cvl_winograd_reduce_cost, __wrap_cvl_winograd_reduce_cost;

double __wrap_cvl_winograd_gather_cost(cvl_dtype dtype, const cvl_gather *g, double depths,
                                       double sources, const cvl_kernels *kernels) {
    return filtering_cost(__real_cvl_winograd_gather_cost(dtype, g, depths, sources, kernels));
}

double __wrap_cvl_winograd_reduce_cost(cvl_dtype dtype, const cvl_reduce *r, double depths,
                                       double sources, const cvl_kernels *kernels) {
    return filtering_cost(__real_cvl_winograd_reduce_cost(dtype, r, depths, sources, kernels));
}

typeof(cvl_gather_columns_f32) __real_cvl_gather_columns_f32, __wrap_cvl_gather_columns_f32;
typeof(cvl_gather_columns_f64) __real_cvl_gather_columns_f64, __wrap_cvl_gather_columns_f64;

cvl_status __wrap_cvl_gather_columns_f32(const cvl_gather *g, const cvl_kernels *kernels) {
    n_taken[FOR_COLUMNS]++;
    return __real_cvl_gather_columns_f32(g, kernels);
}

cvl_status __wrap_cvl_gather_columns_f64(const cvl_gather *g, const cvl_kernels *kernels) {
    n_taken[FOR_COLUMNS]++;
    return __real_cvl_gather_columns_f64(g, kernels);
}

/* ---- runs ----------------------------------------------------------------------------------- */

cvl_status trial_run(trial *t) {
    const cvl_problem *p = &t->p;
    const void *b = t->b.in_use ? t->b.base : NULL;
    const ptrdiff_t b_stride = t->b.stride[0], *c = t->columns.stride;
    const cvl_column_strides columns = {.n = c[0], .row = c[1], .position = c[2]};
    fill_with_nan(p->dtype, &t->out->memory);
    cvl_set_num_threads(t->threads);
    filtering_is_free =
        t->kind == FOR_FILTERING || (p->ic + p->oc) % 2 == 0; /* no draw of its own, either */
    switch (t->op) {
    case FORWARD: return cvl_forward(p, t->y.base, t->x.base, t->w.base, b, b_stride);
    case GRAD_INPUT: return cvl_grad_input(p, t->x.base, t->y.base, t->w.base, b, b_stride);
    case GRAD_WEIGHT: return cvl_grad_weight(p, t->w.base, t->y.base, t->x.base);
    case GRAD_BIAS:
        return cvl_grad_bias(p->dtype, t->b.base, b_stride, t->y.base, p->n, p->groups * p->oc,
                             t->y.size + 2, &p->y);
    case UNFOLD: return cvl_unfold(p, t->columns.base, t->x.base, &columns);
    default: return cvl_fold(p, t->x.base, t->columns.base, &columns);
    }
}

/* db[c] = the sum of dy[:, c] */
static void expect_grad_bias(trial *t, void *db) {
    const view *dy = &t->y;
    for (ptrdiff_t c = 0; c < dy->size[1]; c++) {
        double sum = 0;
        ptrdiff_t i[MOST_AXES];
        for (i[0] = 0, i[1] = c; i[0] < dy->size[0]; i[0]++)
            for (i[2] = 0; i[2] < dy->size[2]; i[2]++)
                for (i[3] = 0; i[3] < dy->size[3]; i[3]++)
                    for (i[4] = 0; i[4] < dy->size[4]; i[4]++)
                        sum += get(t->p.dtype, dy->base, element(dy, i));
        put(t->p.dtype, db, c * t->b.stride[0], sum);
    }
}

/* columns[n, (c, k), o] = x[n, c, o*stride - pad + k*dilation], or fold's adjoint of it. */
static void expect_columns(trial *t, void *out) {
    const cvl_dtype dtype = t->p.dtype;
    const cvl_axis *a = t->p.axis;
    ptrdiff_t c[MOST_AXES] = {0}, in[MOST_AXES] = {0};
    if (t->op == FOLD && count(&t->x))
        do
            put(dtype, out, element(&t->x, in), 0);
        while (next(&t->x, in));
    if (count(&t->columns) == 0)
        return;
    do {
        ptrdiff_t row = c[1], position = c[2];
        bool inside = true;
        in[0] = c[0];
        for (int i = CVL_AXES - 1; i >= 0; i--) {
            const ptrdiff_t k = row % a[i].k, o = position % a[i].out;
            in[i + 2] = (o ? o * a[i].stride : 0) - a[i].pad + (k ? k * a[i].dilation : 0);
            inside &= in[i + 2] >= 0 && in[i + 2] < a[i].in;
            row /= a[i].k;
            position /= a[i].out;
        }
        in[1] = row;
        const ptrdiff_t at = element(&t->columns, c);
        if (t->op == UNFOLD) {
            put(dtype, out, at, inside ? get(dtype, t->x.base, element(&t->x, in)) : 0);
        } else if (inside) {
            const ptrdiff_t to = element(&t->x, in);
            put(dtype, out, to, get(dtype, out, to) + get(dtype, t->columns.base, at));
        }
    } while (c[2] + 1 < t->columns.size[2]   ? (c[2]++, true)
             : c[1] + 1 < t->columns.size[1] ? (c[2] = 0, c[1]++, true)
                                             : (c[2] = c[1] = 0, ++c[0] < t->columns.size[0]));
}

void trial_expect(trial *t) {
    const cvl_problem *p = &t->p;
    const void *b = t->b.in_use ? t->b.base : NULL;
    const ptrdiff_t b_stride = t->b.stride[0];
    t->expected = guard_alloc(t->out->memory.bytes, true);
    fill_with_nan(p->dtype, &t->expected);
    void *out = (char *)t->expected.data + ((char *)t->out->base - (char *)t->out->memory.data);
    switch (t->op) {
    case FORWARD: cvl_reference_forward(p, out, t->x.base, t->w.base, b, b_stride); break;
    case GRAD_INPUT: cvl_reference_grad_input(p, out, t->y.base, t->w.base, b, b_stride); break;
    case GRAD_WEIGHT: cvl_reference_grad_weight(p, out, t->y.base, t->x.base); break;
    case GRAD_BIAS: expect_grad_bias(t, out); break;
    default: expect_columns(t, out); break;
    }
}

bool trial_matches(const trial *t) {
    const size_t n = t->expected.bytes / real_bytes(t->p.dtype);
    for (size_t i = 0; i < n; i++) {
        const double actual = get(t->p.dtype, t->out->memory.data, (ptrdiff_t)i);
        const double expected = get(t->p.dtype, t->expected.data, (ptrdiff_t)i);
        if (actual == expected || (isnan(actual) && isnan(expected)))
            continue;
        guard_fail("element %zu of %zu in memory is %g, expected %g", i, n, actual, expected);
        return false;
    }
    return true;
}

/* Packed weights, of which trials have few, partial sums and some cache-sized tiles. */
static const size_t most_workspace = 16 << 20;

static void check(trial *t) {
    const bool fits = t->op == GRAD_BIAS || cvl_check(&t->p) == CVL_OK;
    guard_fail_allocation(0, false);
    const cvl_status status = trial_run(t);
    if (guard_most_allocated() > (size_t)t->threads * most_workspace)
        guard_fail("%zu bytes of workspace", guard_most_allocated());
    if (status != (fits ? CVL_OK : CVL_TOO_LARGE))
        guard_fail("status %d", (int)status);
    if (status == CVL_OK) {
        trial_expect(t);
        trial_matches(t);
    }
    if (guard_live_allocations())
        guard_fail("%ld allocations leaked", guard_live_allocations());
    trial_free(t);
}

void trial_check(source *s, operation op, cvl_dtype dtype, values values, double most_work) {
    trial t;
    trial_draw(s, op, dtype, values, most_work, &t);
    check(&t);
}

void trial_check_kind(source *s, kind kind, operation op, cvl_dtype dtype, values values) {
    trial t = {.op = op, .kind = kind, .p.dtype = dtype, .values = values};
    (kind == FOR_FILTERING ? draw_filterable : draw_few_sums)(s, &t);
    draw_arrays(s, &t);
    check(&t);
}
