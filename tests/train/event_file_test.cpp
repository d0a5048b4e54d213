#include "train/event_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

// The same events from TensorBoard's own RecordWriter and Event message.
constexpr const char* kVersion =
    "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110";
constexpr const char* kScalar =
    "2100000000000000017becf60900005040fc54d94110ac022a130a110a0a747261696e2f6c6f73731500002040862426a8";
constexpr const char* kResume = "100000000000000095fbfe180900008040fc54d94110c8013a0208017970fcd6";

TEST(EventFile, IsWhatTensorBoardWrites) {
  const tests::TemporaryFolder folder;
  EventFile file(folder.path(), 1700000000.5);
  const auto content = [&] { return hex(base::read_file(file.path())); };
  EXPECT_EQ(content(), kVersion);
  file.scalar("train/loss", 300, 1700000001.25, 2.5F);
  EXPECT_EQ(content(), std::string(kVersion) + kScalar);  // at once, not when the file is closed
  file.resume(200, 1700000002);
  EXPECT_EQ(content(), std::string(kVersion) + kScalar + kResume);
}

TEST(EventFile, IsNamedAsTensorBoardLooksForIt) {
  const tests::TemporaryFolder folder;
  const EventFile first(folder.path(), 1700000000.9), second(folder.path(), 1700000000.9);
  const std::string name = first.path().filename().string();
  EXPECT_TRUE(name.starts_with("events.out.tfevents.1700000000.")) << name;
  EXPECT_TRUE(name.ends_with("." + std::to_string(::getpid()) + ".0")) << name;
  EXPECT_TRUE(second.path().string().ends_with(".1")) << second.path();
}

TEST(EventFile, MasksCrcs) {
  // CRC-32C of "123456789" is 0xE3069283 (RFC 3720 and others).
  const std::uint32_t crc = 0xE3069283;
  EXPECT_EQ(masked_crc32c("123456789"), ((crc >> 15) | (crc << 17)) + 0xA282EAD8U);
}

TEST(EventFile, NamesTheFolderThatIsNotThere) {
  const tests::TemporaryFolder folder;
  try {
    const EventFile file(folder / "missing", 1700000000);
    FAIL() << file.path();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("missing/events.out"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace kvasir::train
