// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a file may become part of the policy: root vouches for it by owning it, or a key of the administrator's by a
// detached signature. What is checked is what is handed out: the file is read once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace pvsched {

using Bytes = std::vector<std::uint8_t>;

/// What is asked of a file.
struct TrustRules {
  std::string keys;  ///< folder of public keys, NAME.pem; one that is not there is an empty one
  bool signature_required = false;  ///< being root's is not enough
  bool operator==(const TrustRules&) const = default;
};

struct TrustedImage {
  Bytes image;
  std::string by;  ///< "owner", or "key NAME"
};

/// Reads a file, at most 1 MiB, that is trusted: by a signature in PATH.sig where that is there, and it must be good,
/// whoever owns the file; else, unless a signature is required, since the file and its folder are root's and nobody
/// else can write to them. Symbolic links are refused. A signature is 64 bytes, Ed25519 over the whole file. Errors:
/// the sentence why not.
Result<TrustedImage> read_trusted(const std::string& path, const TrustRules& rules);

/// One sentence for each file in the keys' folder that is not used, or for the folder.
std::vector<std::string> faults_of_keys(const std::string& folder);

}  // namespace pvsched
