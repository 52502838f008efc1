#include "drivers/winograd.h"

/* The parts of a filter, of at most so many taps each; returns how many, or 0 if they are too
 * many. */
static ptrdiff_t list_parts(cvl_winograd_filter *filter, ptrdiff_t step, ptrdiff_t most) {
    ptrdiff_t n = 0;
    for (ptrdiff_t first = 0; first < step && first < filter->taps; first++) {
        const ptrdiff_t count = cvl_ceil_div(filter->taps - first, step);
        for (ptrdiff_t at = 0; at < count; at += most, n++) {
            if (n == CVL_WINOGRAD_PARTS)
                return 0;
            filter->part[n].first = first + at * step;
            filter->part[n].taps = count - at < most ? count - at : most;
        }
    }
    for (ptrdiff_t i = n; i < CVL_WINOGRAD_PARTS; i++)
        filter->part[i] = (cvl_winograd_part){0};
    return n;
}

/* Lists the parts of all filters for transforms of so many taps. */
static bool take_transform(cvl_winograd_axis *axis, ptrdiff_t taps) {
    axis->transform = taps;
    axis->points = cvl_winograd_points(taps);
    axis->outputs = cvl_winograd_outputs(taps);
    axis->n_parts = 0;
    for (ptrdiff_t i = 0; i < axis->n_filters; i++) {
        const ptrdiff_t parts = list_parts(&axis->filter[i], axis->step, taps);
        if (parts == 0)
            return false;
        axis->n_parts = parts > axis->n_parts ? parts : axis->n_parts;
    }
    return true;
}

ptrdiff_t cvl_winograd_filter_of(const cvl_winograd_axis *axis, const cvl_phase *phase) {
    ptrdiff_t i = 0;
    while (i < axis->n_filters && axis->filter[i].tap_first != phase->tap_first)
        i++;
    return i;
}

/* The filters of all phases, and how far apart their taps are. */
static bool list_filters(const cvl_gather_axis *axis, cvl_winograd_axis *found) {
    const cvl_phase *longest = axis->phases;
    *found = (cvl_winograd_axis){.dense = 1, .step = 1};
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        const ptrdiff_t filter = cvl_winograd_filter_of(found, p);
        if (filter == CVL_WINOGRAD_FILTERS || p->taps < 1)
            return false;
        if (filter == found->n_filters)
            found->filter[found->n_filters++] =
                (cvl_winograd_filter){.tap_first = p->tap_first, .taps = p->taps};
        if (found->filter[filter].taps != p->taps)
            return false;
        longest = p->taps > longest->taps ? p : longest;
    }
    if (longest->taps > 1 && longest->tap_step % longest->in_step == 0)
        found->dense = longest->tap_step / longest->in_step;
    else if (longest->taps > 1)
        found->step = longest->in_step / longest->tap_step;
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++)
        if (p->in_step != longest->in_step || p->count < found->dense ||
            (p->taps > 1 && (p->tap_step != longest->tap_step ||
                             p->tap_step * found->step != p->in_step * found->dense)))
            return false;
    return true;
}

/* Of the transforms, the one that takes the least products for all positions. */
bool cvl_find_winograd(const cvl_gather_axis *axis, cvl_winograd_axis *found) {
    cvl_winograd_axis tried;
    ptrdiff_t least = 0;
    if (!list_filters(axis, &tried))
        return false;
    for (ptrdiff_t taps = 1; taps <= CVL_WINOGRAD_TAPS; taps++) {
        if (!take_transform(&tried, taps))
            continue;
        const ptrdiff_t products = cvl_count_winograd(axis, &tried).needed;
        if (least == 0 || products < least) {
            *found = tried;
            least = products;
        }
    }
    return least > 0;
}

cvl_winograd_counts cvl_count_winograd(const cvl_gather_axis *axis,
                                       const cvl_winograd_axis *found) {
    cvl_winograd_counts n = {0};
    for (const cvl_phase *p = axis->phases; p < axis->phases + axis->n_phases; p++) {
        const ptrdiff_t filter = cvl_winograd_filter_of(found, p);
        ptrdiff_t tiles = 0, cut = 0, parts = 0, products = 0, last = 0;
        for (ptrdiff_t part = 0; part < found->dense; part++) {
            const ptrdiff_t count = cvl_dense_phase(p, found->dense, part).count;
            tiles += cvl_ceil_div(count, found->outputs);
            cut += count % found->outputs != 0;
        }
        for (ptrdiff_t part = 0; part < found->n_parts; part++) {
            parts += found->filter[filter].part[part].taps > 0;
            for (ptrdiff_t point = 0; point < found->points; point++)
                products += cvl_winograd_meets(found, filter, part, point);
            last += cvl_winograd_meets(found, filter, part, found->points - 1);
        }
        n.tiles += tiles;
        n.parts += tiles * parts;
        n.products += tiles * products;
        n.needed += tiles * products - cut * last;
    }
    return n;
}
