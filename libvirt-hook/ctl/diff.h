// SPDX-License-Identifier: GPL-2.0-or-later
// A unified diff of two short texts.
#pragma once

#include <string>

namespace pvsched {

/// Three lines of context; empty where the texts are equal.
std::string unified_diff(const std::string& before, const std::string& after, const std::string& name);

}  // namespace pvsched
