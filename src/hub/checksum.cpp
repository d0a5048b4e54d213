#include "hub/checksum.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/mapped_file.h"
#include "kvasir/error.h"

namespace kvasir::hub {

namespace {

constexpr std::size_t kSha1Digits = 40, kSha256Digits = 64;

}  // namespace

bool is_checksum(std::string_view etag) noexcept {
  return (etag.size() == kSha1Digits || etag.size() == kSha256Digits) &&
         std::ranges::all_of(etag, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string checksum_of_file(const std::filesystem::path& path, std::string_view etag) {
  const base::MappedFile file(path);
  const bool git = etag.size() == kSha1Digits;
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const auto check = [](int ok) {
    if (ok != 1) throw Error(ErrorCode::kInternal, "checksum: the cryptographic library failed");
  };
  check(context == nullptr ? 0 : EVP_DigestInit_ex(context.get(), git ? EVP_sha1() : EVP_sha256(), nullptr));
  if (git) {
    const std::string header = "blob " + std::to_string(file.bytes().size());
    check(EVP_DigestUpdate(context.get(), header.c_str(), header.size() + 1));  // with the NUL
  }
  check(EVP_DigestUpdate(context.get(), file.bytes().data(), file.bytes().size()));
  check(EVP_DigestFinal_ex(context.get(), digest.data(), &size));
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

}  // namespace kvasir::hub
