#include "ops/problem.h"

#include <stdint.h>

/* Sizes and parameters stay below this, so that sums of a few of them cannot overflow. */
static const ptrdiff_t largest = PTRDIFF_MAX / 64;

static bool product_fits(ptrdiff_t a, ptrdiff_t b) {
    ptrdiff_t product;
    return !__builtin_mul_overflow(a, b, &product) && product <= largest;
}

/* The last position and the last tap, each as far from the first as it can be. A factor that
 * multiplies zero (one position, one tap) may be anything. */
static bool axis_fits(const cvl_axis *a) {
    return a->in <= largest && a->out <= largest && a->k <= largest && a->pad <= largest &&
           a->pad >= -largest && (a->out <= 1 || product_fits(a->out - 1, a->stride)) &&
           (a->k <= 1 || product_fits(a->k - 1, a->dilation));
}

cvl_status cvl_check(const cvl_problem *p) {
    for (int i = 0; i < CVL_AXES; i++)
        if (!axis_fits(&p->axis[i]))
            return CVL_TOO_LARGE;
    return CVL_OK;
}

double cvl_work(const cvl_problem *p) {
    double products = (double)p->n * (double)p->groups * (double)p->ic * (double)p->oc;
    for (int i = 0; i < CVL_AXES; i++)
        products *= (double)p->axis[i].out * (double)p->axis[i].k;
    return products;
}

bool cvl_no_x(const cvl_problem *p) {
    return p->n == 0 || p->ic == 0 || !p->axis[0].in || !p->axis[1].in || !p->axis[2].in;
}

bool cvl_no_y(const cvl_problem *p) {
    return p->n == 0 || p->oc == 0 || !p->axis[0].out || !p->axis[1].out || !p->axis[2].out;
}

bool cvl_no_taps(const cvl_problem *p) {
    return !p->axis[0].k || !p->axis[1].k || !p->axis[2].k;
}

/* An axis on which output i meets input i and nothing else. */
static bool is_plain(const cvl_axis *a) {
    return a->k == 1 && a->pad == 0 && a->in == a->out && (a->stride == 1 || a->out == 1);
}

/* An axis on which the kernel covers the input exactly: there is one output, and an input for each
 * tap. */
static bool is_covered(const cvl_axis *a) {
    return a->in > 1 && a->k == a->in && a->out == 1 && a->pad == 0 && a->dilation == 1;
}

/* Makes the taps of a covered axis input channels, where x and w both hold them as channels would
 * be: each channel's taps together, or each tap's channels. */
static void merge_covered(cvl_problem *q, int i) {
    cvl_axis *const a = &q->axis[i];
    if (!is_covered(a) || !product_fits(q->ic, a->in))
        return;
    const bool x_taps = q->ic * q->groups == 1 || q->x.c == q->x.s[i] * a->in;
    const bool w_taps = q->ic == 1 || q->w.ic == q->w.k[i] * a->in;
    const bool x_channels = q->groups == 1 && q->x.s[i] == q->x.c * q->ic;
    const bool w_channels = q->w.k[i] == q->w.ic * q->ic;
    if (x_taps && w_taps) {
        q->x.c = q->x.s[i];
        q->w.ic = q->w.k[i];
    } else if (!x_channels || !w_channels)
        return;
    q->ic *= a->in;
    *a = (cvl_axis){.in = 1, .out = 1, .k = 1, .stride = 1, .dilation = 1};
}

static bool follows(ptrdiff_t outer_stride, ptrdiff_t inner_stride, const cvl_axis *inner) {
    return outer_stride == inner_stride * inner->in;
}

/* Whether there is nothing to collapse: every line of positions has a kernel or padding. */
static bool is_collapsed(const cvl_problem *p, bool merge) {
    for (int i = 0; i < CVL_AXES; i++)
        if ((p->axis[i].out <= 1 && p->axis[i].stride != 1) || (merge && is_covered(&p->axis[i])))
            return false;
    return !is_plain(&p->axis[CVL_AXES - 1]);
}

const cvl_problem *cvl_collapse(const cvl_problem *p, bool merge, cvl_problem *room) {
    if (is_collapsed(p, merge))
        return p;
    cvl_problem *const q = room;
    *q = *p;
    for (int i = 0; i < CVL_AXES; i++)
        if (q->axis[i].out <= 1)
            q->axis[i].stride = 1;
    if (merge) {
        /* Outermost first, for channels that hold their taps; innermost first, for taps that hold
         * channels. */
        for (int i = 0; i < CVL_AXES; i++)
            merge_covered(q, i);
        for (int i = CVL_AXES - 1; i >= 0; i--)
            merge_covered(q, i);
    }
    /* height into width, then depth into that: the long axis stays innermost. */
    for (int outer = CVL_AXES - 2; outer >= 0; outer--) {
        cvl_axis *a = &q->axis[outer], *w = &q->axis[CVL_AXES - 1];
        if (a->in == 1 && a->out == 1 && is_plain(a))
            continue;
        const bool one_line = w->in == 1 && is_plain(w);
        if (!is_plain(a) || !is_plain(w) ||
            (!one_line && (!follows(q->x.s[outer], q->x.s[CVL_AXES - 1], w) ||
                           !follows(q->y.s[outer], q->y.s[CVL_AXES - 1], w))))
            break;
        if (one_line) {
            q->x.s[CVL_AXES - 1] = q->x.s[outer];
            q->y.s[CVL_AXES - 1] = q->y.s[outer];
        }
        w->in = w->out = w->in * a->in;
        *a = (cvl_axis){.in = 1, .out = 1, .k = 1, .stride = 1, .dilation = 1};
    }
    const cvl_axis *w = &q->axis[CVL_AXES - 1];
    bool flat = is_plain(w) && q->n > 1;
    for (int i = 0; i < CVL_AXES - 1; i++)
        flat = flat && q->axis[i].in == 1 && is_plain(&q->axis[i]);
    if (flat && w->in == 1) {
        q->x.s[CVL_AXES - 1] = q->x.n;
        q->y.s[CVL_AXES - 1] = q->y.n;
    }
    if (flat && follows(q->x.n, q->x.s[CVL_AXES - 1], w) &&
        follows(q->y.n, q->y.s[CVL_AXES - 1], w)) {
        q->axis[CVL_AXES - 1].in = q->axis[CVL_AXES - 1].out = w->in * q->n;
        q->n = 1;
    }
    return q;
}
