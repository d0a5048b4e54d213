// GoogleTest's main, plus: KVASIR_ISA names the instruction set of the tests; exit 77 (CTest: skipped) if the
// machine lacks it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "base/cpu.h"
#include "test_isa.h"

namespace kvasir::tests {
base::Isa test_isa() {
  static const base::Isa isa = [] {
    const char* name = std::getenv("KVASIR_ISA");
    return name == nullptr ? base::best_isa() : base::parse_isa(name);
  }();
  return isa;
}
}  // namespace kvasir::tests

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    std::cout << "instruction set: " << kvasir::base::isa_name(kvasir::tests::test_isa()) << '\n';
  } catch (const std::exception& error) {
    std::cout << "skipped: " << error.what() << '\n';
    return 77;
  }
  return RUN_ALL_TESTS();
}
