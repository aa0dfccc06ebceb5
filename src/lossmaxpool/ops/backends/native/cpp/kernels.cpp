// One instruction set's table. Compiled several times, with LOSSMAXPOOL_TABLE naming each.
// Everything the loops call is in anonymous namespaces: no linker may mix instruction sets.
#include "gradient_tile.h"
#include "kernels.h"
#include "label_tile.h"
#include "lines.h"
#include "loss_bits.h"
#include "loss_tile.h"
#include "stage.h"

namespace lossmaxpool {

extern const Kernels LOSSMAXPOOL_TABLE;
const Kernels LOSSMAXPOOL_TABLE = {load,      store, labels, losses,  weigh,  gradient,
                                   histogram, split, blend,  stretch, divide, gather};

}  // namespace lossmaxpool
