#include "support/real_f32.h"

#include "drivers/drivers_impl.h"
