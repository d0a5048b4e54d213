#include "text/stream_decoder.h"

#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::text {

namespace {

class TextStage : public TokenStage {
 public:
  explicit TextStage(std::string& out) : out_(out) {}
  void push(std::string_view piece, bool) override { out_ += piece; }
  void finish() override {}

 private:
  std::string& out_;
};

// The text is one token for the clean-up: what it replaces may lie across two of them.
class JoinStage : public TokenStage {
 public:
  explicit JoinStage(std::unique_ptr<TokenStage> next) : next_(std::move(next)) {}
  void push(std::string_view piece, bool) override { next_->push(piece, false); }
  void finish() override {
    next_->push("", true);
    next_->finish();
  }

 private:
  std::unique_ptr<TokenStage> next_;
};

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, const Tokenizer::DecodeOptions& options)
    : tokenizer_(tokenizer), options_(options), text_(std::make_unique<std::string>()) {
  stage_ = std::make_unique<TextStage>(*text_);
  if (options_.clean_up_tokenization_spaces) {
    stage_ = std::make_unique<JoinStage>(make_clean_up_stage(std::move(stage_)));
  }
  stage_ = tokenizer_.decoder().stage(std::move(stage_));
}

std::string StreamDecoder::push(std::int32_t id) {
  if (const auto token = tokenizer_.decoded_token(id, options_)) stage_->push(*token, true);
  return std::exchange(*text_, {});
}

std::string StreamDecoder::finish() {
  stage_->finish();
  return std::exchange(*text_, {});
}

StopStrings::StopStrings(const std::vector<std::string>& strings) : nodes_(1) {
  constexpr std::size_t kMaxNodes = 65'536;  // far more than needed in practice; some 100 bytes each
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const std::string which = "stop string " + std::to_string(i + 1);
    if (strings[i].empty()) throw Error(ErrorCode::kInvalidArgument, which + " is empty");
    if (base::find_invalid_utf8(strings[i]) != strings[i].size()) {
      throw Error(ErrorCode::kInvalidArgument, which + " is not UTF-8");
    }
    if (nodes_.size() + strings[i].size() > kMaxNodes) {
      throw Error(ErrorCode::kInvalidArgument, which + ": the stop strings have more than 64 KiB in all");
    }
    std::size_t at = 0;
    for (const char c : strings[i]) {
      const auto [child, is_new] = nodes_[at].children.try_emplace(c, nodes_.size());
      const std::size_t length = nodes_[at].length + 1;
      at = child->second;
      if (is_new) nodes_.emplace_back().length = length;
    }
    nodes_[at].match = strings[i].size();
  }
  link();
}

void StopStrings::link() {
  std::vector<std::size_t> queue = {0};
  for (std::size_t next = 0; next < queue.size(); ++next) {
    const std::size_t at = queue[next];
    for (const auto& [c, child] : nodes_[at].children) {
      Node& node = nodes_[child];
      node.fallback = at == 0 ? 0 : follow(nodes_[at].fallback, c);
      if (node.match == 0) node.match = nodes_[node.fallback].match;
      queue.push_back(child);
    }
  }
}

std::size_t StopStrings::follow(std::size_t node, char c) const {
  for (;;) {
    const auto child = nodes_[node].children.find(c);
    if (child != nodes_[node].children.end()) return child->second;
    if (node == 0) return 0;
    node = nodes_[node].fallback;
  }
}

std::string StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  for (std::size_t i = 0; i < text.size(); ++i) {
    node_ = follow(node_, text[i]);
    const std::size_t match = nodes_[node_].match;
    if (match == 0) continue;
    held_.append(text, 0, i + 1);
    matched_ = held_.substr(held_.size() - match);
    held_.resize(held_.size() - match);
    stopped_ = true;
    return std::exchange(held_, {});
  }
  held_ += text;
  const std::size_t final = held_.size() - nodes_[node_].length;
  std::string out = held_.substr(0, final);
  held_.erase(0, final);
  return out;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace kvasir::text
