// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by the schema tests: files of the source tree, and libxml2's own verdict of a document.
#pragma once

#include <string>

/// Content of a file of the source tree; fails the test where it cannot be read.
std::string read_source_file(const std::string& path);

/// Path of the schema.
std::string schema_path();

/// Whether libxml2's RelaxNG validation accepts the first pvsched element found anywhere in the document. The reader
/// under test has no part in this.
bool relaxng_accepts(const std::string& xml);
