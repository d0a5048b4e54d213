// Files of torch.save against the same tensors in safetensors, bit for bit, and what must be refused.
#include "formats/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "formats/safetensors.h"
#include "kvasir/error.h"
#include "malformed/torch_writer.h"

namespace kvasir::formats {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using namespace tests::torch;

std::filesystem::path data(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "checkpoints" / name;
}

void expect_equal(const std::map<std::string, tensor::TensorView>& actual,
                  const std::map<std::string, tensor::TensorView>& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, view] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    const tensor::TensorView& tensor = actual.at(name);
    EXPECT_EQ(tensor.dtype, view.dtype) << name;
    EXPECT_EQ(tensor.shape, view.shape) << name;
    EXPECT_TRUE(view.bytes() == 0 || std::memcmp(tensor.data, view.data, view.bytes()) == 0) << name;
  }
}

TEST(TorchFile, HoldsWhatSafetensorsHolds) {
  for (const std::string folder : {"kinds", "llama-gqa"}) {
    const SafetensorsFile expected(data(folder) / "expected.safetensors");
    EXPECT_GE(expected.tensors().size(), 19U);
    for (const char* name : {"zip.bin", "legacy.bin", "big-endian.bin", "legacy-from-big-endian.bin"}) {
      if (!std::filesystem::exists(data(folder) / name)) continue;
      SCOPED_TRACE(folder + "/" + name);
      expect_equal(TorchFile(data(folder) / name).tensors(), expected.tensors());
    }
  }
}

TEST(TorchFile, CopiesOnlyWhatItMust) {
  const TorchFile file(data("kinds/zip.bin"));
  const auto mapped = [&](const char* name) {
    const auto bytes = file.file().bytes();
    const std::byte* at = file.tensors().at(name).data;
    return at >= bytes.data() && at < bytes.data() + bytes.size();
  };
  for (const char* name :
       {"contiguous", "rows", "shared", "tied", "expanded", "scalar", "bfloat16", "parameter"}) {
    EXPECT_TRUE(mapped(name)) << name;
  }
  EXPECT_EQ(file.tensors().at("contiguous").data, file.tensors().at("tied").data);
  for (const char* name : {"transposed", "columns", "permuted", "half"}) EXPECT_FALSE(mapped(name)) << name;
}

// --- what must be refused

std::string error_of(const std::string& file) {
  try {
    parse_torch(std::as_bytes(std::span(file)), "m.bin");
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

// A file of one tensor w of four floats, its pickle written by `describe`.
std::string error_of_pickle(const std::string& pickle) {
  return error_of(zip_file(pickle, {{"0", std::string(16, '\1')}}));
}

TEST(TorchFile, TheWriterOfTheseTestsWritesGoodFiles) {
  EXPECT_EQ(error_of(zip_file(state_dict({{"w", {}}}), {{"0", std::string(16, '\1')}})), "none");
  EXPECT_EQ(error_of(legacy_file(state_dict({{"w", {.legacy = true}}}), {{"0", std::string(16, '\1')}})),
            "none");
}

TEST(TorchFile, RefusesWhatIsNoTensorByName) {
  for (const auto& [module, name] : {std::pair{"os", "system"},
                                     {"builtins", "eval"},
                                     {"__builtin__", "exec"},
                                     {"posix", "system"},
                                     {"subprocess", "Popen"},
                                     {"torch", "load"},
                                     {"torch.hub", "load"},
                                     {"torch", "_C"},
                                     {"numpy.core.multiarray", "_reconstruct"},
                                     {"torch._utils", "_rebuild_sparse_tensor"},
                                     {"collections", "OrderedDict.__reduce__"},
                                     {"torch", "FloatStorage.__init__"}}) {
    const std::string full = std::string(module) + "." + name;
    // Before it is called, and also where nobody calls it.
    EXPECT_THAT(error_of_pickle(proto() + global(module, name) + text("echo") + "\x85R."),
                AllOf(HasSubstr("unsupported: m.bin: pickle, byte 2: "), HasSubstr("refused " + full + ",")));
    EXPECT_THAT(error_of_pickle(proto() + "}" + text("x") + global(module, name) + "s."), HasSubstr(full));
  }
}

TEST(TorchFile, RefusesInstructions) {
  EXPECT_THAT(error_of_pickle(proto() + "(" + text("id") + "ios\nsystem\n."), HasSubstr("instruction INST"));
  EXPECT_THAT(error_of_pickle(proto() + text("os") + text("system") + "\x93."), HasSubstr("STACK_GLOBAL"));
  EXPECT_THAT(error_of_pickle(proto() + "(" + global("torch", "Size") + "o."), HasSubstr("instruction OBJ"));
  EXPECT_THAT(error_of_pickle("\x80\x04."), HasSubstr("pickle protocol 4"));
  EXPECT_THAT(error_of_pickle(proto() + "\xff."), HasSubstr("instruction 255 does not exist"));
}

TEST(TorchFile, RefusesAbuseOfAllowedNames) {
  const std::string dict = global("collections", "OrderedDict"), storage = global("torch", "FloatStorage");
  EXPECT_THAT(error_of_pickle(proto() + storage + ")R."), HasSubstr("is not something to call"));
  EXPECT_THAT(error_of_pickle(proto() + text("x") + ")R."), HasSubstr("calls what cannot be called"));
  EXPECT_THAT(error_of_pickle(proto() + dict + "NR."), HasSubstr("calls what cannot be called"));
  EXPECT_THAT(error_of_pickle(proto() + storage + ")\x81."),
              HasSubstr("makes an object of what is no class"));
  EXPECT_THAT(error_of_pickle(proto() + dict + ")R" + "Nb."), HasSubstr("gives attributes"));
  EXPECT_THAT(error_of_pickle(proto() + "}}b."), HasSubstr("gives attributes"));
  EXPECT_THAT(error_of_pickle(proto() + "]" + text("k") + "Ns."),
              HasSubstr("sets an item of what is no dict"));
  EXPECT_THAT(error_of_pickle(proto() + tensor_text({}) + "K\x01K\x02s."),
              HasSubstr("sets an item of what is no dict"));
  EXPECT_THAT(error_of_pickle(proto() + "}(K\x01u."), HasSubstr("has no value"));
  EXPECT_THAT(error_of_pickle(proto() + "}Na."), HasSubstr("appends to what is no list"));
  EXPECT_THAT(error_of_pickle(proto() + global("torch._tensor", "_rebuild_from_type_v2") + "(" + dict + dict +
                              ")" + "NtR."),
              HasSubstr("does not make a tensor"));
}

// The other ways in which versions of torch and of Python have written a tensor.
TEST(TorchFile, WaysToWriteATensor) {
  const std::string rebuild = global("torch._utils", "_rebuild_tensor_v2");
  const std::string parameter = global("torch.nn.parameter", "Parameter");
  const std::string whole = tensor_text({});
  const std::string arguments = whole.substr(rebuild.size(), whole.size() - rebuild.size() - 1);
  const std::string dict = global("collections", "OrderedDict") + ")R";
  const std::string sized =
      rebuild + "(" + whole.substr(rebuild.size() + 1, whole.find(integer(0)) - rebuild.size() - 1) +
      integer(0) + global("torch", "Size") + "(" + integer(4) + "t\x85R" + "(" + integer(1) + "t\x89NtR";
  for (const std::string& tensor :
       {whole, rebuild + arguments + "R",
        global("torch._utils", "_rebuild_parameter") + "(" + whole + "\x88" + dict + "tR",
        global("torch._utils", "_rebuild_parameter_with_state") + "(" + whole + "\x88" + dict + "}tR",
        global("torch._tensor", "_rebuild_from_type_v2") + "(" + rebuild + parameter + arguments + "}tR",
        parameter + "(" + whole + "t\x81", sized}) {
    EXPECT_EQ(error_of_pickle(proto() + "}" + text("w") + tensor + "s."), "none");
  }
  // OrderedDict([["w", …]]), attributes, and what a memo gives back.
  EXPECT_EQ(error_of_pickle(proto() + global("collections", "OrderedDict") + "](](" + text("w") + whole +
                            "ee\x85R" + "}" + text("_metadata") + dict + "sb."),
            "none");
  EXPECT_EQ(error_of_pickle(proto() + "}(" + text("w") + whole + "q\x07" + text("v") + "h\x07u."), "none");
}

TEST(TorchFile, RefusesBrokenPickles) {
  EXPECT_THAT(error_of_pickle(""), HasSubstr("truncated"));
  EXPECT_THAT(error_of_pickle(proto() + "."), HasSubstr("ends with 0 values"));
  EXPECT_THAT(error_of_pickle(proto() + "NN."), HasSubstr("ends with 2 values"));
  EXPECT_THAT(error_of_pickle(proto() + "R."), HasSubstr("takes a value that is not there"));
  EXPECT_THAT(error_of_pickle(proto() + "N(R."), HasSubstr("takes a value that is not there"));
  EXPECT_THAT(error_of_pickle(proto() + "t."), HasSubstr("a mark that is not there"));
  EXPECT_THAT(error_of_pickle(proto() + "h\x07."), HasSubstr("recalls value 7"));
  EXPECT_THAT(error_of_pickle(proto() + "q\x01."), HasSubstr("remembers a value that is not there"));
  EXPECT_THAT(error_of_pickle(proto() + std::string(2000, '(')), HasSubstr("nested more than 1000 levels"));
  EXPECT_THAT(error_of_pickle(proto() + "X\xff\xff\xff\x7f"), HasSubstr("a string of 2147483647 bytes"));
  EXPECT_THAT(error_of_pickle(proto() + text("\xff") + "."), HasSubstr("not UTF-8"));
  EXPECT_THAT(error_of_pickle(proto() + "\x8a\x09"
                                        "123456789."),
              HasSubstr("more than 64 bits"));
  EXPECT_THAT(error_of_pickle(proto() + std::string(3'000'000, 'N')), HasSubstr("more values"));
}

TEST(TorchFile, RefusesWhatIsNoDictOfTensors) {
  EXPECT_THAT(error_of_pickle(proto() + "N."), HasSubstr("holds no dict of tensors"));
  EXPECT_THAT(error_of_pickle(proto() + "}" + text("epoch") + "K\x03s."),
              HasSubstr("entry epoch is no tensor"));
  EXPECT_THAT(error_of_pickle(proto() + "}" + text("state_dict") + "}s."),
              HasSubstr("checkpoint of training"));
  EXPECT_THAT(error_of_pickle(proto() + "}K\x01" + tensor_text({}) + "s."), HasSubstr("is no string"));
  EXPECT_THAT(error_of_pickle(state_dict({{"w", {}}, {"w", {}}})),
              HasSubstr("tensor w: the file holds it twice"));
}

std::string error_of_tensor(const TensorText& description) {
  return error_of_pickle(state_dict({{"w", description}}));
}

TEST(TorchFile, RefusesTensorsThatDoNotFitTheirStorage) {
  EXPECT_EQ(error_of_tensor({.shape = {2, 2}, .strides = {1, 2}}), "none");
  EXPECT_EQ(error_of_tensor({.offset = 4, .shape = {0}, .strides = {1}}), "none");
  EXPECT_EQ(error_of_tensor({.offset = 1000, .shape = {0}, .strides = {1}}), "none");
  EXPECT_THAT(error_of_tensor({.key = "7"}), HasSubstr("tensor w: its storage 7 is missing"));
  EXPECT_THAT(error_of_tensor({.elements = 5}), HasSubstr("16 bytes, and 5 elements of F32 are due"));
  EXPECT_THAT(error_of_tensor({.storage = "DoubleStorage"}), HasSubstr("elements of F64 are due"));
  EXPECT_THAT(error_of_tensor({.elements = std::int64_t{1} << 62}), HasSubstr("are due"));
  EXPECT_THAT(error_of_tensor({.offset = 1}), HasSubstr("reaches element 4 of a storage of 4"));
  EXPECT_THAT(error_of_tensor({.shape = {2, 2}, .strides = {3, 1}}), HasSubstr("reaches element 4"));
  EXPECT_THAT(error_of_tensor({.shape = {1000, 1000}, .strides = {0, 0}}), HasSubstr("more elements than"));
  EXPECT_THAT(error_of_tensor({.shape = {5}}), HasSubstr("reaches element 4"));
  EXPECT_THAT(error_of_tensor({.shape = {-4}}), HasSubstr("its shape is not a size"));
  EXPECT_THAT(error_of_tensor({.strides = {-1}}), HasSubstr("its stride is not a size"));
  EXPECT_THAT(error_of_tensor({.offset = -1}), HasSubstr("its offset is not a size"));
  EXPECT_THAT(error_of_tensor({.shape = {2, 2}}), HasSubstr("not equally long"));
  const std::int64_t half = std::int64_t{1} << 32;
  EXPECT_THAT(error_of_tensor({.shape = {half, half}, .strides = {0, 0}}), HasSubstr("overflows"));
  EXPECT_THAT(error_of_tensor({.shape = {half, 1}, .strides = {std::int64_t{1} << 62, 1}}),
              HasSubstr("overflows"));
}

TEST(TorchFile, RefusesTensorsThatWouldFillTheMemory) {
  std::vector<std::pair<std::string, TensorText>> many;
  for (int i = 0; i < 2000; ++i) {
    many.push_back({"w" + std::to_string(i), {.elements = 2048, .shape = {2, 1024}, .strides = {1, 2}}});
  }
  EXPECT_THAT(error_of(zip_file(state_dict(many), {{"0", std::string(8192, '\1')}})),
              HasSubstr("would fill the memory"));
}

TEST(TorchFile, Archives) {
  const std::string pickle = state_dict({{"w", {}}});
  const Storages storages{{"0", std::string(16, '\1')}};
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.byteorder = "middle"})),
              HasSubstr("byteorder is neither"));
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.method = 8})),
              AllOf(HasSubstr("unsupported: "), HasSubstr("is compressed")));
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.flags = 0x809})), HasSubstr("is encrypted"));
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.local_name = "x/data.pkl"})), HasSubstr("another name"));
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.second_root = "b"})),
              HasSubstr("a second model, at b/data.pkl"));
  EXPECT_THAT(error_of(zip_file(pickle, {{"0", std::string(16, '\1')}, {"0", ""}})), HasSubstr("twice"));
  EXPECT_THAT(error_of(zip_file(pickle, storages, {.overlap = true})), HasSubstr("share bytes"));
  EXPECT_EQ(error_of(zip_file(pickle, storages, {.zip64 = true})), "none");
  std::string file = zip_file(pickle, storages);
  EXPECT_THAT(error_of(file.substr(0, file.size() - 1)), HasSubstr("has no end"));
  EXPECT_THAT(error_of(file + "x"), HasSubstr("has no end"));
  EXPECT_THAT(error_of("PK\x03\x04"), HasSubstr("has no end"));
  EXPECT_THAT(error_of("\x80\x04\x95"), HasSubstr("not a file of torch.save"));
  EXPECT_THAT(error_of(""), HasSubstr("not a file of torch.save"));
  EXPECT_THAT(error_of(std::string(257, '\0') + "ustar" + std::string(300, '\0')), HasSubstr("PyTorch 0.1"));
}

TEST(TorchFile, Legacy) {
  const std::string pickle = state_dict({{"w", {.legacy = true}}});
  const std::string good = legacy_file(pickle, {{"0", std::string(16, '\1')}});
  EXPECT_THAT(error_of(good + "x"), HasSubstr("1 bytes follow the last storage"));
  for (std::size_t size = 15; size < good.size(); ++size) {
    EXPECT_THAT(error_of(good.substr(0, size)), HasSubstr("truncated")) << size;
  }
  EXPECT_THAT(error_of(legacy_file(pickle, {{"1", std::string(16, '\1')}})),
              HasSubstr("belongs to no tensor"));
  EXPECT_THAT(error_of(legacy_file(pickle, {})), HasSubstr("storage 0 is missing"));
  EXPECT_THAT(error_of(legacy_file(pickle, {{"0", std::string(12, '\1')}})),
              HasSubstr("12 bytes, and 4 elements"));
  EXPECT_THAT(error_of(legacy_file(pickle, {{"0", std::string(16, '\1')}, {"0", std::string(16, '\1')}})),
              HasSubstr("storage 0 occurs twice"));
}

// Before 0.4 a storage could be a view of another.
TEST(TorchFile, LegacyViews) {
  const auto with_view = [](std::int64_t begin, std::int64_t size) {
    const std::string pickle = state_dict(
        {{"w",
          {.shape = {2}, .legacy = true, .view = "(" + text("v") + integer(begin) + integer(size) + "t"}}});
    std::string elements;
    for (const float x : {1.F, 2.F, 3.F, 4.F}) elements.append(reinterpret_cast<const char*>(&x), sizeof x);
    return legacy_file(pickle, {{"0", elements}});
  };
  const std::string file = with_view(1, 2);
  const TorchContent content = parse_torch(std::as_bytes(std::span(file)), "m.bin");
  float values[2];
  content.tensors.at("w").read_floats(0, values);
  EXPECT_THAT(values, testing::ElementsAre(2.F, 3.F));
  EXPECT_THAT(error_of(with_view(1, 1)), HasSubstr("reaches element 1 of a storage of 1"));
  EXPECT_THAT(error_of(with_view(3, 2)), HasSubstr("its view goes beyond it"));
}

}  // namespace
}  // namespace kvasir::formats
