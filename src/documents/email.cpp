// E-mail (RFC 5322 and MIME) through GMime: the headers that people read, the text of the message and of the
// messages that it forwards, and the names of attachments.
#include <gmime/gmime.h>

#include <memory>
#include <mutex>

#include "documents/encoding.h"
#include "documents/formats.h"
#include "documents/html.h"

namespace kvasir::documents {

namespace {

constexpr int kMaxNesting = 64;

struct Unref {
  template <class T>
  void operator()(T* object) const noexcept {
    if (object != nullptr) g_object_unref(object);
  }
};
struct Free {
  void operator()(char* text) const noexcept { g_free(text); }
};
template <class T>
using Owned = std::unique_ptr<T, Unref>;

class Walker {
 public:
  Walker(const ConvertOptions& options, TextBuilder& out) : options_(options), out_(out) {}

  void message(GMimeMessage* message, int depth) {
    const char* subject = g_mime_message_get_subject(message);
    out_.block();
    out_.mark(++messages_, subject == nullptr ? "" : decode_lenient(subject, "UTF-8"));
    header("Subject", subject);
    addresses("From", g_mime_message_get_from(message));
    addresses("To", g_mime_message_get_to(message));
    addresses("Cc", g_mime_message_get_cc(message));
    header("Date", g_mime_object_get_header(GMIME_OBJECT(message), "Date"));
    out_.block();
    if (GMimeObject* body = g_mime_message_get_mime_part(message)) part(body, depth + 1);
  }

 private:
  void header(const char* name, const char* value) {
    if (value == nullptr || *value == '\0') return;
    out_.line_break();
    out_.inline_text(std::string(name) + ": " + decode_lenient(value, "UTF-8"));
  }
  void addresses(const char* name, InternetAddressList* list) {
    if (list == nullptr || internet_address_list_length(list) == 0) return;
    const std::unique_ptr<char, Free> text(internet_address_list_to_string(list, nullptr, FALSE));
    header(name, text.get());
  }

  void part(GMimeObject* object, int depth) {
    if (depth > kMaxNesting) {
      throw Error(ErrorCode::kFormat,
                  options_.name + ": its parts are nested deeper than " + std::to_string(kMaxNesting));
    }
    if (GMIME_IS_MULTIPART(object)) {
      multipart(GMIME_MULTIPART(object), depth);
    } else if (GMIME_IS_MESSAGE_PART(object)) {
      if (GMimeMessage* inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object)))
        message(inner, depth + 1);
    } else if (GMIME_IS_PART(object)) {
      leaf(GMIME_PART(object));
    }
  }

  void multipart(GMimeMultipart* parts, int depth) {
    const int count = g_mime_multipart_get_count(parts);
    GMimeContentType* type = g_mime_object_get_content_type(GMIME_OBJECT(parts));
    if (g_mime_content_type_is_type(type, "multipart", "alternative")) {
      // The same text several times: the plainest that has one, by the standard the first.
      for (int i = 0; i < count; ++i) {
        const std::size_t before = out_.size();
        part(g_mime_multipart_get_part(parts, i), depth + 1);
        if (out_.size() > before) return;
      }
      return;
    }
    for (int i = 0; i < count; ++i) part(g_mime_multipart_get_part(parts, i), depth + 1);
  }

  void leaf(GMimePart* leaf) {
    GMimeContentType* type = g_mime_object_get_content_type(GMIME_OBJECT(leaf));
    const char* file = g_mime_part_get_filename(leaf);
    const bool attached = g_mime_part_is_attachment(leaf) != FALSE;
    const bool html = g_mime_content_type_is_type(type, "text", "html") != FALSE;
    if (attached || !g_mime_content_type_is_type(type, "text", "*")) {
      if (file != nullptr) {
        out_.block();
        header("Attachment", file);
      }
      return;
    }
    const char* charset = g_mime_content_type_get_parameter(type, "charset");
    const std::string text = decode_lenient(content(leaf), charset == nullptr ? "UTF-8" : charset);
    out_.block();
    if (html) {
      append_html(text, 0, options_, out_);
    } else {
      lines(text);
    }
  }

  // The content without its transfer encoding.
  std::string content(GMimePart* leaf) const {
    GMimeDataWrapper* data = g_mime_part_get_content(leaf);
    if (data == nullptr) return "";
    const Owned<GMimeStream> stream(g_mime_stream_mem_new());
    g_mime_data_wrapper_write_to_stream(data, stream.get());
    const GByteArray* bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream.get()));
    return std::string(reinterpret_cast<const char*>(bytes->data), bytes->len);
  }

  void lines(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.find_first_not_of(" \t") == std::string_view::npos) {
        out_.block();
      } else {
        out_.line_break();
        out_.verbatim(line);
      }
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  const ConvertOptions& options_;
  TextBuilder& out_;
  std::size_t messages_ = 0;
};

}  // namespace

ConvertedText convert_email(std::string_view bytes, const ConvertOptions& options) {
  static std::once_flag once;
  std::call_once(once, [] { g_mime_init(); });
  const Owned<GMimeStream> stream(g_mime_stream_mem_new_with_buffer(bytes.data(), bytes.size()));
  const Owned<GMimeParser> parser(g_mime_parser_new_with_stream(stream.get()));
  const Owned<GMimeMessage> message(g_mime_parser_construct_message(parser.get(), nullptr));
  if (message == nullptr) throw Error(ErrorCode::kFormat, options.name + ": not an e-mail message");
  TextBuilder out(options, Location::Unit::kMessage);
  Walker(options, out).message(message.get(), 0);
  return std::move(out).finish("email");
}

}  // namespace kvasir::documents
