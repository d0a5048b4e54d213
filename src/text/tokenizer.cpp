#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "kvasir/error.h"
#include "text/bert_scanner.h"
#include "text/pipeline.h"
#include "text/token_sink.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_json.h"

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

// [CLS] $A [SEP], and [CLS] $A [SEP] $B:1 [SEP]:1.
PostProcessor bert_template(const SpecialIds& ids, const std::string& origin) {
  if (!ids.cls || !ids.sep) {
    throw Error(ErrorCode::kFormat, origin + ": cls_token and sep_token are needed for the template");
  }
  const TemplatePart cls{.ids = {*ids.cls}}, sep{.ids = {*ids.sep}};
  const TemplatePart end{.ids = {*ids.sep}, .type_id = 1};
  const TemplatePart first{.sequence = 0}, second{.sequence = 1, .type_id = 1};
  return {{cls, first, sep}, {cls, first, sep, second, end}};
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerParts parts;
  SpecialIds special_ids;
  std::size_t model_max_length = 0;
  std::vector<std::string> model_input_names;
  // Set if the parts are BERT's, which it then does in one pass.
  std::optional<BertScanner> scanner;

  void tokenize(std::string_view text, TokenizedText& out) const;
  void choose_scanner();
};

void Tokenizer::Impl::tokenize(std::string_view text, TokenizedText& out) const {
  if (text.size() > kMaxText) {
    throw Error(ErrorCode::kResourceExhausted, "the text has " + std::to_string(text.size()) +
                                                   " bytes, more than the limit of 1 GiB; split it");
  }
  TokenSink sink(out, text.size());
  parts.added_tokens.split(text, AddedTokens::Pass::kRaw, [&](const AddedTokens::Part& part) {
    const Piece& piece = part.piece;
    if (part.id != kNoToken) {
      sink.next_word();
      sink.add(part.id, {static_cast<std::uint32_t>(piece.begin), static_cast<std::uint32_t>(piece.end)});
    } else if (scanner) {
      scanner->tokenize(text, piece, sink);
    } else {
      tokenize_by_parts(parts, text, piece, sink);
    }
  });
}

// The scanner serves where the parts are BERT's, unless an added token has to be sought in the normalised
// text, which it does not make.
void Tokenizer::Impl::choose_scanner() {
  const auto* normalizer = dynamic_cast<const BertNormalizer*>(parts.normalizer.get());
  const auto* model = dynamic_cast<const WordPiece*>(parts.model.get());
  const bool bert_words = parts.pre_tokenizer != nullptr && parts.pre_tokenizer->is_bert();
  if (normalizer != nullptr && model != nullptr && bert_words &&
      !parts.added_tokens.has(AddedTokens::Pass::kNormalized)) {
    scanner.emplace(normalizer->options(), *model);
  }
}

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const fs::path json = folder / "tokenizer.json", vocabulary = folder / "vocab.txt";
  std::error_code ignored;
  const bool has_json = fs::exists(json, ignored);
  if (!has_json && !fs::exists(vocabulary, ignored)) {
    throw Error(ErrorCode::kNotFound, folder.string() + (fs::is_directory(folder, ignored)
                                                             ? ": holds neither tokenizer.json nor vocab.txt"
                                                             : ": no such folder"));
  }
  const TokenizerConfig config = load_tokenizer_config(folder, has_json ? "" : "BertTokenizer");
  auto impl = std::make_shared<Impl>();
  impl->parts = has_json ? load_tokenizer_json(json) : load_vocab_txt(vocabulary, config);
  apply_tokenizer_config(config, impl->parts, folder.string());
  impl->special_ids = find_special_ids(impl->parts, config);
  if (!has_json) impl->parts.post_processor = bert_template(impl->special_ids, folder.string());
  impl->model_max_length = config.model_max_length;
  impl->model_input_names = config.model_input_names;
  impl->choose_scanner();
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

std::size_t Tokenizer::pair_template_tokens() const noexcept {
  return impl_->parts.post_processor.pair_tokens();
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, const DecodeOptions& options) const {
  std::vector<std::string_view> tokens;
  for (const std::int32_t id : ids) {
    const AddedToken* added = impl_->parts.added_tokens.token(id);
    if (added == nullptr && !impl_->parts.model->vocabulary().contains(id)) continue;
    const std::string_view content = token(id);
    if (options.skip_special_tokens && impl_->parts.added_tokens.is_special(content)) continue;
    tokens.push_back(content);
  }
  std::string text = impl_->parts.decoder->decode(tokens);
  return options.clean_up_tokenization_spaces ? clean_up_spaces(std::move(text)) : text;
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

const SpecialIds& Tokenizer::special_ids() const noexcept {
  return impl_->special_ids;
}

std::size_t Tokenizer::model_max_length() const noexcept {
  return impl_->model_max_length;
}

const std::vector<std::string>& Tokenizer::model_input_names() const noexcept {
  return impl_->model_input_names;
}

bool Tokenizer::pad_left() const noexcept {
  return impl_->parts.pad_left.value_or(false);
}

}  // namespace kvasir::text
