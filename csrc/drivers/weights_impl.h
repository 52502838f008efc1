/* Weights between the user's layout and the packed one,
 *
 *     packed[tap][ic][lane],    taps in the order of the axes' tap_order,
 *
 * one block of output channels (lanes) at a time. Included by drivers_impl.h. */

/* A block of a weight array: `lanes` output channels from `w` on, of which `width` places are kept. */
typedef struct weight_block {
    real *w;
    ptrdiff_t oc, ic, k[CVL_AXES]; /* strides */
    ptrdiff_t size[CVL_AXES];      /* taps of the packed array */
    const ptrdiff_t *order[CVL_AXES];
    bool all_taps; /* whether these are all taps of the kernel */
    ptrdiff_t channels, lanes, width;
} weight_block;

static ptrdiff_t tap_stride(const weight_block *block, ptrdiff_t tap) {
    const ptrdiff_t *size = block->size;
    return block->order[0][tap / (size[2] * size[1])] * block->k[0] +
           block->order[1][tap / size[2] % size[1]] * block->k[1] +
           block->order[2][tap % size[2]] * block->k[2];
}

/* Whether the taps of one channel stand side by side, so that they are best moved together. */
static bool taps_together(const weight_block *b) {
    return b->all_taps && b->k[2] == 1 && b->k[1] == b->size[2] &&
           b->k[0] == b->size[1] * b->size[2] && b->size[0] * b->k[0] > 1;
}

enum { strip_channels = 8 }; /* channels that are transposed at once */

/* Elements of scratch that pack_weights and unpack_weights need. */
static ptrdiff_t weight_scratch(const ptrdiff_t size[CVL_AXES], ptrdiff_t width) {
    return cvl_scale_bytes(strip_channels * size[0] * size[1] * size[2], width);
}

/* Lanes beyond the block's channels are zero. */
static void pack_weights(const weight_block *b, real *packed, real *scratch, copy_kernel *copy) {
    const ptrdiff_t taps = b->size[0] * b->size[1] * b->size[2], width = b->width;
    if (b->lanes < width)
        memset(packed, 0, (size_t)(taps * b->channels * width) * sizeof(real));
    if (!taps_together(b)) {
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(packed + tap * b->channels * width, width, 1, b->w + tap_stride(b, tap), b->ic,
                 b->oc, b->channels, b->lanes);
        return;
    }
    for (ptrdiff_t i = 0; i < b->channels; i += strip_channels) {
        const ptrdiff_t left = b->channels - i;
        const ptrdiff_t strip = left < strip_channels ? left : strip_channels;
        /* scratch[channel][tap][lane] */
        if (b->ic == taps)
            copy(scratch, width, 1, b->w + i * b->ic, 1, b->oc, strip * taps, b->lanes);
        else
            for (ptrdiff_t s = 0; s < strip; s++)
                copy(scratch + s * taps * width, width, 1, b->w + (i + s) * b->ic, 1, b->oc, taps,
                     b->lanes);
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(packed + (tap * b->channels + i) * width, width, 1,
                 scratch + tap_stride(b, tap) * width, taps * width, 1, strip, b->lanes);
    }
}

/* The way back; packed lanes beyond the block's channels are ignored. */
static void unpack_weights(const weight_block *b, const real *packed, real *scratch,
                           copy_kernel *copy) {
    const ptrdiff_t taps = b->size[0] * b->size[1] * b->size[2], width = b->width;
    if (!taps_together(b)) {
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(b->w + tap_stride(b, tap), b->ic, b->oc, packed + tap * b->channels * width, width,
                 1, b->channels, b->lanes);
        return;
    }
    for (ptrdiff_t i = 0; i < b->channels; i += strip_channels) {
        const ptrdiff_t left = b->channels - i;
        const ptrdiff_t strip = left < strip_channels ? left : strip_channels;
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            copy(scratch + tap_stride(b, tap) * width, taps * width, 1,
                 packed + (tap * b->channels + i) * width, width, 1, strip, b->lanes);
        if (b->ic == taps)
            copy(b->w + i * b->ic, 1, b->oc, scratch, width, 1, strip * taps, b->lanes);
        else
            for (ptrdiff_t s = 0; s < strip; s++)
                copy(b->w + (i + s) * b->ic, 1, b->oc, scratch + s * taps * width, width, 1, taps,
                     b->lanes);
    }
}
