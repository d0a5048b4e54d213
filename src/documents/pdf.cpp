// PDF through pdftotext (Poppler), a process of its own: a hostile file can take neither our memory nor our
// time.
#include "documents/encoding.h"
#include "documents/formats.h"
#include "documents/process.h"
#include "documents/text_builder.h"

namespace kvasir::documents {

namespace {

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

std::string run_pdftotext(std::string_view bytes, const ConvertOptions& options) {
  const auto fail = [&](ErrorCode code, const std::string& what) {
    throw Error(code, options.name + ": " + what);
  };
  FilterResult result = run_filter({.command = {options.pdftotext, "-enc", "UTF-8", "-eol", "unix", "-", "-"},
                                    .input = bytes,
                                    .max_output = options.max_text_bytes,
                                    .max_memory = options.max_memory_bytes,
                                    .timeout_seconds = options.timeout_seconds,
                                    .cancel = options.cancel});
  switch (result.end) {
    case FilterResult::End::kNotFound:
      fail(ErrorCode::kUnsupported, "is a PDF, and the program " + options.pdftotext +
                                        " is missing; install it (Debian: poppler-utils)");
      break;
    case FilterResult::End::kTimeout:
      fail(ErrorCode::kResourceExhausted,
           "pdftotext was stopped after " + std::to_string(options.timeout_seconds) + " s");
      break;
    case FilterResult::End::kTooMuchOutput:
      fail(ErrorCode::kResourceExhausted,
           "has more than " + std::to_string(options.max_text_bytes >> 20) + " MiB of text; split it");
      break;
    case FilterResult::End::kKilled:
      fail(ErrorCode::kFormat, "pdftotext crashed on it (signal " + std::to_string(result.code) + ")");
      break;
    case FilterResult::End::kCancelled:
      fail(ErrorCode::kCancelled, "cancelled");
      break;
    case FilterResult::End::kExited:
      break;
  }
  if (result.errors.find("Incorrect password") != std::string::npos) {
    fail(ErrorCode::kFormat, "encrypted; save it without a password first");
  }
  if (result.code != 0) {
    fail(ErrorCode::kFormat,
         "broken PDF: " + (result.errors.empty() ? "pdftotext failed" : first_line(result.errors)));
  }
  return std::move(result.output);
}

}  // namespace

ConvertedText convert_pdf(std::string_view bytes, const ConvertOptions& options) {
  const std::string text = decode_lenient(run_pdftotext(bytes, options), "UTF-8");
  if (text.find_first_not_of(" \t\r\n\f") == std::string::npos) {
    throw Error(ErrorCode::kFormat,
                options.name + ": there is no text in this PDF (scanned pages need OCR first)");
  }
  TextBuilder out(options, Location::Unit::kPage);
  std::size_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\f'), rest.size());  // a page ends with a form feed
    std::string_view page = rest.substr(0, end);
    const std::size_t last = page.find_last_not_of(" \t\r\n");
    page = page.substr(0, last == std::string_view::npos ? 0 : last + 1);
    out.block();
    out.mark(++number);
    out.verbatim(page);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::move(out).finish("pdf");
}

}  // namespace kvasir::documents
