// One function per file format, and the recognition of formats.
#pragma once

#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

enum class Format { kText, kMarkdown, kHtml, kPdf, kDocx, kPptx, kXlsx, kOdt, kEpub, kEmail };

// Recognises a format by the first bytes, for ZIP-based formats by the archive's table, otherwise by the
// name's extension. Throws kUnsupported for known formats that cannot be read (with advice), kInvalidArgument
// for binary files of unknown kinds, kFormat for a broken archive.
Format recognize(std::string_view bytes, const ConvertOptions& options);

// Checks the beginning of a file: throws as recognize() for files that will be refused whatever follows.
void check_beginning(std::string_view bytes, const ConvertOptions& options);

// Each throws as convert().
ConvertedText convert_text(std::string bytes, const ConvertOptions& options);
ConvertedText convert_markdown(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_html(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_pdf(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_docx(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_pptx(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_xlsx(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_odt(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_epub(std::string_view bytes, const ConvertOptions& options);
ConvertedText convert_email(std::string_view bytes, const ConvertOptions& options);

}  // namespace kvasir::documents
