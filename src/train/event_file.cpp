#include "train/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::train {

namespace {

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table = {};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

// Little-endian.
template <class Unsigned>
void append_fixed(Unsigned value, std::string& out) {
  for (std::size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

// The wire format of protobuf: a key (field << 3 | type), then the value.
void append_varint(std::uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}
void append_varint_field(unsigned field, std::uint64_t value, std::string& out) {
  append_varint(field << 3, out);
  append_varint(value, out);
}
void append_bytes_field(unsigned field, std::string_view bytes, std::string& out) {
  append_varint(field << 3 | 2, out);
  append_varint(bytes.size(), out);
  out += bytes;
}
void append_double_field(unsigned field, double value, std::string& out) {
  append_varint(field << 3 | 1, out);
  append_fixed(std::bit_cast<std::uint64_t>(value), out);
}
void append_float_field(unsigned field, float value, std::string& out) {
  append_varint(field << 3 | 5, out);
  append_fixed(std::bit_cast<std::uint32_t>(value), out);
}

// The fields of tensorflow/core/util/event.proto and framework/summary.proto.
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr unsigned kSummaryValue = 1, kTag = 1, kSimpleValue = 2;
constexpr unsigned kStatus = 1;
constexpr std::uint64_t kStart = 1;  // SessionLog.SessionStatus

std::string record(std::string_view event) {
  std::string out;
  append_fixed(static_cast<std::uint64_t>(event.size()), out);
  append_fixed(masked_crc32c(out), out);
  out += event;
  append_fixed(masked_crc32c(event), out);
  return out;
}

std::string host_name() {
  std::array<char, 256> name = {};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  return name.data();
}

std::filesystem::path new_file(const std::filesystem::path& folder, double start_time) {
  const std::string stem = "events.out.tfevents." +
                           std::to_string(static_cast<std::uint64_t>(std::floor(start_time))) + "." +
                           host_name() + "." + std::to_string(::getpid()) + ".";
  std::size_t number = 0;
  while (std::filesystem::exists(folder / (stem + std::to_string(number)))) ++number;
  return folder / (stem + std::to_string(number));
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view bytes) noexcept {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF] ^ (crc >> 8);
  // Masked, because a CRC over data that holds CRCs says little.
  return std::rotr(~crc, 15) + 0xA282EAD8U;
}

EventFile::EventFile(const std::filesystem::path& folder, double start_time)
    : file_(new_file(folder, start_time), AppendFile::Open::kNew) {
  std::string event;
  append_double_field(kWallTime, start_time, event);
  append_bytes_field(kFileVersion, "brain.Event:2", event);
  file_.append(record(event));
}

void EventFile::scalar(std::string_view tag, std::uint64_t step, double wall_time, float value) {
  std::string entry, summary, event;
  append_bytes_field(kTag, tag, entry);
  append_float_field(kSimpleValue, value, entry);
  append_bytes_field(kSummaryValue, entry, summary);
  append_double_field(kWallTime, wall_time, event);
  append_varint_field(kStep, step, event);
  append_bytes_field(kSummary, summary, event);
  file_.append(record(event));
}

void EventFile::resume(std::uint64_t step, double wall_time) {
  std::string session, event;
  append_varint_field(kStatus, kStart, session);
  append_double_field(kWallTime, wall_time, event);
  append_varint_field(kStep, step, event);
  append_bytes_field(kSessionLog, session, event);
  file_.append(record(event));
}

}  // namespace kvasir::train
