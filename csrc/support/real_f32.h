/* Makes a source file that is written for any `real` one for float. A file that includes this is of
 * one dtype, so its static names need no suffix; those that other files see get it from
 * CVL_TYPED. */
#include <stdint.h>

#define real float
#define real_bits uint32_t /* the unsigned integer of its size */
#define CVL_REAL_BYTES 4
#define CVL_LONGEST_CUT 128 /* terms of a sum that are summed in a register, at most */
#define CVL_DTYPE f32
#define CVL_TYPED(name) name##_f32
