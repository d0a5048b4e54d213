// Restricts the next tokens of a sequence, for outputs of a given form.
#pragma once

#include <cstdint>
#include <span>

namespace kvasir::generation {

class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  // Whether the token may come next.
  virtual bool allows(std::int32_t id) const = 0;
  // Sets the logits of all tokens that may not come next to -inf. At least one may.
  virtual void mask(std::span<float> logits) const = 0;
  // The token has been chosen. Precondition: allows(id).
  virtual void accept(std::int32_t id) = 0;
};

}  // namespace kvasir::generation
