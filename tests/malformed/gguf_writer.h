// Writes GGUF files, good ones and such as only an attacker would write. formats::write_gguf writes good ones
// only.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "formats/gguf.h"

namespace kvasir::tests::gguf {

template <class T>
std::string number(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
std::string text(const std::string& value);  // with its length

// Entries of the metadata: key, type, value.
std::string entry(const std::string& key, formats::GgufType type, const std::string& value);
std::string u32(const std::string& key, std::uint32_t value);
std::string f32(const std::string& key, float value);
std::string boolean(const std::string& key, bool value);
std::string string(const std::string& key, const std::string& value);
// An array: the type of its elements, their number, and their bytes.
std::string array(const std::string& key, formats::GgufType type, std::uint64_t size,
                  const std::string& bytes);
std::string strings(const std::string& key, const std::vector<std::string>& values);
std::string floats(const std::string& key, const std::vector<float>& values);
std::string i32s(const std::string& key, const std::vector<std::int32_t>& values);

struct Tensor {
  std::string name = {};
  std::vector<std::uint64_t> ne = {};  // as in the file: the length of a row first
  std::uint32_t type = 0;              // F32
  std::uint64_t offset = 0;
};
struct File {
  std::vector<std::string> metadata = {};
  std::vector<Tensor> tensors = {};
  std::string data = {};  // of the tensors, after padding to `alignment`
  std::uint64_t alignment = 32;
  std::string magic = "GGUF";
  std::uint32_t version = 3;
};
std::string write(const File& file);

}  // namespace kvasir::tests::gguf
