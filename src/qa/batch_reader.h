// Questions over documents, cut into windows, run through the model in common batches, decoded as results
// arrive.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/reader.h"
#include "qa/reader_impl.h"

namespace kvasir::qa {

struct ReaderQuery {
  std::string_view question;
  std::vector<const PreparedText*> texts;
  std::string where;  // in front of error messages: "" or "query 3: "
};

// Reader::ask_batch. The texts must outlive the call. Windows are built when the model needs them, so apart
// from the results memory does not grow with the length of the documents or the number of queries.
std::vector<AskResult> read_batch(const LoadedReader& reader, std::span<const ReaderQuery> queries,
                                  const AskOptions& options, const Reader::OnResult& on_result);

}  // namespace kvasir::qa
