// One function per file format, and how a format is recognised.
#pragma once

#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

enum class Format { kText, kMarkdown, kHtml, kPdf, kDocx, kPptx, kXlsx, kOdt, kEpub, kEmail };

// From the first bytes, for ZIP-based formats from the archive's table, else from the name's extension.
// Throws kUnsupported for formats that are known and not read (with advice), kInvalidArgument for binary
// files of unknown kinds, kFormat for a broken archive.
Format recognize(std::string_view bytes, const ConvertOptions& options);

// What can be told from the beginning alone: throws as recognize() for files that no reading of the rest
// would help.
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
