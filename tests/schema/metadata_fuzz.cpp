// SPDX-License-Identifier: GPL-2.0-or-later
// Any bytes as a domain document: no crash, and what is accepted survives the round trip. Seeds: the corpus beside.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "metadata/domain_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string schema = PVSCHED_SOURCE_ROOT "/xml-schemas/pvsched-domain-1.0.rng";
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto result = pvsched::parse_domain_metadata(text, schema);
  if (!result) return 0;
  if (result->config && !result->faults.empty()) std::abort();
  if (result->present != (result->config || !result->faults.empty())) std::abort();
  if (!result->config) return 0;
  std::string written = pvsched::to_xml(*result->config);
  auto again = pvsched::parse_domain_metadata(written, schema);
  if (!again || !again->config || pvsched::to_xml(*again->config) != written) std::abort();
  return 0;
}
