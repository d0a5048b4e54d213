#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "kvasir/error.h"
#include "text/loading/gguf_vocabulary.h"
#include "text/loading/tokenizer_config.h"
#include "text/loading/tokenizer_json.h"
#include "text/loading/vocabulary_files.h"
#include "text/one_pass/bert_one_pass.h"
#include "text/pipeline.h"
#include "text/token_sink.h"

namespace kvasir::text {

namespace {

constexpr std::size_t kMaxText = std::size_t{1} << 30;  // ByteSpan has 32 bits

std::int32_t end_id(const TokenizerParts& parts) {
  const auto& added = parts.added_tokens.by_id();
  return std::max(parts.model->vocabulary().end_id(), added.empty() ? 0 : added.rbegin()->first + 1);
}

std::optional<std::int32_t> find_id(const TokenizerParts& parts, std::string_view token) {
  if (const auto id = parts.added_tokens.id(token)) return id;
  const std::int32_t id = parts.model->vocabulary().find(token);
  return id == kNoToken ? std::nullopt : std::optional(id);
}

SpecialIds find_special_ids(const TokenizerParts& parts, const TokenizerConfig& config) {
  // Without a configuration, the usual names are what there is to go by.
  const auto find = [&](SpecialRole role, std::string_view usual) {
    const auto& special = config.role(role);
    if (special) return find_id(parts, special->token.content);
    return config.tokenizer_class.empty() ? find_id(parts, usual) : std::nullopt;
  };
  return {.cls = find(SpecialRole::kCls, "[CLS]"),
          .sep = find(SpecialRole::kSep, "[SEP]"),
          .pad = find(SpecialRole::kPad, "[PAD]"),
          .unk = find(SpecialRole::kUnk, "[UNK]"),
          .mask = find(SpecialRole::kMask, "[MASK]")};
}

// Llama's class builds its tokenizer anew from the SentencePiece model if the configuration says anything
// about spaces before the text.
bool prefers_vocabulary_files(const TokenizerConfig& config) {
  return config.tokenizer_class == "LlamaTokenizer" && config.add_prefix_space.has_value();
}

[[noreturn]] void fail_without_files(const std::filesystem::path& folder, const TokenizerConfig& config) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    throw Error(ErrorCode::kNotFound, folder.string() + ": no such folder");
  }
  constexpr const char* kFiles[] = {"vocab.txt", "vocab.json",     "spiece.model", "sentencepiece.bpe.model",
                                    "spm.model", "tokenizer.model"};
  for (const char* file : kFiles) {
    if (!std::filesystem::exists(folder / file, ignored)) continue;
    const std::string name = config.tokenizer_class.empty() ? "that nothing names" : config.tokenizer_class;
    throw Error(ErrorCode::kUnsupported, (folder / file).string() + ": class " + name +
                                             " cannot be built from this file; the folder needs a "
                                             "tokenizer.json");
  }
  throw Error(ErrorCode::kNotFound,
              folder.string() +
                  ": holds neither tokenizer.json nor vocab.txt, vocab.json with merges.txt, or "
                  "a SentencePiece model");
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerParts parts;
  SpecialIds special_ids;
  std::size_t model_max_length = 0;
  bool clean_up_spaces = false;
  std::vector<std::string> model_input_names;
  // Set if the parts are BERT's, which it then does in one pass.
  std::optional<BertOnePass> one_pass;
  std::optional<OffsetTrimmer> trimmer;
  PipelineTraits traits;

  void tokenize(std::string_view text, TokenizedText& out) const;
  // What the parts, once they are there, allow.
  void prepare();
  void choose_one_pass();
  void scan(std::string_view text, Piece piece, TokenSink& sink) const;
};

void Tokenizer::Impl::tokenize(std::string_view text, TokenizedText& out) const {
  if (text.size() > kMaxText) {
    throw Error(ErrorCode::kResourceExhausted, "the text has " + std::to_string(text.size()) +
                                                   " bytes, more than the limit of 1 GiB; split it");
  }
  TokenSink sink(out, text, trimmer ? &*trimmer : nullptr);
  parts.added_tokens.split(text, AddedTokens::Pass::kRaw, [&](const AddedTokens::Part& part) {
    const Piece& piece = part.piece;
    if (part.id != kNoToken) {
      sink.add_added(part.id,
                     {static_cast<std::uint32_t>(piece.begin), static_cast<std::uint32_t>(piece.end)},
                     text.substr(piece.begin, piece.end - piece.begin));
    } else if (one_pass) {
      scan(text, piece, sink);
    } else {
      tokenize_by_slices(parts, traits, text, piece, sink);
    }
  });
}

void Tokenizer::Impl::prepare() {
  if (const auto& trimming = parts.post_processor.trimming(); trimming && trimming->trim_offsets) {
    trimmer.emplace(parts.model->vocabulary(), trimming->add_prefix_space);
  }
  traits = find_traits(parts);
  choose_one_pass();
}

void Tokenizer::Impl::choose_one_pass() {
  const auto* normalizer = dynamic_cast<const BertNormalizer*>(parts.normalizer.get());
  const auto* model = dynamic_cast<const WordPiece*>(parts.model.get());
  const bool bert_words = parts.pre_tokenizer != nullptr && parts.pre_tokenizer->is_bert();
  const bool sliceable = traits.is_sliceable || !parts.added_tokens.has(AddedTokens::Pass::kNormalized);
  if (normalizer != nullptr && model != nullptr && bert_words && sliceable) {
    one_pass.emplace(normalizer->options(), *model);
  }
}

// One pass makes no normalised text. Slices that might hold an added token that has to be sought there (as
// all of MPNet's, but a "<" is rare) go through the parts.
void Tokenizer::Impl::scan(std::string_view text, Piece piece, TokenSink& sink) const {
  if (!parts.added_tokens.has(AddedTokens::Pass::kNormalized)) {
    one_pass->tokenize(text, piece, sink);
    return;
  }
  constexpr std::size_t kSlice = 512;  // little is lost to the slow way around a "<"
  for (std::size_t begin = piece.begin; begin < piece.end;) {
    const std::size_t end = end_of_slice(text, {begin, piece.end}, kSlice);
    if (parts.added_tokens.may_begin_in(text.substr(begin, end - begin))) {
      tokenize_by_parts(parts, text, {begin, end}, sink);
    } else {
      one_pass->tokenize(text, {begin, end}, sink);
    }
    begin = end;
  }
}

Tokenizer Tokenizer::load(const formats::ModelFolder& folder) {
  const bool has_json = folder.has("tokenizer.json"), has_vocab_txt = folder.has("vocab.txt");
  const TokenizerConfig config =
      load_tokenizer_config(folder, has_json || !has_vocab_txt ? "" : "BertTokenizer");
  const VocabularyKind kind = vocabulary_kind(config);
  auto files = find_vocabulary_files(folder.path(), kind);
  if (has_json && !prefers_vocabulary_files(config)) files.reset();
  if (!has_json && !files) fail_without_files(folder.path(), config);

  auto impl = std::make_shared<Impl>();
  impl->parts =
      files ? load_vocabulary_files(*files, kind, config) : load_tokenizer_json(folder / "tokenizer.json");
  apply_tokenizer_config(config, files ? PartsFrom::kVocabularyFiles : PartsFrom::kTokenizerJson, impl->parts,
                         folder.path().string());
  if (files) impl->parts.post_processor = make_class_template(config, impl->parts, folder.path().string());
  impl->special_ids = find_special_ids(impl->parts, config);
  impl->clean_up_spaces = config.clean_up_tokenization_spaces;
  impl->model_max_length = config.model_max_length;
  impl->model_input_names = config.model_input_names;
  impl->prepare();
  return Tokenizer(std::move(impl));
}

Tokenizer Tokenizer::from_gguf(const GgufVocabulary& vocabulary, const std::string& origin) {
  auto impl = std::make_shared<Impl>();
  impl->parts = make_gguf_parts(vocabulary, origin);
  impl->special_ids = {.cls = vocabulary.cls,
                       .sep = vocabulary.sep,
                       .pad = vocabulary.pad,
                       .unk = vocabulary.unk,
                       .mask = vocabulary.mask};
  impl->model_max_length = SIZE_MAX;
  impl->model_input_names = {"input_ids", "attention_mask"};
  if (vocabulary.model == "bert") impl->model_input_names = {"input_ids", "token_type_ids", "attention_mask"};
  impl->prepare();
  return Tokenizer(std::move(impl));
}

TokenizedText Tokenizer::tokenize(std::string_view text) const {
  TokenizedText out;
  impl_->tokenize(text, out);
  return out;
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  const TokenizedText tokens = tokenize(text);
  return impl_->parts.post_processor.encode({&tokens, {0, tokens.size()}}, options.add_special_tokens);
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair, const EncodeOptions& options) const {
  const TokenizedText first = tokenize(text), second = tokenize(pair);
  return impl_->parts.post_processor.encode({&first, {0, first.size()}}, {&second, {0, second.size()}},
                                            options.add_special_tokens);
}

Encoding Tokenizer::join(const TokenizedText& first, ContextSlice first_slice, const TokenizedText& second,
                         ContextSlice second_slice) const {
  return impl_->parts.post_processor.encode({&first, first_slice}, {&second, second_slice}, true);
}

Encoding Tokenizer::join(const TokenizedText& text, ContextSlice slice) const {
  return impl_->parts.post_processor.encode({&text, slice}, true);
}

std::size_t Tokenizer::single_template_tokens() const noexcept {
  return impl_->parts.post_processor.single_tokens();
}

std::size_t Tokenizer::pair_template_tokens() const noexcept {
  return impl_->parts.post_processor.pair_tokens();
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, const DecodeOptions& options) const {
  std::vector<std::string> tokens;
  for (const std::int32_t id : ids) {
    if (const auto content = decoded_token(id, options)) tokens.emplace_back(*content);
  }
  std::string text = impl_->parts.decoder->decode(std::move(tokens));
  return options.clean_up_tokenization_spaces ? clean_up_spaces(std::move(text)) : text;
}

std::optional<std::string_view> Tokenizer::decoded_token(std::int32_t id,
                                                         const DecodeOptions& options) const {
  const AddedToken* added = impl_->parts.added_tokens.token(id);
  if (added == nullptr && !impl_->parts.model->vocabulary().contains(id)) return std::nullopt;
  const std::string_view content = token(id);
  if (options.skip_special_tokens && impl_->parts.added_tokens.is_special(content)) return std::nullopt;
  return content;
}

std::string Tokenizer::token_bytes(std::int32_t id) const {
  const auto token = decoded_token(id, {.skip_special_tokens = true});
  if (!token) return {};
  Decoder::MiddleToken middle{std::string(*token)};
  impl_->parts.decoder->decode_middle(middle);
  return std::move(middle.bytes);
}

const Decoder& Tokenizer::decoder() const noexcept {
  return *impl_->parts.decoder;
}

std::string_view Tokenizer::token(std::int32_t id) const {
  const AddedToken* added = impl_->parts.added_tokens.token(id);
  return added != nullptr ? std::string_view(added->content) : impl_->parts.model->vocabulary().token(id);
}

std::optional<std::int32_t> Tokenizer::token_id(std::string_view token) const {
  return find_id(impl_->parts, token);
}

std::size_t Tokenizer::vocab_size() const noexcept {
  return static_cast<std::size_t>(end_id(impl_->parts));
}

const std::map<std::int32_t, AddedToken>& Tokenizer::added_tokens() const noexcept {
  return impl_->parts.added_tokens.by_id();
}

const SpecialIds& Tokenizer::special_ids() const noexcept {
  return impl_->special_ids;
}

std::size_t Tokenizer::model_max_length() const noexcept {
  return impl_->model_max_length;
}

bool Tokenizer::makes_token_type_ids() const noexcept {
  return std::ranges::find(impl_->model_input_names, "token_type_ids") != impl_->model_input_names.end();
}

const std::vector<std::string>& Tokenizer::model_input_names() const noexcept {
  return impl_->model_input_names;
}

bool Tokenizer::cleans_up_tokenization_spaces() const noexcept {
  return impl_->clean_up_spaces;
}

bool Tokenizer::pad_left() const noexcept {
  return impl_->parts.pad_left.value_or(false);
}

}  // namespace kvasir::text
