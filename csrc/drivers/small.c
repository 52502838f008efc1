#include "drivers/small.h"

/* Up to which a small driver is faster than the others: multiplications, those of padding included,
 * and weights of a group, which it packs; multiplications with those of unused lanes. */
static const double most_work = 10e3, most_weights = 512, most_lane_work = 48e3;

/* Lays an axis out. False if its phases step differently, which share no tile. */
static bool lay_axis(const cvl_gather_axis *from, cvl_small_axis *axis) {
    const cvl_phase *p = from->phases, *const end = p + from->n_phases;
    ptrdiff_t first = p->in_first, last = first;
    const ptrdiff_t step = p->in_step;
    for (; p < end; p++) {
        const ptrdiff_t reach = p->taps > 1 ? p->tap_step * (p->taps - 1) : 0;
        const ptrdiff_t p_last = p->in_first + step * (p->count - 1) + reach;
        if (p->in_step != step)
            return false;
        if (p->in_first < first)
            first = p->in_first;
        if (p_last > last)
            last = p_last;
    }
    axis->first = first;
    axis->step = step;
    axis->length = cvl_divide(last - first, step) + 1;
    return true;
}

/* Lays the axes out and counts a tile's places, as a double, which cannot overflow; 0 if there is
 * none. */
static double lay_axes(const cvl_gather_axis from[CVL_AXES], cvl_small_axis axis[CVL_AXES]) {
    double places = 1;
    for (int i = 0; i < CVL_AXES; i++) {
        if (!lay_axis(&from[i], &axis[i]))
            return 0;
        places *= (double)axis[i].step * (double)axis[i].length;
    }
    return places;
}

static double all_taps(const cvl_gather_axis axis[CVL_AXES]) {
    return (double)axis[0].k * (double)axis[1].k * (double)axis[2].k;
}

/* Whether so many lists over all taps fit, and one over those of each axis. */
static bool lists_fit(double lists, const cvl_gather_axis axis[CVL_AXES]) {
    const double parts = (double)axis[0].k + (double)axis[1].k + (double)axis[2].k;
    return lists * all_taps(axis) + parts <= CVL_SMALL_LISTS;
}

bool cvl_is_small_gather(const cvl_gather *g, cvl_small_axis axis[CVL_AXES]) {
    const double taps = all_taps(g->axis), ic = (double)g->ic, oc = (double)g->oc;
    if (g->work > most_work || oc * ic * taps > most_weights)
        return false;
    const double places = lay_axes(g->axis, axis);
    const double tile = ic * places + CVL_MAX_LANES;
    const double out = CVL_MAX_ROWS * (places + CVL_MAX_LANES);
    const double weights = oc * (ic * taps + 1);
    return places > 0 && tile + out + weights <= CVL_SMALL_ELEMENTS && lists_fit(2 * ic, g->axis);
}

bool cvl_is_small_reduce(const cvl_reduce *r, ptrdiff_t lanes, cvl_small_axis axis[CVL_AXES]) {
    if (r->oc > lanes || r->work * (double)lanes > most_lane_work * (double)r->oc)
        return false;
    const double places = lay_axes(r->axis, axis);
    const double taps = all_taps(r->axis), ic = (double)r->ic;
    const double rows = (double)r->axis[0].out * (double)r->axis[1].out;
    const double positions = rows * (double)r->axis[2].out;
    const double vectors = (double)lanes * (positions + ic * taps);
    return places > 0 && ic * places + vectors <= CVL_SMALL_ELEMENTS && lists_fit(ic, r->axis) &&
           rows + positions / CVL_SMALL_CUT <= CVL_SMALL_TERMS;
}
