/* Every driver for one dtype. Included by drivers.c with `real`, CVL_DTYPE and CVL_NAME defined. */
#include "drivers/tile_impl.h"
#include "drivers/taps_impl.h"
#include "drivers/weights_impl.h"

#include "drivers/channel_gather_impl.h"
#include "drivers/lane_gather_impl.h"
#include "drivers/pixel_gather_impl.h"

#include "drivers/channel_reduce_impl.h"
#include "drivers/pixel_reduce_impl.h"
