// The instruction set that this run of the tests is about (KVASIR_ISA, or the machine's best).
#pragma once

#include "base/cpu.h"

namespace kvasir::tests {
base::Isa test_isa();
}
