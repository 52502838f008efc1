#include "drivers/axes.h"

#include <string.h>

#include "support/memory.h"

static ptrdiff_t gcd(ptrdiff_t a, ptrdiff_t b) {
    while (b && a != 1) {
        const ptrdiff_t r = b == 1 ? 0 : a % b;
        a = b;
        b = r;
    }
    return a;
}

/* a mod b in [0, b), also for negative a. */
static ptrdiff_t modulo(ptrdiff_t a, ptrdiff_t b) {
    const ptrdiff_t r = b == 1 ? 0 : a % b;
    return r < 0 ? r + b : r;
}

/* Drops the taps that meet only padding, whatever the position. What is left spans no more of the
 * source than there is, however large padding and dilation are. */
static void clip_taps(cvl_phase *p, ptrdiff_t in) {
    const ptrdiff_t span = p->in_step * (p->count - 1);
    const ptrdiff_t last_input = p->in_first + span; /* of tap 0 */
    const ptrdiff_t before =
        last_input < 0 ? cvl_least(p->taps, cvl_ceil_div(-last_input, p->tap_step)) : 0;
    const ptrdiff_t kept = in > p->in_first ? cvl_divide(in - 1 - p->in_first, p->tap_step) + 1 : 0;
    p->taps = cvl_most(0, cvl_least(p->taps, kept) - before);
    p->tap_first += before;
    p->in_first += before * p->tap_step;
    if (p->taps <= 1)
        p->tap_step = 1;
    if (p->taps == 0)
        p->in_first = 0, p->in_step = 1;
}

/* How many phases a phase is split into so that its taps are dense. */
static ptrdiff_t dense_parts(const cvl_phase *p) {
    if (p->taps <= 1 || p->tap_step == 1)
        return 1;
    return cvl_least(p->count, p->tap_step / gcd(p->tap_step, p->in_step));
}

enum {
    own_phases = sizeof((cvl_gather_axis *)0)->own_phases / sizeof(cvl_phase),
    own_taps = sizeof((cvl_gather_axis *)0)->own_taps / sizeof(ptrdiff_t),
};

/* An axis with room for its tap order and a few phases. */
static cvl_status start_axis(cvl_gather_axis *axis, ptrdiff_t in, ptrdiff_t out, ptrdiff_t k) {
    axis->in = in;
    axis->out = out;
    axis->k = k;
    axis->n_phases = 0;
    axis->phases = axis->own_phases;
    axis->tap_order = k <= own_taps ? axis->own_taps
                                    : cvl_alloc((size_t)cvl_part_bytes(k, sizeof *axis->tap_order));
    return axis->tap_order ? CVL_OK : CVL_NO_MEMORY;
}

/* Room for so many phases more, or NULL. */
static cvl_phase *reserve_phases(cvl_gather_axis *axis, ptrdiff_t *capacity, ptrdiff_t more) {
    if (axis->n_phases + more > *capacity) {
        const ptrdiff_t grown = 2 * (axis->n_phases + more);
        cvl_phase *phases = cvl_alloc((size_t)cvl_part_bytes(grown, sizeof *phases));
        if (!phases)
            return NULL;
        memcpy(phases, axis->phases, (size_t)axis->n_phases * sizeof *phases);
        if (axis->phases != axis->own_phases)
            cvl_free(axis->phases);
        axis->phases = phases;
        *capacity = grown;
    }
    return axis->phases + axis->n_phases;
}

cvl_phase cvl_dense_phase(const cvl_phase *p, ptrdiff_t n, ptrdiff_t part) {
    cvl_phase dense = *p;
    dense.out_first += part * p->out_step;
    dense.out_step *= n;
    dense.count = cvl_ceil_div(p->count - part, n);
    dense.in_first += part * p->in_step;
    dense.in_step *= n;
    return dense;
}

cvl_status cvl_split_axis(cvl_gather_axis *axis) {
    ptrdiff_t parts = 0, capacity = axis->n_phases;
    for (ptrdiff_t i = 0; i < axis->n_phases; i++)
        parts += dense_parts(&axis->phases[i]);
    if (parts == axis->n_phases)
        return CVL_OK;
    const ptrdiff_t whole = axis->n_phases;
    if (!reserve_phases(axis, &capacity, parts))
        return CVL_NO_MEMORY;
    /* The parts come behind the phases that they are made from, and then to the front. */
    for (ptrdiff_t i = 0; i < whole; i++) {
        const cvl_phase *from = &axis->phases[i];
        const ptrdiff_t n = dense_parts(from);
        for (ptrdiff_t part = 0; part < n; part++)
            axis->phases[axis->n_phases++] = cvl_dense_phase(from, n, part);
    }
    memmove(axis->phases, axis->phases + whole, (size_t)parts * sizeof *axis->phases);
    axis->n_phases = parts;
    return CVL_OK;
}

cvl_status cvl_forward_axis(const cvl_axis *a, cvl_gather_axis *axis) {
    const cvl_status status = start_axis(axis, a->in, a->out, a->k);
    if (status != CVL_OK)
        return status;
    for (ptrdiff_t k = 0; k < a->k; k++)
        axis->tap_order[k] = k;

    *axis->phases = (cvl_phase){.out_step = 1,
                                .count = a->out,
                                .in_first = -a->pad,
                                .in_step = a->out > 1 ? a->stride : 1,
                                .taps = a->k,
                                .tap_step = a->k > 1 ? a->dilation : 1};
    clip_taps(axis->phases, a->in);
    axis->n_phases = 1;
    return CVL_OK;
}

cvl_status cvl_grad_input_axis(const cvl_axis *a, cvl_gather_axis *axis) {
    /* Source and destination change places: dy is read, dx written. */
    ptrdiff_t capacity = own_phases;
    cvl_status status = start_axis(axis, a->out, a->in, a->k);
    const ptrdiff_t common = gcd(a->stride, a->dilation);
    const ptrdiff_t class_step = a->stride / common; /* taps of a class: c, c+step, ... */
    const ptrdiff_t classes = cvl_least(class_step, a->k);
    const ptrdiff_t residues = cvl_least(a->stride, a->in); /* first destinations of the phases */
    bool few_reached[64], *reached = few_reached;
    if (status != CVL_OK)
        return status;
    if (residues > (ptrdiff_t)sizeof few_reached)
        reached = cvl_alloc((size_t)cvl_part_bytes(residues, sizeof *reached));
    if (!reached)
        return CVL_NO_MEMORY;
    memset(reached, 0, (size_t)residues);

    ptrdiff_t place = 0;
    for (ptrdiff_t c = 0; c < classes; c++) {
        const ptrdiff_t taps = (a->k - 1 - c) / class_step + 1;
        const ptrdiff_t last_tap = c + (taps - 1) * class_step;
        const ptrdiff_t tap_first = place;
        /* Descending taps read ascending positions of dy. */
        for (ptrdiff_t j = 0; j < taps; j++)
            axis->tap_order[place++] = last_tap - j * class_step;

        const ptrdiff_t offset = c > 0 ? c * a->dilation : 0;
        const ptrdiff_t out_first = modulo(offset - a->pad, a->stride);
        if (out_first >= a->in)
            continue;
        const ptrdiff_t reach = taps > 1 ? (taps - 1) * (a->dilation / common) : 0;
        cvl_phase *p = reserve_phases(axis, &capacity, 1);
        if (!p) {
            status = CVL_NO_MEMORY;
            goto cleanup;
        }
        *p = (cvl_phase){.out_first = out_first,
                         .out_step = residues,
                         .count = cvl_divide(a->in - 1 - out_first, a->stride) + 1,
                         .in_first = cvl_divide(out_first + a->pad - offset, a->stride) - reach,
                         .in_step = 1,
                         .taps = taps,
                         .tap_step = taps > 1 ? a->dilation / common : 1,
                         .tap_first = tap_first};
        clip_taps(p, axis->in);
        reached[out_first] = true;
        axis->n_phases++;
    }

    status = CVL_OK;
    for (ptrdiff_t first = 0; first < residues; first++) {
        if (reached[first])
            continue;
        cvl_phase *p = reserve_phases(axis, &capacity, 1);
        if (!p) {
            status = CVL_NO_MEMORY;
            goto cleanup;
        }
        *p = (cvl_phase){.out_first = first,
                         .out_step = residues,
                         .count = (a->in - 1 - first) / a->stride + 1,
                         .in_step = 1,
                         .tap_step = 1};
        axis->n_phases++;
    }
cleanup:
    if (reached != few_reached)
        cvl_free(reached);
    return status;
}

void cvl_free_axis(cvl_gather_axis *axis) {
    if (axis->phases != axis->own_phases)
        cvl_free(axis->phases);
    if (axis->tap_order != axis->own_taps)
        cvl_free(axis->tap_order);
}

/* What the phases touch: sources first, first + step, ..., `length` of them. */
static void dense_span(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count,
                       ptrdiff_t *first, ptrdiff_t *step, ptrdiff_t *length) {
    ptrdiff_t last = 0, common = 0;
    bool any = false;
    for (const cvl_phase *p = phases; p < phases + n_phases; p++) {
        if (p->taps == 0)
            continue;
        const ptrdiff_t end = p->in_first + p->in_step * (count - 1) + p->tap_step * (p->taps - 1);
        if (!any)
            *first = p->in_first, last = end;
        common = gcd(common, count > 1 || n_phases > 1 ? p->in_step : 0);
        common = gcd(common, p->taps > 1 ? p->tap_step : 0);
        common = gcd(common, p->in_first > *first ? p->in_first - *first : *first - p->in_first);
        *first = cvl_least(*first, p->in_first);
        last = cvl_most(last, end);
        any = true;
    }
    if (!any)
        *first = 0, last = count - 1;
    *step = common ? common : 1;
    *length = cvl_divide(last - *first, *step) + 1;
}

cvl_map cvl_channel_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count) {
    const cvl_map map = cvl_dense_map(phases, n_phases, count);
    const cvl_phase *p = phases;
    if (n_phases == 1 && p->taps && count < map.length / p->taps)
        return (cvl_map){.first = p->in_first,
                         .run_step = p->in_step,
                         .step = p->tap_step,
                         .runs = count,
                         .length = p->taps,
                         .q_step = p->taps,
                         .kind = CVL_RUN_PER_POSITION};
    return map;
}

cvl_map cvl_dense_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count) {
    cvl_map map = {.kind = CVL_SHARED, .runs = 1};
    dense_span(phases, n_phases, count, &map.first, &map.step, &map.length);
    map.q_step = count > 1 ? phases->in_step / map.step : 0;
    return map;
}

cvl_map cvl_pixel_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count) {
    const cvl_phase *p = phases;
    cvl_map map = {.kind = CVL_SHARED, .q_step = 1};
    ptrdiff_t dense_step, dense_length;
    dense_span(phases, n_phases, count, &map.first, &dense_step, &dense_length);
    map.runs = count > 1 ? cvl_divide(p->in_step, dense_step) : 1;
    if (map.runs < 1)
        map.runs = 1;
    map.run_step = dense_step;
    map.step = map.runs * dense_step;
    map.length = cvl_ceil_div(dense_length, map.runs);
    const ptrdiff_t places = map.runs * map.length;
    if (n_phases == 1 && p->taps > 1 && places > 2 * count && count < places / p->taps)
        return cvl_joined_map(p, 1, count);
    return map;
}

cvl_map cvl_joined_map(const cvl_phase *phases, ptrdiff_t n_phases, ptrdiff_t count) {
    const cvl_phase *p = phases;
    for (ptrdiff_t i = 1; i < n_phases; i++)
        if (phases[i].taps > p->taps)
            p = &phases[i];
    return (cvl_map){.first = p->in_first,
                     .run_step = p->tap_step,
                     .step = p->in_step,
                     .runs = cvl_most(1, p->taps),
                     .length = count,
                     .q_step = 1,
                     .kind = CVL_RUN_PER_TAP};
}

void cvl_tap_place(const cvl_map *map, const cvl_phase *phase, ptrdiff_t j, ptrdiff_t *run,
                   ptrdiff_t *index) {
    if (map->kind != CVL_SHARED) {
        *run = map->kind == CVL_RUN_PER_TAP ? j : 0;
        *index = map->kind == CVL_RUN_PER_TAP ? 0 : j;
        return;
    }
    const ptrdiff_t dense = map->run_step ? map->run_step : map->step;
    const ptrdiff_t place = cvl_divide(phase->in_first - map->first + j * phase->tap_step, dense);
    *index = cvl_divide(place, map->runs);
    *run = place - *index * map->runs;
}

void cvl_inside(const cvl_map *map, ptrdiff_t run, ptrdiff_t shift, ptrdiff_t in, ptrdiff_t *begin,
                ptrdiff_t *end) {
    const ptrdiff_t source = map->first + run * map->run_step + shift;
    *begin = source >= 0 ? 0 : cvl_least(map->length, cvl_ceil_div(-source, map->step));
    *end = source >= in ? 0 : cvl_least(map->length, cvl_divide(in - 1 - source, map->step) + 1);
    *end = cvl_most(*begin, *end);
}
