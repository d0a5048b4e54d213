// A result as people and as machines read it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kvasir/generative_reader.h"
#include "terminal.h"
#include "text_source.h"

namespace kvasir::cli {

// Where a result came from.
struct Asked {
  std::string_view question;
  Decode decode = Decode::kKvasir;
  std::span<const Document> documents;
  std::span<const TextSource> sources;  // the texts have moved into the documents
};

// {"question":…,"answers":[{"answer":…,"score":…,"start":…,"end":…,"file":…}],"no_answer_score":…,"windows":…}\n
// start and end count code points of the text; file is null for --context, "-" for standard input. An answer
// from a converted file also has "location":"page 3".
void append_json_result(std::string& out, const Asked& asked, const AskResult& result);

// {"question":…,"answer":…,"known":…,"sentences":[{"text":…,"citations":[1],"supported":true}],
//  "passages":[{"text":…,"start":…,"end":…,"file":…}]}\n
void append_json_answer(std::string& out, const Asked& asked, const WrittenAnswer& answer);

// The answers with their confidence, the sentences around them, file and line.
struct ViewOptions {
  Style style;
  std::size_t width = 0;  // columns to wrap at; 0 = not at all
};
void append_human_answer(std::string& out, const Asked& asked, const WrittenAnswer& answer,
                         const ViewOptions& options);
void append_human_result(std::string& out, const Asked& asked, const AskResult& result,
                         const ViewOptions& options);

}  // namespace kvasir::cli
