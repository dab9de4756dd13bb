// SPDX-License-Identifier: GPL-2.0-or-later
// A policy object (policy_interface.h) on disk: read, and checked before anything of it gets near the kernel.
#pragma once

#include <cstdint>
#include <string>

#include "bpf/policy_trust.h"
#include "common/result.h"

namespace pvsched {

struct PolicyFile {
  std::string path;
  std::string name;
  std::string version;
  std::string summary;
  std::string trust;  ///< who vouches for it: TrustedImage::by
  std::uint32_t state = 0;  ///< version of its state's layout
  Bytes image;

  /// The object with its function named for slot `slot`, as the framework calls it.
  Bytes in_slot(unsigned slot) const;
};

/// What the image says that it is. Errors: no BPF object, no policy, built for another interface, or it holds what no
/// policy may: programs, maps, data that it could change, helper calls.
Result<PolicyFile> parse_policy(const std::string& path, Bytes image);

/// Reads a file that is trusted, and parses it.
Result<PolicyFile> read_policy(const std::string& path, const TrustRules& rules);

}  // namespace pvsched
