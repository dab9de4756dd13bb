// SPDX-License-Identifier: GPL-2.0-or-later
#include "metadata/xml_document.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/xmlerror.h>

#include "metadata/domain_config.h"

namespace pvsched {

namespace {

using ParserContext = std::unique_ptr<xmlParserCtxt, decltype(&xmlFreeParserCtxt)>;

constexpr int kParseOptions =
    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_BIG_LINES | XML_PARSE_COMPACT;

void ignore_error(void*, xmlError*) {}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// libxml2's message of one line, without its final newline.
std::string one_line(const char* message) {
  std::string text = message == nullptr ? "unknown error" : message;
  std::ranges::replace(text, '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

struct XmlDocument::Tracker {
  std::string_view text;
  std::string_view uri;
  TagEnds tag_ends;
  bool doctype = false;
  std::string first_error;  ///< later ones are consequences
};

void XmlDocument::on_start_element(void* context, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri,
                                   int namespace_count, const xmlChar** namespaces, int attribute_count,
                                   int defaulted_count, const xmlChar** attributes) noexcept {
  auto* parser = static_cast<xmlParserCtxt*>(context);
  xmlSAX2StartElementNs(context, name, prefix, uri, namespace_count, namespaces, attribute_count, defaulted_count,
                        attributes);
  auto& tracker = *static_cast<Tracker*>(parser->_private);
  const xmlNode* node = parser->node;
  if (node == nullptr || (text_of(uri) != tracker.uri && !tracker.tag_ends.contains(node->parent))) return;
  // With a converted encoding offsets are neither cheap nor ours.
  const xmlParserInput* input = parser->input;
  if (input == nullptr || input->buf == nullptr || input->buf->encoder != nullptr) return;
  long offset = xmlByteConsumed(parser);
  if (offset < 0) return;
  auto end = static_cast<std::size_t>(offset);
  if (end < tracker.text.size() && (tracker.text[end] == '>' || tracker.text[end] == '/')) {
    tracker.tag_ends[node] = end;
  }
}

void XmlDocument::on_error(void* context, xmlError* error) noexcept {
  auto& tracker = *static_cast<Tracker*>(static_cast<xmlParserCtxt*>(context)->_private);
  if (!tracker.first_error.empty() || error->level < XML_ERR_ERROR) return;
  tracker.first_error = "line " + std::to_string(error->line) + ": not well-formed XML: " + one_line(error->message);
}

void XmlDocument::on_doctype(void* context, const xmlChar*, const xmlChar*, const xmlChar*) noexcept {
  auto* parser = static_cast<xmlParserCtxt*>(context);
  static_cast<Tracker*>(parser->_private)->doctype = true;
  xmlStopParser(parser);
}

Result<XmlDocument> XmlDocument::parse(std::string_view text, const char* tracked_uri) {
  if (text.empty()) return Error("the XML document is empty");
  if (text.size() > kMaxXmlBytes) {
    return Error("the XML document has " + std::to_string(text.size()) + " bytes, allowed are " +
                 std::to_string(kMaxXmlBytes));
  }
  xmlInitParser();
  ParserContext parser(xmlNewParserCtxt(), xmlFreeParserCtxt);
  if (!parser) return Error::system("libxml2 parser", ENOMEM);
  Tracker tracker{.text = text, .uri = tracked_uri, .tag_ends = {}, .doctype = false, .first_error = {}};
  parser->_private = &tracker;
  parser->sax->startElementNs = on_start_element;
  parser->sax->internalSubset = on_doctype;
  parser->sax->serror = reinterpret_cast<xmlStructuredErrorFunc>(on_error);
  Doc doc(xmlCtxtReadMemory(parser.get(), text.data(), static_cast<int>(text.size()), nullptr, nullptr, kParseOptions),
          xmlFreeDoc);
  if (tracker.doctype) return Error("the XML document has a DOCTYPE, which is not accepted");
  if (!doc || xmlDocGetRootElement(doc.get()) == nullptr) {
    return Error(tracker.first_error.empty() ? "the XML document is not well-formed" : tracker.first_error);
  }
  return XmlDocument(text, std::move(doc), std::move(tracker.tag_ends));
}

int XmlDocument::line_at(std::size_t offset) const {
  return 1 + static_cast<int>(std::ranges::count(text_.substr(0, offset), '\n'));
}

std::string_view XmlDocument::start_tag(const xmlNode* element) const {
  auto it = tag_ends_.find(element);
  if (it == tag_ends_.end()) return {};
  // Within a start tag '<' stands only at its beginning: in values it must be written "&lt;".
  std::size_t begin = text_.rfind('<', it->second);
  return begin == std::string_view::npos ? std::string_view() : text_.substr(begin, it->second - begin);
}

int XmlDocument::line_of(const xmlNode* element) const {
  std::string_view tag = start_tag(element);
  if (tag.empty()) return static_cast<int>(xmlGetLineNo(element));
  return line_at(static_cast<std::size_t>(tag.data() - text_.data()));
}

int XmlDocument::line_of(const xmlNode* element, std::string_view name) const {
  std::string_view tag = start_tag(element);
  std::size_t at = 0;
  while (at < tag.size() && !is_space(tag[at])) ++at;  // the element's name
  while (at < tag.size()) {
    while (at < tag.size() && is_space(tag[at])) ++at;
    std::size_t begin = at;
    while (at < tag.size() && !is_space(tag[at]) && tag[at] != '=') ++at;
    std::string_view found = tag.substr(begin, at - begin);
    if (found == name) return line_at(static_cast<std::size_t>(tag.data() - text_.data()) + begin);
    at = tag.find_first_of("\"'", at);
    if (at == std::string_view::npos) break;
    at = tag.find(tag[at], at + 1);
    if (at == std::string_view::npos) break;
    ++at;
  }
  return line_of(element);
}

Result<XmlSchema> XmlSchema::load(const std::string& path) {
  xmlInitParser();
  ParserContext parser(xmlNewParserCtxt(), xmlFreeParserCtxt);
  if (!parser) return Error::system("libxml2 parser", ENOMEM);
  // Read here, since libxml2 prints to stderr where a file is missing.
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) return Error::system("schema " + path, errno == 0 ? EIO : errno);
  xmlDoc* doc = xmlCtxtReadMemory(parser.get(), text.data(), static_cast<int>(std::min(text.size(), kMaxXmlBytes)),
                                  path.c_str(), nullptr, kParseOptions);
  if (doc == nullptr) {
    const xmlError* error = xmlCtxtGetLastError(parser.get());
    return Error("schema " + path + ": " + (error == nullptr ? "cannot be read" : one_line(error->message)));
  }
  std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)> owner(doc, xmlFreeDoc);
  std::unique_ptr<xmlRelaxNGParserCtxt, decltype(&xmlRelaxNGFreeParserCtxt)> compiler(xmlRelaxNGNewDocParserCtxt(doc),
                                                                                      xmlRelaxNGFreeParserCtxt);
  if (!compiler) return Error("schema " + path + ": out of memory", ENOMEM);
  xmlRelaxNGSetParserStructuredErrors(compiler.get(), reinterpret_cast<xmlStructuredErrorFunc>(ignore_error), nullptr);
  xmlRelaxNG* schema = xmlRelaxNGParse(compiler.get());
  if (schema == nullptr) return Error("schema " + path + ": not a RelaxNG schema", EINVAL);
  return XmlSchema(schema);
}

bool XmlSchema::accepts(xmlNode* element) const {
  std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)> doc(xmlNewDoc(nullptr), xmlFreeDoc);
  if (!doc) return false;
  xmlNode* copy = xmlDocCopyNode(element, doc.get(), 1);
  if (copy == nullptr) return false;
  xmlDocSetRootElement(doc.get(), copy);
  std::unique_ptr<xmlRelaxNGValidCtxt, decltype(&xmlRelaxNGFreeValidCtxt)> validator(
      xmlRelaxNGNewValidCtxt(schema_.get()), xmlRelaxNGFreeValidCtxt);
  if (!validator) return false;
  xmlRelaxNGSetValidStructuredErrors(validator.get(), reinterpret_cast<xmlStructuredErrorFunc>(ignore_error), nullptr);
  return xmlRelaxNGValidateDoc(validator.get(), doc.get()) == 0;
}

std::string value_of(const xmlAttr* attribute) {
  std::unique_ptr<xmlChar, decltype(xmlFree)> value(xmlNodeListGetString(attribute->doc, attribute->children, 1),
                                                    xmlFree);
  return std::string(text_of(value.get()));
}

}  // namespace pvsched
