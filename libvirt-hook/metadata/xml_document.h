// SPDX-License-Identifier: GPL-2.0-or-later
// libxml2 behind RAII: a parsed document that knows where its tags and attributes stand, and a RelaxNG schema.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include <libxml/relaxng.h>
#include <libxml/tree.h>

#include "common/result.h"

namespace pvsched {

/// Parses without network, DTD or entity expansion. Keeps a view of the text: it must outlive the document.
class XmlDocument {
 public:
  /// `tracked_uri`: exact lines are known for elements of this namespace and for their children.
  /// Errors: empty, longer than kMaxXmlBytes, not well-formed (with the line), has a DOCTYPE.
  static Result<XmlDocument> parse(std::string_view text, const char* tracked_uri);

  xmlNode* root() const { return xmlDocGetRootElement(doc_.get()); }

  /// Line on which the element's start tag begins, from 1.
  int line_of(const xmlNode* element) const;

  /// Line on which the attribute stands; the element's where that cannot be told. `name` as written, with its prefix.
  int line_of(const xmlNode* element, std::string_view name) const;

 private:
  using TagEnds = std::unordered_map<const xmlNode*, std::size_t>;
  using Doc = std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)>;
  struct Tracker;

  XmlDocument(std::string_view text, Doc doc, TagEnds tag_ends)
      : text_(text), doc_(std::move(doc)), tag_ends_(std::move(tag_ends)) {}

  int line_at(std::size_t offset) const;
  /// The element's start tag from '<' to before '>', or an empty view where it is not known.
  std::string_view start_tag(const xmlNode* element) const;
  static void on_start_element(void* context, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri,
                               int namespace_count, const xmlChar** namespaces, int attribute_count,
                               int defaulted_count, const xmlChar** attributes) noexcept;
  static void on_error(void* context, xmlError* error) noexcept;
  static void on_doctype(void* context, const xmlChar* name, const xmlChar* external_id,
                         const xmlChar* system_id) noexcept;

  std::string_view text_;
  Doc doc_;
  TagEnds tag_ends_;  ///< offset of the '>' or '/>' that ends the start tag
};

/// A RelaxNG schema.
class XmlSchema {
 public:
  /// Errors: the file cannot be read or is no schema.
  static Result<XmlSchema> load(const std::string& path);

  /// Whether the element, taken as a document of its own, follows the schema.
  [[nodiscard]] bool accepts(xmlNode* element) const;

 private:
  explicit XmlSchema(xmlRelaxNG* schema) : schema_(schema, xmlRelaxNGFree) {}

  std::unique_ptr<xmlRelaxNG, decltype(&xmlRelaxNGFree)> schema_;
};

/// UTF-8 text of a libxml2 string, empty for nullptr.
inline std::string_view text_of(const xmlChar* text) {
  return text == nullptr ? std::string_view() : std::string_view(reinterpret_cast<const char*>(text));
}

/// The attribute's value.
std::string value_of(const xmlAttr* attribute);

}  // namespace pvsched
