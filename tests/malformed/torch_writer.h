// Writes files of torch.save, good ones and such as only an attacker would write.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace kvasir::tests::torch {

// Parts of a pickle.
std::string proto();
std::string text(const std::string& value);
std::string integer(std::int64_t value);
std::string global(const std::string& module, const std::string& name);

// What a pickle says of a tensor: by default four floats in storage 0.
struct TensorText {
  std::string key = "0";
  std::string storage = "FloatStorage";
  std::int64_t elements = 4;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape = {4};
  std::vector<std::int64_t> strides = {1};
  bool legacy = false;     // a storage's id has a sixth item
  std::string view = "N";  // that item
};
std::string tensor_text(const TensorText& description);
// A whole pickle.
std::string state_dict(const std::vector<std::pair<std::string, TensorText>>& tensors);

using Storages = std::vector<std::pair<std::string, std::string>>;  // key, bytes
struct ZipFaults {
  std::string byteorder = "little";
  std::uint16_t method = 0, flags = 0x808;
  std::string local_name = {};   // of data.pkl beside its data
  std::string second_root = {};  // of another data.pkl
  bool overlap = false;          // files reach into each other
  bool zip64 = false;            // sizes and offsets in the extra fields
};
std::string zip_file(const std::string& pickle, const Storages& storages, const ZipFaults& faults = {});
std::string legacy_file(const std::string& pickle, const Storages& storages);

}  // namespace kvasir::tests::torch
