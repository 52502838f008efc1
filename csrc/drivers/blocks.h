/* How a gather is cut into tasks: blocks of destination rows and columns whose inputs fit a
 * cache. */
#ifndef CVL_BLOCKS_H
#define CVL_BLOCKS_H

#include "drivers/gather.h"

/* Rows [q, q + rows) of one phase of the height axis, at one position of one phase of depth. */
typedef struct cvl_slab {
    const cvl_phase *depth, *height;
    ptrdiff_t depth_q, height_q, rows;
} cvl_slab;

typedef struct cvl_blocks {
    cvl_slab *slabs;
    ptrdiff_t n_slabs;
    ptrdiff_t rows;               /* the most rows of a slab */
    ptrdiff_t columns, n_columns; /* positions q per block of the width axis, and blocks */
    ptrdiff_t places;             /* the most places a tile needs, over all blocks */
    ptrdiff_t positions;          /* the most destination positions of a block */
    cvl_map width;                /* the width axis of every tile */
    cvl_slab own_slabs[4];        /* where they are kept while they are few */
} cvl_blocks;

/* Cuts the gather so that a tile, at `place_bytes` for each of its places, fits `budget` where one
 * row of a few columns does, and so that `repeats` times the blocks make enough tasks to share out.
 * A tile holds all its places, or only those inside the source. Which block a position is in has no
 * influence on how it is summed. */
cvl_status cvl_cut(const cvl_gather *g, cvl_map_fn *map, cvl_map_fn *width_map,
                   ptrdiff_t place_bytes, ptrdiff_t budget, ptrdiff_t repeats,
                   ptrdiff_t enough_tasks, bool inside, cvl_blocks *blocks);
void cvl_free_blocks(cvl_blocks *blocks);

/* The last phase of an axis may have fewer positions than the first: the positions of `phase` in
 * width block `b`. */
ptrdiff_t cvl_block_columns(const cvl_blocks *blocks, const cvl_phase *phase, ptrdiff_t b);

#endif
