/* Weights between the user's layout and the packed one,
 *
 *     packed[tap][ic][lane],    taps in the order of the axes' tap_order,
 *
 * one block of output channels (lanes) at a time. Included by drivers.c. */

/* A block of a weight array: `lanes` output channels from `w` on, of which `width` places are kept. */
typedef struct CVL_NAME(weight_block) {
    real *w;
    ptrdiff_t oc, ic, k[CVL_AXES]; /* strides */
    ptrdiff_t size[CVL_AXES];      /* taps of the packed array */
    const ptrdiff_t *order[CVL_AXES];
    bool all_taps; /* whether these are all taps of the kernel */
    ptrdiff_t channels, lanes, width;
} CVL_NAME(weight_block);

static ptrdiff_t CVL_NAME(tap_stride)(const CVL_NAME(weight_block) * block, ptrdiff_t tap) {
    const ptrdiff_t *size = block->size;
    return block->order[0][tap / (size[2] * size[1])] * block->k[0] +
           block->order[1][tap / size[2] % size[1]] * block->k[1] +
           block->order[2][tap % size[2]] * block->k[2];
}

/* Whether the taps of one channel stand side by side, so that they are best moved together. */
static bool CVL_NAME(taps_together)(const CVL_NAME(weight_block) * b) {
    return b->all_taps && b->k[2] == 1 && b->k[1] == b->size[2] && b->k[0] == b->size[1] * b->size[2] &&
           b->size[0] * b->k[0] > 1;
}

enum { CVL_NAME(strip) = 8 }; /* channels that are transposed at once */

/* Elements of scratch that pack_weights and unpack_weights need. */
static ptrdiff_t CVL_NAME(weight_scratch)(const ptrdiff_t size[CVL_AXES], ptrdiff_t width) {
    return cvl_scale_bytes(CVL_NAME(strip) * size[0] * size[1] * size[2], width);
}

/* Lanes beyond the block's channels are zero. */
static void CVL_NAME(pack_weights)(const CVL_NAME(weight_block) * b, real *packed, real *scratch,
                                   CVL_NAME(cvl_copy) * copy) {
    const ptrdiff_t taps = b->size[0] * b->size[1] * b->size[2], width = b->width;
    if (b->lanes < width)
        memset(packed, 0, (size_t)(taps * b->channels * width) * sizeof(real));
    if (!CVL_NAME(taps_together)(b)) {
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(packed + tap * b->channels * width, width, 1, b->w + CVL_NAME(tap_stride)(b, tap),
                 b->ic, b->oc, b->channels, b->lanes);
        return;
    }
    for (ptrdiff_t i = 0; i < b->channels; i += CVL_NAME(strip)) {
        const ptrdiff_t left = b->channels - i;
        const ptrdiff_t strip = left < CVL_NAME(strip) ? left : CVL_NAME(strip);
        /* scratch[channel][tap][lane] */
        if (b->ic == taps)
            copy(scratch, width, 1, b->w + i * b->ic, 1, b->oc, strip * taps, b->lanes);
        else
            for (ptrdiff_t s = 0; s < strip; s++)
                copy(scratch + s * taps * width, width, 1, b->w + (i + s) * b->ic, 1, b->oc, taps,
                     b->lanes);
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(packed + (tap * b->channels + i) * width, width, 1,
                 scratch + CVL_NAME(tap_stride)(b, tap) * width, taps * width, 1, strip, b->lanes);
    }
}

/* The way back; packed lanes beyond the block's channels are ignored. */
static void CVL_NAME(unpack_weights)(const CVL_NAME(weight_block) * b, const real *packed,
                                     real *scratch, CVL_NAME(cvl_copy) * copy) {
    const ptrdiff_t taps = b->size[0] * b->size[1] * b->size[2], width = b->width;
    if (!CVL_NAME(taps_together)(b)) {
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(b->w + CVL_NAME(tap_stride)(b, tap), b->ic, b->oc,
                 packed + tap * b->channels * width, width, 1, b->channels, b->lanes);
        return;
    }
    for (ptrdiff_t i = 0; i < b->channels; i += CVL_NAME(strip)) {
        const ptrdiff_t left = b->channels - i;
        const ptrdiff_t strip = left < CVL_NAME(strip) ? left : CVL_NAME(strip);
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(scratch + CVL_NAME(tap_stride)(b, tap) * width, taps * width, 1,
                 packed + (tap * b->channels + i) * width, width, 1, strip, b->lanes);
        if (b->ic == taps)
            copy(b->w + i * b->ic, 1, b->oc, scratch, width, 1, strip * taps, b->lanes);
        else
            for (ptrdiff_t s = 0; s < strip; s++)
                copy(b->w + (i + s) * b->ic, 1, b->oc, scratch + s * taps * width, width, 1, taps,
                     b->lanes);
    }
}
