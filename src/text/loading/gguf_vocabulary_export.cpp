#include "text/loading/gguf_vocabulary_export.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "text/loading/gguf_vocabulary.h"
#include "text/loading/sentencepiece.h"
#include "text/loading/tokenizer_config.h"
#include "text/loading/tokenizer_json_parser.h"
#include "text/tokenizer.h"

namespace kvasir::text {

namespace {

namespace fs = std::filesystem;
using base::JsonObject;
using base::json::value;

bool is_byte_token(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with('>');
}

// Whether a part of a tokenizer.json, or one within it, is of the type.
const value* find_type(const value& part, std::string_view type) {
  if (const base::json::array* list = part.if_array()) {
    for (const value& each : *list) {
      if (const value* found = find_type(each, type)) return found;
    }
    return nullptr;
  }
  const base::json::object* json = part.if_object();
  if (json == nullptr) return nullptr;
  if (const value* own = json->if_contains("type"); own != nullptr && *own == value(type)) return &part;
  for (const char* key : {"normalizers", "pretokenizers"}) {
    if (const value* list = json->if_contains(key)) return find_type(*list, type);
  }
  return nullptr;
}

class Exporter {
 public:
  explicit Exporter(const formats::ModelFolder& folder) : folder_(folder) {}

  ExportedVocabulary run() {
    const Tokenizer tokenizer = Tokenizer::load(folder_);  // which also checks all that follows
    if (folder_.has("tokenizer.json")) {
      from_tokenizer_json(folder_ / "tokenizer.json");
    } else {
      from_sentencepiece(folder_ / "tokenizer.model");
    }
    add_more_tokens(tokenizer);
    set_special_tokens(tokenizer);
    return std::move(out_);
  }

 private:
  [[noreturn]] static void unsupported(const fs::path& path, const std::string& message) {
    throw Error(ErrorCode::kUnsupported, path.string() + ": " + message);
  }

  void set(std::int32_t id, std::string_view token, std::int32_t type) {
    const auto at = static_cast<std::size_t>(id);
    if (out_.tokens.size() <= at) {
      out_.tokens.resize(at + 1);
      out_.types.resize(at + 1, GgufVocabulary::kUnused);
    }
    out_.tokens[at] = token;
    out_.types[at] = type;
  }

  void from_tokenizer_json(const fs::path& path) {
    const std::string origin = path.string();
    TokenizerJson file = parse_tokenizer_document(base::read_file(path), origin);
    const JsonObject root(file.document, origin), model = root.object("model");
    const auto part = [&](const char* key) -> const value& {
      static const value null;
      return root.has(key) ? root.at(key) : null;
    };
    if (model.string_or("type", "BPE") != "BPE") {
      unsupported(path, "model: only BPE can be written to GGUF");
    }
    const Vocabulary vocabulary(std::move(file.vocabulary), Vocabulary::Repeated::kError, origin);
    for (std::int32_t id = 0; id < vocabulary.end_id(); ++id) {
      if (vocabulary.contains(id)) set(id, vocabulary.token(id), GgufVocabulary::kNormal);
    }
    if (find_type(part("pre_tokenizer"), "ByteLevel") != nullptr) {
      const auto pre = gguf_pre_tokenizer({.pre_tokenizer = part("pre_tokenizer"),
                                           .nfc = find_type(part("normalizer"), "NFC") != nullptr,
                                           .ignore_merges = model.boolean_or("ignore_merges", false)});
      if (!pre) unsupported(path, "pre_tokenizer: GGUF has no name for this one");
      out_.model = "gpt2";
      out_.pre = *pre;
      for (std::size_t i = 0; i < file.merges.size(); ++i) {
        out_.merges.push_back(std::string(file.merges.left(i)) + " " + std::string(file.merges.right(i)));
      }
    } else if (model.boolean_or("byte_fallback", false)) {
      out_.model = "llama";
      out_.pre = "default";
      scores_of(file.merges, vocabulary);
      const value* metaspace = find_type(part("pre_tokenizer"), "Metaspace");
      out_.add_space_prefix = find_type(part("normalizer"), "Prepend") != nullptr ||
                              (metaspace != nullptr && metaspace->as_object().contains("prepend_scheme") &&
                               metaspace->at("prepend_scheme") != "never");
    } else {
      unsupported(path, "model: GGUF has BPE of bytes, and BPE with bytes as fallback");
    }
  }

  // The first merge that leads to a token says how early it comes; those that none leads to come last.
  void scores_of(const MergeList& merges, const Vocabulary& vocabulary) {
    std::unordered_map<std::int32_t, std::size_t> first;
    for (std::size_t i = 0; i < merges.size(); ++i) {
      first.emplace(vocabulary.find(std::string(merges.left(i)).append(merges.right(i))), i);
    }
    out_.scores.assign(out_.tokens.size(), -static_cast<float>(merges.size()));
    for (const auto& [id, rank] : first) {
      if (id != kNoToken) out_.scores[static_cast<std::size_t>(id)] = -static_cast<float>(rank);
    }
    for (std::size_t id = 0; id < out_.tokens.size(); ++id) {
      if (is_byte_token(out_.tokens[id])) out_.types[id] = GgufVocabulary::kByte;
    }
  }

  void from_sentencepiece(const fs::path& path) {
    const std::string bytes = base::read_file(path);
    const SentencePieceModel model = parse_sentencepiece(bytes, path.string());
    out_.model = "llama";
    out_.pre = "default";
    for (const SentencePieceModel::Piece& piece : model.pieces) {
      set(static_cast<std::int32_t>(out_.tokens.size()), piece.text, piece.type);
      out_.scores.push_back(piece.score);
    }
    const TokenizerConfig config = load_tokenizer_config(folder_, "");
    out_.add_space_prefix = config.add_prefix_space.value_or(!config.add_prefix_space_is_null);
  }

  // Those that are cut out of texts, whether or not the vocabulary has them.
  void add_more_tokens(const Tokenizer& tokenizer) {
    for (const auto& [id, token] : tokenizer.added_tokens()) {
      set(id, token.content, token.special ? GgufVocabulary::kControl : GgufVocabulary::kUserDefined);
    }
    for (std::size_t id = 0; id < out_.tokens.size(); ++id) {
      if (out_.types[id] == GgufVocabulary::kUnused && out_.tokens[id].empty()) {
        out_.tokens[id] = "[PAD" + std::to_string(id) + "]";  // as llama.cpp's converter calls them
      }
    }
    if (out_.model == "llama") out_.scores.resize(out_.tokens.size());
  }

  void set_special_tokens(const Tokenizer& tokenizer) {
    const TokenizerConfig config = load_tokenizer_config(folder_, "");
    const auto id_of = [&](SpecialRole role) -> std::optional<std::int32_t> {
      const auto& special = config.role(role);
      return special ? tokenizer.token_id(special->token.content) : std::nullopt;
    };
    out_.bos = id_of(SpecialRole::kBos);
    out_.eos = id_of(SpecialRole::kEos);
    out_.unk = id_of(SpecialRole::kUnk);
    out_.pad = id_of(SpecialRole::kPad);
    if (out_.model == "llama" && out_.unk)
      out_.types[static_cast<std::size_t>(*out_.unk)] = GgufVocabulary::kUnknown;
    // What is put around a text is what is put around none.
    const std::vector<std::int32_t> around = tokenizer.encode("", {}).ids;
    out_.add_bos = out_.bos && !around.empty() && around.front() == *out_.bos;
    out_.add_eos = out_.eos && around.size() > (out_.add_bos ? 1 : 0) && around.back() == *out_.eos;
  }

  const formats::ModelFolder& folder_;
  ExportedVocabulary out_;
};

}  // namespace

ExportedVocabulary export_gguf_vocabulary(const formats::ModelFolder& folder) {
  return Exporter(folder).run();
}

}  // namespace kvasir::text
