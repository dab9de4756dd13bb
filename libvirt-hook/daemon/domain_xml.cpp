// SPDX-License-Identifier: GPL-2.0-or-later
#include "daemon/domain_xml.h"

#include <climits>
#include <memory>

#include <libxml/parser.h>
#include <libxml/tree.h>

namespace pvsched {
namespace {

constexpr const char* kQemuUri = "http://libvirt.org/schemas/domain/qemu/1.0";

struct FreeDoc {
  void operator()(xmlDoc* doc) const { xmlFreeDoc(doc); }
};

bool is_named(const xmlNode* node, const char* name) {
  return node->type == XML_ELEMENT_NODE && xmlStrEqual(node->name, BAD_CAST name);
}

bool has_uri(const xmlNode* node, const char* uri) {
  return uri == nullptr ? node->ns == nullptr : node->ns != nullptr && xmlStrEqual(node->ns->href, BAD_CAST uri);
}

xmlNode* child(xmlNode* parent, const char* name, const char* uri = nullptr) {
  for (xmlNode* node = parent->children; node != nullptr; node = node->next)
    if (is_named(node, name) && has_uri(node, uri)) return node;
  return nullptr;
}

std::string take(xmlChar* text) {
  std::string copy = text != nullptr ? reinterpret_cast<const char*>(text) : "";
  xmlFree(text);
  return copy;
}

std::string text_of(xmlNode* node) { return node != nullptr ? take(xmlNodeGetContent(node)) : ""; }

}  // namespace

std::string qmp_socket_of(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
    if (arguments[i] != "-qmp" && arguments[i] != "--qmp") continue;
    const std::string& value = arguments[i + 1];
    if (value.rfind("unix:", 0) != 0) continue;
    std::string path;
    for (std::size_t at = 5; at < value.size(); ++at) {
      if (value[at] == ',' && (at + 1 == value.size() || value[at + 1] != ',')) break;
      if (value[at] == ',') ++at;  // QEMU writes a comma of the path twice
      path += value[at];
    }
    return path;
  }
  return "";
}

Result<DomainXml> parse_domain_xml(std::string_view xml) {
  if (xml.size() > INT_MAX) return Error("domain XML is too long", EFBIG);
  std::unique_ptr<xmlDoc, FreeDoc> doc(xmlReadMemory(xml.data(), static_cast<int>(xml.size()), nullptr, nullptr,
                                                     XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING));
  if (!doc) return Error("domain XML is not well-formed", EINVAL);
  if (doc->intSubset != nullptr) return Error("domain XML has a DOCTYPE", EINVAL);
  xmlNode* root = xmlDocGetRootElement(doc.get());
  if (root == nullptr || !is_named(root, "domain")) return Error("XML is no domain", EINVAL);
  DomainXml out;
  out.uuid = text_of(child(root, "uuid"));
  out.name = text_of(child(root, "name"));
  if (out.uuid.empty() || out.name.empty()) return Error("domain XML has no uuid or no name", EINVAL);
  if (xmlNode* commandline = child(root, "commandline", kQemuUri)) {
    std::vector<std::string> arguments;
    for (xmlNode* node = commandline->children; node != nullptr; node = node->next)
      if (is_named(node, "arg") && has_uri(node, kQemuUri))
        arguments.push_back(take(xmlGetNoNsProp(node, BAD_CAST "value")));
    out.qmp_socket = qmp_socket_of(arguments);
  }
  return out;
}

}  // namespace pvsched
