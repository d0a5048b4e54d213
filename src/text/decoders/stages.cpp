#include "text/decoders/stages.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace kvasir::text {

namespace {

class Stage : public TokenStage {
 public:
  explicit Stage(NextStage next) : next_(std::move(next)) {}
  void finish() override {
    flush();
    next_->finish();
  }

 protected:
  virtual void flush() {}
  void give(std::string_view piece, bool ends_token) { next_->push(piece, ends_token); }

 private:
  NextStage next_;
};

// Puts the pieces of a token together.
class WholeTokenStage : public Stage {
 public:
  using Stage::Stage;
  void push(std::string_view piece, bool ends_token) final {
    token_ += piece;
    if (ends_token) take(std::exchange(token_, {}));
  }

 protected:
  virtual void take(std::string token) = 0;

 private:
  std::string token_;
};

class EachStage : public WholeTokenStage {
 public:
  EachStage(TokenTransform transform, NextStage next)
      : WholeTokenStage(std::move(next)), transform_(std::move(transform)) {}

 private:
  void take(std::string token) override {
    if (const auto out = transform_(std::move(token), index_++)) give(*out, true);
  }

  TokenTransform transform_;
  std::size_t index_ = 0;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

class WordSuffixStage : public WholeTokenStage {
 public:
  WordSuffixStage(std::string suffix, NextStage next)
      : WholeTokenStage(std::move(next)), suffix_(std::move(suffix)) {}

 private:
  void give_held(std::string_view to) {
    if (!held_) return;
    replace_all(*held_, suffix_, to);
    give(*held_, true);
    held_.reset();
  }
  void take(std::string token) override {
    give_held(" ");
    if (token.find(suffix_) == std::string::npos) {
      give(token, true);
    } else {
      held_ = std::move(token);
    }
  }
  void flush() override { give_held(""); }

  std::string suffix_;
  std::optional<std::string> held_;
};

// How many bytes at the end may be the beginning of a character.
std::size_t unfinished_bytes(std::string_view bytes) noexcept {
  for (std::size_t count = 1; count <= 3 && count <= bytes.size(); ++count) {
    const std::string_view end = bytes.substr(bytes.size() - count);
    const auto first = static_cast<unsigned char>(end[0]);
    if ((first & 0xC0) == 0x80) continue;
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
    if (count >= length || first > 0xF4) return 0;
    if (count == 1) return 1;
    // After these first bytes not every second one is allowed (RFC 3629).
    const auto second = static_cast<unsigned char>(end[1]);
    const unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high ? count : 0;
  }
  return 0;
}

class BytesStage : public WholeTokenStage {
 public:
  BytesStage(std::function<std::string(std::string)> to_bytes, NextStage next)
      : WholeTokenStage(std::move(next)), to_bytes_(std::move(to_bytes)) {}

 private:
  void take(std::string token) override {
    bytes_ += to_bytes_(std::move(token));
    const std::size_t final = bytes_.size() - unfinished_bytes(bytes_);
    if (final == 0) return;
    give(base::replace_invalid_utf8(std::string_view(bytes_).substr(0, final)), false);
    bytes_.erase(0, final);
  }
  void flush() override { give(base::replace_invalid_utf8(bytes_), true); }

  std::function<std::string(std::string)> to_bytes_;
  std::string bytes_;
};

class ByteRunsStage : public WholeTokenStage {
 public:
  ByteRunsStage(std::function<std::optional<char>(std::string_view)> to_byte, NextStage next)
      : WholeTokenStage(std::move(next)), to_byte_(std::move(to_byte)) {}

 private:
  void take(std::string token) override {
    if (const auto byte = to_byte_(token)) {
      run_ += *byte;
    } else {
      flush();
      give(token, true);
    }
  }
  void flush() override {
    if (run_.empty()) return;
    if (base::find_invalid_utf8(run_) == run_.size()) {
      give(run_, true);
    } else {
      for (std::size_t i = 0; i < run_.size(); ++i) give("\uFFFD", true);
    }
    run_.clear();
  }

  std::function<std::optional<char>(std::string_view)> to_byte_;
  std::string run_;
};

class FuseStage : public Stage {
 public:
  using Stage::Stage;
  void push(std::string_view piece, bool) override { give(piece, false); }

 private:
  void flush() override { give("", true); }
};

class StripStage : public Stage {
 public:
  StripStage(StripOptions options, NextStage next) : Stage(std::move(next)), options_(std::move(options)) {}

  void push(std::string_view piece, bool ends_token) override {
    held_ += piece;
    strip_start(ends_token);
    if (ends_token) {
      for (std::size_t i = 0; i < options_.stop && held_.ends_with(options_.content); ++i) {
        held_.resize(held_.size() - options_.content.size());
      }
      give(std::exchange(held_, {}), true);
      stripped_ = 0;
      return;
    }
    if (stripped_ < options_.start) return;  // what is held may begin the next content to take away
    const std::size_t final = held_.size() - may_be_stripped();
    if (final == 0) return;
    give(std::string_view(held_).substr(0, final), false);
    held_.erase(0, final);
  }

 private:
  void strip_start(bool ends_token) {
    const std::string& content = options_.content;
    while (stripped_ < options_.start && held_.starts_with(content)) {
      held_.erase(0, content.size());
      ++stripped_;
    }
    const bool may_follow = !ends_token && held_.size() < content.size() && content.starts_with(held_);
    if (!may_follow) stripped_ = options_.start;
  }
  // The bytes at the end that go if the token ends soon: contents, and one that has only begun.
  std::size_t may_be_stripped() const {
    if (options_.stop == 0) return 0;
    const std::string_view text = held_, content = options_.content;
    std::size_t longest = 0;
    for (std::size_t begun = 0; begun < content.size() && begun <= text.size(); ++begun) {
      if (!text.ends_with(content.substr(0, begun))) continue;
      std::size_t bytes = begun;
      for (std::size_t i = 0; i < options_.stop && text.substr(0, text.size() - bytes).ends_with(content);
           ++i) {
        bytes += content.size();
      }
      longest = std::max(longest, bytes);
    }
    return longest;
  }

  StripOptions options_;
  std::string held_;
  std::size_t stripped_ = 0;  // from the start of this token
};

class ReplaceStage : public Stage {
 public:
  ReplaceStage(std::string from, std::string to, NextStage next)
      : Stage(std::move(next)), from_(std::move(from)), to_(std::move(to)) {}

  void push(std::string_view piece, bool ends_token) override {
    held_ += piece;
    std::string out;
    std::size_t done = 0;
    for (std::size_t at; (at = held_.find(from_, done)) != std::string::npos; done = at + from_.size()) {
      out.append(held_, done, at - done).append(to_);
    }
    const std::size_t keep = ends_token ? 0 : begun(std::string_view(held_).substr(done));
    out.append(held_, done, held_.size() - keep - done);
    held_.erase(0, held_.size() - keep);
    if (!out.empty() || ends_token) give(out, ends_token);
  }

 private:
  // How many bytes at the end may begin what is replaced.
  std::size_t begun(std::string_view text) const {
    for (std::size_t count = std::min(from_.size() - 1, text.size()); count > 0; --count) {
      if (text.ends_with(std::string_view(from_).substr(0, count))) return count;
    }
    return 0;
  }

  std::string from_, to_, held_;
};

}  // namespace

std::unique_ptr<TokenStage> make_each_stage(TokenTransform transform, NextStage next) {
  return std::make_unique<EachStage>(std::move(transform), std::move(next));
}
std::unique_ptr<TokenStage> make_word_suffix_stage(std::string suffix, NextStage next) {
  return std::make_unique<WordSuffixStage>(std::move(suffix), std::move(next));
}
std::unique_ptr<TokenStage> make_bytes_stage(std::function<std::string(std::string token)> to_bytes,
                                             NextStage next) {
  return std::make_unique<BytesStage>(std::move(to_bytes), std::move(next));
}
std::unique_ptr<TokenStage> make_byte_runs_stage(std::function<std::optional<char>(std::string_view)> to_byte,
                                                 NextStage next) {
  return std::make_unique<ByteRunsStage>(std::move(to_byte), std::move(next));
}
std::unique_ptr<TokenStage> make_fuse_stage(NextStage next) {
  return std::make_unique<FuseStage>(std::move(next));
}
std::unique_ptr<TokenStage> make_strip_stage(StripOptions options, NextStage next) {
  return std::make_unique<StripStage>(std::move(options), std::move(next));
}
std::unique_ptr<TokenStage> make_replace_stage(std::string from, std::string to, NextStage next) {
  return std::make_unique<ReplaceStage>(std::move(from), std::move(to), std::move(next));
}

}  // namespace kvasir::text
