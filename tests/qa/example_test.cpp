// The examples in the heads of the public headers, as they stand there, on the default model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <sstream>

#include "kvasir/error.h"
#include "kvasir/reader.h"
#include "test_isa.h"

namespace {

const std::string kModel = KVASIR_SOURCE_DIR "/models/kvasir-base";

class Examples : public testing::Test {
 protected:
  void SetUp() override {
    // One instruction set is enough for what a compiler checks; the scalar one would take seconds.
    if (kvasir::tests::test_isa() != kvasir::base::best_isa()) GTEST_SKIP();
    old_ = std::cout.rdbuf(out_.rdbuf());
  }
  void TearDown() override {
    if (old_ != nullptr) std::cout.rdbuf(old_);
  }

  std::ostringstream out_;
  std::streambuf* old_ = nullptr;
};

TEST_F(Examples, Reader) {
  auto reader = kvasir::Reader::load(kModel);
  auto document = reader.prepare("The treaty was signed in Lund in 1676.", "treaty.txt");
  auto result = reader.ask("Where was the treaty signed?", document);
  std::cout << result.answers.at(0).text << '\n';  // Lund
  EXPECT_EQ(out_.str(), "Lund\n");
}

TEST_F(Examples, AskOptions) {
  auto reader = kvasir::Reader::load(kModel);
  auto document = reader.prepare("The treaty was signed by the king of Sweden and the king of Denmark.");
  kvasir::AskOptions options;
  options.top_k = 3;
  options.handle_impossible_answer = true;
  auto result = reader.ask("Who signed it?", document, options);
  EXPECT_EQ(result.answers.size(), 3U);
}

TEST_F(Examples, AskBatch) {
  auto reader = kvasir::Reader::load(kModel);
  auto document = reader.prepare("The treaty was signed in Lund in 1676.");
  std::vector<kvasir::Query> queries = {{"Where was it signed?", {document}}, {"When?", {document}}};
  auto results = reader.ask_batch(queries, {}, [](std::size_t query, const kvasir::AskResult& result) {
    std::cout << query << ": " << result.answers.at(0).text << '\n';
  });
  EXPECT_EQ(out_.str(), "0: Lund\n1: 1676\n");
}

int error_example() {
  try {
    auto reader = kvasir::Reader::load("models/my-reader");
  } catch (const kvasir::Error& error) {
    std::cout << error.what() << '\n';
    return error.code() == kvasir::ErrorCode::kNotFound ? 2 : 1;
  }
  return 0;
}

TEST_F(Examples, Error) {
  EXPECT_EQ(error_example(), 2);
  EXPECT_THAT(out_.str(), testing::HasSubstr("models/my-reader"));
}

}  // namespace
