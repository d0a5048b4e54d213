#include "malformed/gguf_writer.h"

namespace kvasir::tests::gguf {

using formats::GgufType;

std::string text(const std::string& value) {
  return number(std::uint64_t{value.size()}) + value;
}

std::string entry(const std::string& key, GgufType type, const std::string& value) {
  return text(key) + number(static_cast<std::uint32_t>(type)) + value;
}

std::string u32(const std::string& key, std::uint32_t value) {
  return entry(key, GgufType::kU32, number(value));
}

std::string f32(const std::string& key, float value) {
  return entry(key, GgufType::kF32, number(value));
}

std::string boolean(const std::string& key, bool value) {
  return entry(key, GgufType::kBool, number(std::uint8_t{value}));
}

std::string string(const std::string& key, const std::string& value) {
  return entry(key, GgufType::kString, text(value));
}

std::string array(const std::string& key, GgufType type, std::uint64_t size, const std::string& bytes) {
  return entry(key, GgufType::kArray, number(static_cast<std::uint32_t>(type)) + number(size) + bytes);
}

std::string strings(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes;
  for (const std::string& value : values) bytes += text(value);
  return array(key, GgufType::kString, values.size(), bytes);
}

std::string floats(const std::string& key, const std::vector<float>& values) {
  std::string bytes;
  for (const float value : values) bytes += number(value);
  return array(key, GgufType::kF32, values.size(), bytes);
}

std::string i32s(const std::string& key, const std::vector<std::int32_t>& values) {
  std::string bytes;
  for (const std::int32_t value : values) bytes += number(value);
  return array(key, GgufType::kI32, values.size(), bytes);
}

std::string write(const File& file) {
  std::string bytes = file.magic + number(file.version) + number(std::uint64_t{file.tensors.size()}) +
                      number(std::uint64_t{file.metadata.size()});
  for (const std::string& value : file.metadata) bytes += value;
  for (const Tensor& tensor : file.tensors) {
    bytes += text(tensor.name) + number(static_cast<std::uint32_t>(tensor.ne.size()));
    for (const std::uint64_t size : tensor.ne) bytes += number(size);
    bytes += number(tensor.type) + number(tensor.offset);
  }
  if (file.tensors.empty()) return bytes;
  bytes.resize((bytes.size() + file.alignment - 1) / file.alignment * file.alignment);
  return bytes + file.data;
}

}  // namespace kvasir::tests::gguf
