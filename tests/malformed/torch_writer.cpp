#include "malformed/torch_writer.h"

namespace kvasir::tests::torch {

namespace {

template <class T>
std::string bytes(T value) {
  std::string result;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    result += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
  return result;
}

std::string tuple(const std::vector<std::int64_t>& numbers) {
  std::string result = "(";
  for (const std::int64_t number : numbers) result += integer(number);
  return result + "t";
}

struct ZipEntry {
  std::string name, local_name, data;
};

}  // namespace

std::string proto() {
  return "\x80\x02";
}
std::string text(const std::string& value) {
  return "X" + bytes(static_cast<std::uint32_t>(value.size())) + value;
}
std::string integer(std::int64_t value) {
  return "\x8a\x08" + bytes(value);
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}

std::string tensor_text(const TensorText& description) {
  const std::string id = "(" + text("storage") + global("torch", description.storage) +
                         text(description.key) + text("cpu") + integer(description.elements) +
                         (description.legacy ? description.view : "") + "tQ";
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + id + integer(description.offset) +
         tuple(description.shape) + tuple(description.strides) + "\x89" +
         global("collections", "OrderedDict") + ")RtR";
}

std::string state_dict(const std::vector<std::pair<std::string, TensorText>>& tensors) {
  std::string pickle = proto() + global("collections", "OrderedDict") + ")R(";
  for (const auto& [name, description] : tensors) pickle += text(name) + tensor_text(description);
  return pickle + "u.";
}

std::string zip_file(const std::string& pickle, const Storages& storages, const ZipFaults& faults) {
  std::vector<ZipEntry> entries{
      {"a/data.pkl", faults.local_name.empty() ? "a/data.pkl" : faults.local_name, pickle},
      {"a/byteorder", "a/byteorder", faults.byteorder}};
  if (!faults.second_root.empty()) {
    const std::string name = faults.second_root + "/data.pkl";
    entries.push_back({name, name, pickle});
  }
  for (const auto& [key, data] : storages) entries.push_back({"a/data/" + key, "a/data/" + key, data});

  std::string file, directory;
  for (const ZipEntry& entry : entries) {
    const std::size_t offset = file.size();
    // As torch writes it: sizes stand in the directory only.
    file += "PK\x03\x04" + bytes<std::uint16_t>(20) + bytes(faults.flags) + bytes(faults.method) +
            std::string(16, '\0') + bytes(static_cast<std::uint16_t>(entry.local_name.size())) +
            bytes<std::uint16_t>(0) + entry.local_name + entry.data;
    auto size = static_cast<std::uint32_t>(entry.data.size());
    // The directory lets a file reach into the next.
    if (faults.overlap && &entry != &entries.back()) size += 8;
    const std::string wide = bytes<std::uint16_t>(1) + bytes<std::uint16_t>(24) + bytes<std::uint64_t>(size) +
                             bytes<std::uint64_t>(size) + bytes<std::uint64_t>(offset);
    const std::uint32_t shown = faults.zip64 ? 0xFFFFFFFF : size;
    const std::uint32_t place = faults.zip64 ? 0xFFFFFFFF : static_cast<std::uint32_t>(offset);
    directory +=
        "PK\x01\x02" + bytes<std::uint16_t>(20) + bytes<std::uint16_t>(20) + bytes(faults.flags) +
        bytes(faults.method) + std::string(8, '\0') + bytes(shown) + bytes(shown) +
        bytes(static_cast<std::uint16_t>(entry.name.size())) +
        bytes<std::uint16_t>(faults.zip64 ? static_cast<std::uint16_t>(wide.size()) : std::uint16_t{0}) +
        std::string(10, '\0') + bytes(place) + entry.name + (faults.zip64 ? wide : "");
  }
  const std::size_t at = file.size();
  const auto count = static_cast<std::uint16_t>(entries.size());
  file += directory;
  if (faults.zip64) {
    const std::size_t record = file.size();
    file += "PK\x06\x06" + bytes<std::uint64_t>(44) + bytes<std::uint32_t>(0) + std::string(8, '\0') +
            bytes<std::uint64_t>(count) + bytes<std::uint64_t>(count) +
            bytes<std::uint64_t>(directory.size()) + bytes<std::uint64_t>(at);
    file += "PK\x06\x07" + bytes<std::uint32_t>(0) + bytes<std::uint64_t>(record) + bytes<std::uint32_t>(1);
  }
  return file + "PK\x05\x06" + std::string(4, '\0') + bytes(count) + bytes(count) +
         bytes(static_cast<std::uint32_t>(directory.size())) +
         bytes(faults.zip64 ? 0xFFFFFFFF : static_cast<std::uint32_t>(at)) + bytes<std::uint16_t>(0);
}

std::string legacy_file(const std::string& pickle, const Storages& storages) {
  std::string file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
  file += proto() + integer(1001) + ".";
  file += proto() + "}" + text("little_endian") + "\x88s.";
  file += pickle;
  file += proto() + "](";
  for (const auto& [key, data] : storages) file += text(key);
  file += "e.";
  for (const auto& [key, data] : storages) file += bytes<std::uint64_t>(data.size() / 4) + data;
  return file;
}

}  // namespace kvasir::tests::torch
