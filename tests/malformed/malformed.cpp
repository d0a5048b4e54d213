#include "malformed/malformed.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "formats/safetensors.h"
#include "malformed/torch_writer.h"

namespace kvasir::tests {

namespace {

namespace json = base::json;

constexpr const char* kShard = "model-00001-of-00001.safetensors";

// A number in little-endian at a place of a file.
template <class T>
std::string with_number(std::string file, std::size_t at, T value) {
  std::memcpy(file.data() + at, &value, sizeof value);
  return file;
}
template <class T>
T number_at(const std::string& file, std::size_t at) {
  T value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

class Maker {
 public:
  Maker(const std::filesystem::path& model, const OnMalformed& on_file) : model_(model), on_file_(on_file) {}

  void safetensors() {
    start("safetensors", "model.safetensors");
    const std::string good = good_file(model_, "safetensors").bytes;
    truncate(good, good.size(), 40);
    for (const std::size_t more : {1, 7, 4096}) emit("with more bytes", good + std::string(more, '\0'));
    const auto header = number_at<std::uint64_t>(good, 0);
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{1}, header / 2, header - 1, header + 1, 2 * header,
          std::uint64_t{good.size()}, std::uint64_t{1} << 32, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
      emit("header of " + std::to_string(length), with_number(good, 0, length));
    }
    std::string text = good.substr(8, header);
    const std::string data = good.substr(8 + header);
    const auto file = [&](const std::string& changed) {
      return with_number(std::string(8, '\0'), 0, std::uint64_t{changed.size()}) + changed + data;
    };
    for (const std::string& bad : spoilt_json(text)) emit("header is no JSON", file(bad));
    emit("header is not UTF-8", file(std::string(text).replace(4, 1, "\xff")));
    const json::object good_header = json::parse(text).as_object();
    for (const json::object& bad : bad_headers(good_header)) emit("header", file(json::serialize(bad)));
    const std::string first(std::next(good_header.begin())->key());
    emit("name twice",
         file("{\"" + first + "\":" + json::serialize(good_header.at(first)) + "," + text.substr(1)));
    for (int i = 0; i < 8; ++i) {  // the middle of a tensor that the model uses
      const std::size_t at = 8 + header + data.size() / 32 * (4 * static_cast<std::size_t>(i) + 1) / 4 * 4;
      emit("NaN", with_number(good, at - at % 4 + (8 + header) % 4, std::numeric_limits<float>::quiet_NaN()));
    }
  }

  void zip() {
    start("zip", "pytorch_model.bin");
    const std::string good = good_file(model_, "zip").bytes;
    truncate(good, good.size(), 40);
    emit("with more bytes", good + "x");
    const std::size_t end = good.size() - 22;
    for (const std::size_t field : {4, 6, 10}) {
      emit("end record", with_number<std::uint16_t>(good, end + field, 77));
    }
    for (const std::size_t field : {12, 16}) {
      for (const std::uint32_t value : {0U, 1U, 1U << 31, 0xFFFFFFFFU}) {
        emit("end record", with_number(good, end + field, value));
      }
    }
    const auto directory = number_at<std::uint32_t>(good, end + 16);
    std::size_t at = directory;
    for (int entry = 0; entry < 5; ++entry) {
      const std::string where = "directory entry " + std::to_string(entry);
      emit(where, with_number<std::uint32_t>(good, at, 0));
      emit(where + " encrypted", with_number<std::uint16_t>(good, at + 8, 0x809));
      emit(where + " compressed", with_number<std::uint16_t>(good, at + 10, 8));
      for (const std::size_t field : {20, 24, 42}) {
        emit(where, with_number(good, at + field, number_at<std::uint32_t>(good, at + field) + 1));
        emit(where, with_number(good, at + field, 0xFFFFFFFFU));
      }
      emit(where + " name", with_number<char>(good, at + 46, 'z'));
      emit(where + " name", with_number<std::uint16_t>(good, at + 28, 0xFFFF));
      emit(where + " place", with_number<std::uint32_t>(good, number_at<std::uint32_t>(good, at + 42), 0));
      at += 46U + number_at<std::uint16_t>(good, at + 28);
    }
    const torch::Storages storages{{"0", std::string(16, '\1')}};
    const std::string w = torch::state_dict({{"w", {}}});
    emit("byteorder", torch::zip_file(w, storages, {.byteorder = "middle"}));
    emit("two roots", torch::zip_file(w, storages, {.second_root = "b"}));
    emit("overlap", torch::zip_file(w, storages, {.overlap = true}));
    emit("a name twice", torch::zip_file(w, {storages[0], storages[0]}));
    for (const std::string& pickle : bad_pickles()) emit("pickle", torch::zip_file(pickle, storages));
  }

  void legacy() {
    start("legacy", "pytorch_model.bin");
    const std::string good = good_file(model_, "legacy").bytes;
    truncate(good, good.size(), 40);
    emit("with more bytes", good + "x");
    for (std::size_t i = 0; i < 15; ++i) emit("magic number", with_number<char>(good, i, 'x'));
    emit("version", std::string(good).replace(19, 2, "\x01\x01"));
    const torch::Storages storages{{"0", std::string(16, '\1')}};
    for (const std::string& pickle : bad_pickles()) emit("pickle", torch::legacy_file(pickle, storages));
  }

  void index() {
    start("index", "model.safetensors.index.json");
    const std::string good = good_file(model_, "index").bytes;
    truncate(good, good.find_last_of('}'), 20);
    for (const std::string& bad : spoilt_json(good)) emit("no JSON", bad);
    const json::object whole = json::parse(good).as_object();
    const auto with_map = [&](const json::value& map) {
      json::object changed = whole;
      changed["weight_map"] = map;
      return json::serialize(changed);
    };
    for (const json::value& map : wrong_types()) emit("weight_map", with_map(map));
    emit("weight_map", with_map(json::object{}));
    for (const json::value& shard :
         {json::value("../model.safetensors"), json::value("/etc/passwd"), json::value("x/y.safetensors"),
          json::value("model-00002-of-00001.safetensors"), json::value(""), json::value("."),
          json::value(".."), json::value("model.bin"), json::value("config.json"),
          json::value(".hidden.safetensors"), json::value("..\\x.safetensors"),
          json::value(std::string("m\0.safetensors", 14)), json::value(1), json::value(nullptr),
          json::value(json::array{}), json::value(json::object{})}) {
      json::object map = whole.at("weight_map").as_object();
      map.begin()->value() = shard;
      emit("shard " + json::serialize(shard), with_map(map));
    }
    json::object more = whole.at("weight_map").as_object();
    more["no.such.tensor"] = kShard;
    emit("a tensor that is not there", with_map(more));
    json::object fewer = whole.at("weight_map").as_object();
    for (const char* name : {"qa_outputs.weight", "bert.embeddings.word_embeddings.weight"}) {
      fewer.erase(name);
      emit(std::string("without ") + name, with_map(fewer));
    }
  }

  void config() {
    start("config", "config.json");
    const std::string good = good_file(model_, "config").bytes;
    truncate(good, good.find_last_of('}'), 20);
    for (const std::string& bad : spoilt_json(good)) emit("no JSON", bad);
    const json::object whole = json::parse(good).as_object();
    const auto with = [&](const std::string& key, const json::value& value) {
      json::object changed = whole;
      changed[key] = value;
      emit(key + " = " + json::serialize(value), json::serialize(changed));
    };
    for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                            "intermediate_size", "max_position_embeddings"}) {
      for (const json::value& value : wrong_types()) with(key, value);
      for (const json::value& value : {json::value(0), json::value(-1), json::value(1.5), json::value(1e300),
                                       json::value(std::int64_t{1} << 60), json::value(~std::uint64_t{0})}) {
        with(key, value);
      }
      json::object changed = whole;
      changed.erase(key);
      emit(std::string("without ") + key, json::serialize(changed));
    }
    for (const json::value& value : wrong_types()) with("model_type", value);
    for (const char* type : {"", "gpt-9", "BERT", "bert\n", "../bert"}) with("model_type", type);
    with("hidden_act", "no_such_function");
    with("position_embedding_type", "relative_key");
    with("is_decoder", true);
    with("layer_norm_eps", -1);
    with("type_vocab_size", 0);
    with("vocab_size", 3001);
    with("num_attention_heads", 5);
    with("num_hidden_layers", 3);
  }

  void tokenizer() {
    start("tokenizer", "tokenizer.json");
    const std::string good = good_file(model_, "tokenizer").bytes;
    truncate(good, good.find_last_of('}'), 20);
    for (const std::string& bad : spoilt_json(good)) emit("no JSON", bad);
    const json::object whole = json::parse(good).as_object();
    for (const char* part : {"normalizer", "pre_tokenizer", "model", "post_processor"}) {
      json::object changed = whole;
      for (const json::value& value : {json::value(1), json::value("x"), json::value(json::array{})}) {
        changed[part] = value;
        emit(std::string(part) + " = " + json::serialize(value), json::serialize(changed));
      }
      for (const json::value& type :
           {json::value("NoSuchThing"), json::value(1), json::value(json::array{})}) {
        changed[part] = whole.at(part);
        changed[part].as_object()["type"] = type;
        emit(std::string(part) + " of type " + json::serialize(type), json::serialize(changed));
      }
    }
    const auto with_vocabulary = [&](const json::value& vocabulary) {
      json::object changed = whole;
      changed["model"].as_object()["vocab"] = vocabulary;
      emit("vocab", json::serialize(changed));
    };
    for (const json::value& value : {json::value(1), json::value("x"), json::value(nullptr)})
      with_vocabulary(value);
    const json::object vocabulary = whole.at("model").at("vocab").as_object();
    for (const json::value& id :
         {json::value(-1), json::value("x"), json::value(nullptr), json::value(json::array{}),
          json::value(std::int64_t{1} << 40), json::value(1.5)}) {
      json::object changed = vocabulary;
      changed["treaty"] = id;
      with_vocabulary(changed);
    }
  }

 private:
  void start(const std::string& kind, const std::string& name) {
    file_.kind = kind;
    file_.name = name;
  }
  void emit(const std::string& fault, std::string bytes) {
    file_.fault = fault;
    file_.bytes = std::move(bytes);
    on_file_(file_);
  }

  // At `count` places before `size`, from 0 on.
  void truncate(const std::string& good, std::size_t size, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = size * i / count;
      emit("truncated at " + std::to_string(at), good.substr(0, at));
    }
  }

  static std::vector<std::string> spoilt_json(const std::string& good) {
    std::vector<std::string> bad{"[]", "null", "\"x\"", "1", std::string(5000, '['), good + "}", "{" + good};
    for (std::size_t i = 1; i <= 8; ++i) {  // a control character is no JSON wherever it stands
      bad.push_back(std::string(good).insert(good.find_last_of('}') * i / 9, "\x01"));
    }
    return bad;
  }

  static std::vector<json::value> wrong_types() { return {"x", json::array{}, true, nullptr}; }

  static std::vector<json::object> bad_headers(const json::object& good) {
    std::vector<json::object> bad;
    const auto with = [&](const std::string& name, const std::string& key, const json::value& value) {
      json::object header = good;
      json::object& entry = header[name].as_object();
      if (value.is_null()) {
        entry.erase(key);
      } else {
        entry[key] = value;
      }
      bad.push_back(std::move(header));
    };
    for (const char* name :
         {"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.attention.self.query.weight",
          "bert.encoder.layer.1.output.LayerNorm.bias", "qa_outputs.weight"}) {
      const json::object& entry = good.at(name).as_object();
      const auto begin = entry.at("data_offsets").at(0).to_number<std::int64_t>();
      const auto end = entry.at("data_offsets").at(1).to_number<std::int64_t>();
      for (const json::value& dtype : {json::value("F31"), json::value("F64"), json::value("I32"),
                                       json::value("C64"), json::value(32), json::value(nullptr)}) {
        with(name, "dtype", dtype);
      }
      for (const json::value& shape :
           {json::value(json::array{}), json::value(json::array{-1}), json::value("2"), json::value(nullptr),
            json::value(json::array{std::int64_t{1} << 62, 4, 4}), json::value(json::array{1.5}),
            json::value(json::array{(end - begin) / 4, 1, 1})}) {
        with(name, "shape", shape);
      }
      for (const json::value& offsets :
           {json::value(json::array{end, begin}), json::value(json::array{begin}), json::value(nullptr),
            json::value(json::array{begin + 4, end + 4}), json::value(json::array{begin, end + 4}),
            json::value(json::array{begin, std::int64_t{1} << 60}), json::value(json::array{-4, end}),
            json::value("x")}) {
        with(name, "data_offsets", offsets);
      }
      json::object header = good;
      header[name] = json::array{1};
      bad.push_back(header);
      header[name] = good.at(name);
      header["some.other.name"] = header[name];
      header.erase(name);  // a weight that the model needs is gone
      bad.push_back(header);
    }
    for (const json::value& metadata : {json::value(json::object{{"a", 1}}), json::value(json::array{}),
                                        json::value("x"), json::value(json::object{{"a", nullptr}})}) {
      json::object header = good;
      header["__metadata__"] = metadata;
      bad.push_back(header);
    }
    return bad;
  }

  // Pickles of a file whose storage "0" holds 16 bytes.
  static std::vector<std::string> bad_pickles() {
    using namespace torch;
    std::vector<std::string> bad;
    for (const auto& [module, name] : {std::pair{"os", "system"},
                                       {"posix", "system"},
                                       {"nt", "system"},
                                       {"builtins", "eval"},
                                       {"builtins", "getattr"},
                                       {"__builtin__", "exec"},
                                       {"subprocess", "Popen"},
                                       {"runpy", "_run_code"},
                                       {"importlib", "import_module"},
                                       {"torch", "load"},
                                       {"torch.serialization", "load"},
                                       {"torch._utils", "_rebuild_sparse_tensor"},
                                       {"torch.jit", "load"},
                                       {"numpy", "load"},
                                       {"webbrowser", "open"},
                                       {"ctypes", "CDLL"}}) {
      bad.push_back(proto() + global(module, name) + "(" + text("id") + "tR.");
    }
    // Instructions that the machine does not have, and those that find nothing to work on.
    for (const char* opcodes :
         {"\x93", "\x94", "\x95",     "\x8c", "\x92",  "\x82",  "i",    "o",    "P",   "I",
          "L",    "S",    "V",        "T",    "0",     "2",     "R",    "b",    "s",   "u",
          "e",    "a",    "t",        "Q",    "q\x01", "h\x01", "\x85", "\x81", "(",   "X",
          "G",    "c",    "\x8a\x7f", "NN.",  ".",     "N.",    ")R.",  "]].",  "\xfe"}) {
      bad.push_back(proto() + opcodes);
    }
    bad.push_back("\x80\x04" + state_dict({{"w", {}}}).substr(2));
    bad.push_back(std::string(1000000, '('));
    for (TensorText tensor :
         std::vector<TensorText>{{.key = "1"},
                                 {.storage = "DoubleStorage"},
                                 {.storage = "ComplexStorage"},
                                 {.elements = 3},
                                 {.elements = 5},
                                 {.elements = -4},
                                 {.elements = std::numeric_limits<std::int64_t>::max()},
                                 {.offset = 1},
                                 {.offset = -1},
                                 {.offset = std::numeric_limits<std::int64_t>::max()},
                                 {.shape = {5}},
                                 {.shape = {-1}},
                                 {.shape = {1, 4}},
                                 {.shape = {1 << 30, 1 << 30, 1 << 30}, .strides = {0, 0, 0}},
                                 {.strides = {2}},
                                 {.strides = {-1}},
                                 {.strides = {std::numeric_limits<std::int64_t>::max()}}}) {
      for (const bool legacy : {false, true}) {
        tensor.legacy = legacy;
        bad.push_back(state_dict({{"w", tensor}}));
      }
    }
    bad.push_back(state_dict({{"w", {}}, {"w", {}}}));
    return bad;
  }

  const std::filesystem::path& model_;
  const OnMalformed& on_file_;
  MalformedFile file_;
};

}  // namespace

void for_each_malformed(const std::filesystem::path& model, const OnMalformed& on_file) {
  Maker maker(model, on_file);
  maker.safetensors();
  maker.zip();
  maker.legacy();
  maker.index();
  maker.config();
  maker.tokenizer();
}

MalformedFile good_file(const std::filesystem::path& model, const std::string& kind) {
  if (kind == "config") return {kind, "none", "config.json", base::read_file(model / "config.json")};
  if (kind == "tokenizer") return {kind, "none", "tokenizer.json", base::read_file(model / "tokenizer.json")};
  const std::string weights = base::read_file(model / "model.safetensors");
  if (kind == "safetensors") return {kind, "none", "model.safetensors", weights};
  const auto content = formats::parse_safetensors(std::as_bytes(std::span(weights)), "model.safetensors");
  if (kind == "index") {
    json::object map;
    for (const auto& [name, view] : content.tensors) map[name] = kShard;
    return {kind, "none", "model.safetensors.index.json",
            json::serialize(json::object{{"metadata", {{"total_size", 1}}}, {"weight_map", map}})};
  }
  std::vector<std::pair<std::string, torch::TensorText>> tensors;
  torch::Storages storages;
  for (const auto& [name, view] : content.tensors) {
    torch::TensorText tensor{.key = std::to_string(storages.size()), .legacy = kind == "legacy"};
    tensor.elements = static_cast<std::int64_t>(view.elements());
    tensor.shape = view.shape;
    tensor.strides.assign(view.shape.size(), 1);
    for (std::size_t d = view.shape.size(); d-- > 1;)
      tensor.strides[d - 1] = tensor.strides[d] * view.shape[d];
    storages.push_back({tensor.key, {reinterpret_cast<const char*>(view.data), view.bytes()}});
    tensors.push_back({name, std::move(tensor)});
  }
  const std::string pickle = torch::state_dict(tensors);
  return {kind, "none", "pytorch_model.bin",
          kind == "zip" ? torch::zip_file(pickle, storages) : torch::legacy_file(pickle, storages)};
}

void write_malformed(const std::filesystem::path& model, const MalformedFile& file,
                     const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const bool weights = file.kind != "config" && file.kind != "tokenizer";
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}) {
    const bool is_weights = std::string_view(name) == "model.safetensors";
    if (name == file.name || (weights && is_weights && file.kind != "index")) continue;
    const bool shard = is_weights && file.kind == "index";
    std::filesystem::create_symlink(std::filesystem::absolute(model / name),
                                    folder / (shard ? kShard : name));
  }
  std::ofstream out(folder / file.name, std::ios::binary);
  out << file.bytes;
}

}  // namespace kvasir::tests
