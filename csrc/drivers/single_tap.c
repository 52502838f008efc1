#include "drivers/single_tap.h"

/* The positions of a phase that meet its tap j and no other. What a tap meets is a run of
 * positions; those of its neighbours begin and end before and after. */
static cvl_phase alone(const cvl_phase *p, ptrdiff_t j, ptrdiff_t in) {
    ptrdiff_t first, last, begin, end;
    cvl_positions_inside(p, j, in, 0, p->count, &first, &last);
    if (j > 0) {
        cvl_positions_inside(p, j - 1, in, 0, p->count, &begin, &end);
        last = begin < end ? cvl_least(last, begin) : last;
    }
    if (j < p->taps - 1) {
        cvl_positions_inside(p, j + 1, in, 0, p->count, &begin, &end);
        first = begin < end ? cvl_most(first, end) : first;
    }
    return (cvl_phase){.out_first = p->out_first + first * p->out_step,
                       .out_step = p->out_step,
                       .count = cvl_most(0, last - first),
                       .in_first = p->in_first + first * p->in_step + j * p->tap_step,
                       .in_step = p->in_step,
                       .taps = 1,
                       .tap_step = 1,
                       .tap_first = p->tap_first + j};
}

/* Goes to the next tap that some positions of an axis meet alone, from tap j of phase p on. Returns
 * whether there is one. */
static bool next_alone(const cvl_gather_axis *axis, const cvl_phase **p, ptrdiff_t *j,
                       cvl_phase *found) {
    for (; *p < axis->phases + axis->n_phases; ++*p, *j = 0)
        while (*j < (*p)->taps) {
            *found = alone(*p, (*j)++, axis->in);
            if (found->count > 0)
                return true;
        }
    return false;
}

/* Narrows an axis of a gather to a phase of one tap. */
static void narrow(cvl_gather *g, int i, const cvl_phase *p, size_t size) {
    cvl_gather_axis *axis = &g->axis[i];
    g->dst = (char *)g->dst + p->out_first * g->dst_strides.s[i] * (ptrdiff_t)size;
    g->dst_strides.s[i] *= p->out_step;
    g->w = (const char *)g->w + axis->tap_order[p->tap_first] * g->w_k[i] * (ptrdiff_t)size;
    g->work *= (double)p->count / ((double)axis->out * (double)axis->k);
    *axis = (cvl_gather_axis){.in = axis->in, .out = p->count, .k = 1, .n_phases = 1};
    axis->phases = axis->own_phases;
    axis->tap_order = axis->own_taps;
    *axis->phases = *p;
    axis->phases->out_first = axis->phases->tap_first = 0;
    axis->phases->out_step = 1;
}

cvl_status cvl_for_single_taps(const cvl_gather *g, size_t size, cvl_single_tap_fn *fn,
                               void *context) {
    const cvl_phase *high = g->axis[1].phases, *wide;
    cvl_phase height, width;
    ptrdiff_t i = 0, j;
    cvl_status status = CVL_OK;
    while (status == CVL_OK && next_alone(&g->axis[1], &high, &i, &height))
        for (wide = g->axis[2].phases, j = 0;
             status == CVL_OK && next_alone(&g->axis[2], &wide, &j, &width);) {
            if (high->taps == 1 && wide->taps == 1)
                continue;
            cvl_gather_axis axis[] = {g->axis[0], g->axis[1], g->axis[2]};
            cvl_gather part = *g;
            part.axis = axis;
            narrow(&part, 1, &height, size);
            narrow(&part, 2, &width, size);
            status = fn(&part, context);
        }
    return status;
}
