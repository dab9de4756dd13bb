// SPDX-License-Identifier: GPL-2.0-or-later
// What a domain's XML asks of pvsched: the metadata element, checked and turned into limits.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cpus.h"
#include "common/result.h"
#include "policy.h"

namespace pvsched {

inline constexpr const char* kMetadataUri = "https://pvsched.org/xmlns/libvirt/domain/1.0";
inline constexpr std::size_t kMaxXmlBytes = 8 << 20;  ///< longer documents are refused; libvirt's own limit is 4 MiB
inline constexpr std::size_t kMaxFaults = 20;  ///< faults reported of one document

/// Limits with every documented default.
pvs_limits default_limits();

/// A class that a thread of QEMU's, which is no vCPU, has while the VM is served.
struct ThreadConfig {
  bool iothread = false;  ///< else QEMU's main thread
  unsigned id = 0;  ///< of the I/O thread; 0: each that no other entry names
  std::uint8_t policy = PVSCHED_SCHED_OTHER;
  std::int8_t nice = 0;
  std::uint8_t priority = 0;  ///< real-time; 0: none
  bool operator==(const ThreadConfig&) const = default;
};

/// One pvsched element.
struct DomainConfig {
  bool enabled = true;
  bool required = false;
  std::string policy = "latency";
  pvs_limits limits = default_limits();
  std::map<unsigned, bool> vcpus;  ///< vCPU id -> enabled, only those named
  std::string tag = "none";  ///< name of the VM's tag
  std::optional<CpuRule> cpus;  ///< that the VM prefers
  std::vector<ThreadConfig> threads;
  std::map<unsigned, std::string> vcpu_tags;  ///< vCPU id -> name of its own tag

  bool vcpu_enabled(unsigned id) const {
    auto it = vcpus.find(id);
    return it == vcpus.end() || it->second;
  }
};

/// One fault in an element: "line 7: <priority> attribute max="120": allowed is 0 to 98".
struct Fault {
  int line = 0;
  std::string text;
};

/// What was found in a document. `present` without `config` means that the element is there and wrong: see `faults`.
struct DomainMetadata {
  bool present = false;
  bool required = false;  ///< as far as it could be read, also when the element is wrong
  std::optional<DomainConfig> config;
  std::vector<Fault> faults;

  /// All faults as one sentence, for a log line or a hook's stderr.
  std::string explain() const;
};

/// Reads a domain XML, or a bare pvsched element (as virDomainGetMetadata returns it).
/// Elements are found by namespace URI, whatever their prefix: as the root, or as a child of domain/metadata.
/// Errors: the text is not well-formed XML, has a DOCTYPE, is empty or longer than kMaxXmlBytes, or the schema file
/// cannot be read. A wrong element is no error here: it is reported in the result.
/// `faults` stand in the document's order as far as one element goes; lines are those of `xml`, from 1.
Result<DomainMetadata> parse_domain_metadata(std::string_view xml, const std::string& schema_path);

/// The element with every value written out, indented by two spaces, lines ended by '\n'; parse_domain_metadata reads
/// the same configuration back. Times are written in the largest unit that holds them; below 1 us they are cut off.
std::string to_xml(const DomainConfig& config);

}  // namespace pvsched
