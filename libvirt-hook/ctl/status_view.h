// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon's state as text for people.
#pragma once

#include <string>
#include <vector>

#include "common/json.h"

namespace pvsched {

/// The answer to "status" as tables: the daemon, then each VM with its vCPUs.
std::string show_status(const Json& status);

/// Rows of cells as columns, each as wide as its widest cell, two blanks between.
std::string show_table(const std::vector<std::vector<std::string>>& rows, const std::string& indent);

}  // namespace pvsched
