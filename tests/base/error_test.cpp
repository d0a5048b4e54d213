#include "kvasir/error.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(Error, IsOneLineWhateverAFileNames) {
  const Error error(ErrorCode::kFormat, std::string("m.bin: tensor a\nb\0c\x1b[2J\x7f \u00e9", 27));
  EXPECT_STREQ(error.what(), "m.bin: tensor a?b?c?[2J? \u00e9");
  EXPECT_EQ(error.code(), ErrorCode::kFormat);
}

}  // namespace
}  // namespace kvasir
