// The files of a model folder: which is taken, and shards.
#include "formats/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "kvasir/error.h"
#include "malformed/torch_writer.h"
#include "temporary_folder.h"

namespace kvasir::formats {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::TemporaryFolder;

const std::filesystem::path kData = std::filesystem::path(KVASIR_TEST_DATA) / "checkpoints";

TEST(Checkpoint, ShardsHoldWhatOneFileHolds) {
  const SafetensorsFile whole(kData / "llama-gqa/expected.safetensors");
  const Checkpoint sharded(kData / "llama-gqa/sharded");
  EXPECT_THAT(sharded.origin(), testing::EndsWith("model.safetensors.index.json"));
  ASSERT_EQ(sharded.tensors().size(), whole.tensors().size());
  std::set<std::string> files;
  for (const auto& [name, view] : whole.tensors()) {
    const CheckpointTensor& tensor = sharded.tensors().at(name);
    EXPECT_EQ(tensor.view.shape, view.shape);
    EXPECT_EQ(std::memcmp(tensor.view.data, view.data, view.bytes()), 0) << name;
    ASSERT_NE(tensor.mapped, nullptr);
    EXPECT_EQ(tensor.mapped->path().string(), tensor.file);
    files.insert(tensor.file);
  }
  EXPECT_EQ(files.size(), 3U);
}

TEST(Checkpoint, ShardsOfTorch) {
  const SafetensorsFile whole(kData / "whole-word-masking/clean.safetensors");
  const Checkpoint sharded(kData / "whole-word-masking/shards-bin");
  EXPECT_THAT(sharded.origin(), testing::EndsWith("pytorch_model.bin.index.json"));
  ASSERT_EQ(sharded.tensors().size(), whole.tensors().size());
  for (const auto& [name, view] : whole.tensors()) {
    const CheckpointTensor& tensor = sharded.tensors().at(name);
    EXPECT_EQ(std::memcmp(tensor.view.data, view.data, view.bytes()), 0) << name;
  }
}

std::string with_tensor(const TemporaryFolder& folder, const std::string& file, const std::string& name) {
  const std::byte zeros[16] = {};
  const std::vector<NamedTensor> tensors{{name, {tensor::DType::kF32, {4}, zeros}}};
  if (file.ends_with(".bin")) {
    std::ofstream(folder / file, std::ios::binary)
        << tests::torch::zip_file(tests::torch::state_dict({{name, {}}}), {{"0", std::string(16, '\0')}});
  } else {
    write_safetensors(folder / file, tensors);
  }
  return file;
}

void write_index(const TemporaryFolder& folder, const std::string& name, const std::string& map) {
  std::ofstream(folder / name) << R"({"metadata":{"total_size":16},"weight_map":)" << map << "}";
}

std::string error_of(const TemporaryFolder& folder) {
  try {
    const Checkpoint checkpoint(folder.path());
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(Checkpoint, LoadOrder) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of(folder), AllOf(HasSubstr("not_found: " + folder.path().string()),
                                      HasSubstr("neither model.safetensors nor pytorch_model.bin")));
  const auto first = [&] { return Checkpoint(folder.path()).tensors().begin()->first; };
  with_tensor(folder, "pytorch_model-1.bin", "fourth");
  write_index(folder, "pytorch_model.bin.index.json", R"({"fourth":"pytorch_model-1.bin"})");
  EXPECT_EQ(first(), "fourth");
  with_tensor(folder, "pytorch_model.bin", "third");
  EXPECT_EQ(first(), "third");
  with_tensor(folder, "model-1.safetensors", "second");
  write_index(folder, "model.safetensors.index.json", R"({"second":"model-1.safetensors"})");
  EXPECT_EQ(first(), "second");
  with_tensor(folder, "model.safetensors", "first");
  EXPECT_EQ(first(), "first");
}

// A broken file is an error, not a reason to take the next: that could be another model.
TEST(Checkpoint, NoFallBack) {
  const TemporaryFolder folder;
  with_tensor(folder, "pytorch_model.bin", "w");
  std::ofstream(folder / "model.safetensors") << "broken";
  EXPECT_THAT(error_of(folder), AllOf(HasSubstr("format: "), HasSubstr("model.safetensors: ")));
  std::filesystem::remove(folder / "model.safetensors");
  std::filesystem::create_symlink("nowhere", folder / "model.safetensors");  // a download that was cut
  EXPECT_THAT(error_of(folder), AllOf(HasSubstr("not_found: "), HasSubstr("model.safetensors: ")));
}

TEST(Checkpoint, IndexesThatDoNotFit) {
  const TemporaryFolder folder;
  with_tensor(folder, "model-1.safetensors", "w");
  const auto error = [&](const std::string& map) {
    write_index(folder, "model.safetensors.index.json", map);
    return error_of(folder);
  };
  EXPECT_EQ(error(R"({"w":"model-1.safetensors"})"), "none");
  EXPECT_THAT(error(R"({"w":"model-1.safetensors","v":"model-1.safetensors"})"),
              AllOf(HasSubstr("format: "), HasSubstr("model-1.safetensors: tensor v is missing")));
  EXPECT_THAT(error(R"({"w":"model-2.safetensors"})"),
              AllOf(HasSubstr("not_found: "), HasSubstr("model-2.safetensors: is missing")));
  for (const char* name : {"../model-1.safetensors", "/tmp/model-1.safetensors", "x/model-1.safetensors",
                           "C:\\\\model-1.safetensors", ".safetensors", "..", "", "model-1.bin", "model-1",
                           ".model.safetensors", "model\\u0000.safetensors", "model\\n.safetensors"}) {
    EXPECT_THAT(error(std::string(R"({"w":")") + name + "\"}"),
                AllOf(HasSubstr("format: "), HasSubstr("index.json: weight_map: tensor w lies in"),
                      HasSubstr("not the name of a *.safetensors file")));
  }
  EXPECT_THAT(error("{}"), HasSubstr("names no tensors"));
  EXPECT_THAT(error("[]"), HasSubstr("a list where an object is due"));
  EXPECT_THAT(error(R"({"w":1})"), HasSubstr("key w is an integer where a string is due"));
  EXPECT_THAT(error(R"({"w":"model-1.safetensors")"), HasSubstr("not valid JSON"));
}

}  // namespace
}  // namespace kvasir::formats
