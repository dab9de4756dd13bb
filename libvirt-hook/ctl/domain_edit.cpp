// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/domain_edit.h"

#include <climits>
#include <cstdlib>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>
#include <vector>

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>

#include "metadata/domain_config.h"

namespace pvsched {
namespace {

constexpr const char* kQemuUri = "http://libvirt.org/schemas/domain/qemu/1.0";
constexpr const char* kDeviceId = "pvsched0";
constexpr const char* kPluginFile = "/pvsched.so";
constexpr const char* kSocketFolder = "/pvsched/qmp/";
constexpr int kLastSlot = 0x1c;  // above it are what a q35 board brings itself
constexpr int kFirstSlot = 0x10;

struct FreeDoc {
  void operator()(xmlDoc* doc) const { xmlFreeDoc(doc); }
};
using Doc = std::unique_ptr<xmlDoc, FreeDoc>;

const xmlChar* chars(const char* text) { return reinterpret_cast<const xmlChar*>(text); }

std::string take(xmlChar* text) {
  std::string copy = text != nullptr ? reinterpret_cast<const char*>(text) : "";
  xmlFree(text);
  return copy;
}

bool is(const xmlNode* node, const char* name, const char* uri = nullptr) {
  if (node->type != XML_ELEMENT_NODE || !xmlStrEqual(node->name, chars(name))) return false;
  return uri == nullptr ? node->ns == nullptr : node->ns != nullptr && xmlStrEqual(node->ns->href, chars(uri));
}

xmlNode* child(xmlNode* parent, const char* name, const char* uri = nullptr) {
  for (xmlNode* node = parent->children; node != nullptr; node = node->next)
    if (is(node, name, uri)) return node;
  return nullptr;
}

bool has_elements(const xmlNode* parent) {
  for (const xmlNode* node = parent->children; node != nullptr; node = node->next)
    if (node->type == XML_ELEMENT_NODE) return true;
  return false;
}

std::string attribute(xmlNode* node, const char* name) { return take(xmlGetNoNsProp(node, chars(name))); }

int depth_of(const xmlNode* node) {
  int depth = 0;
  for (const xmlNode* up = node->parent; up != nullptr && up->type == XML_ELEMENT_NODE; up = up->parent) ++depth;
  return depth;
}

xmlNode* blanks(xmlNode* near, int depth) {
  return xmlNewDocText(near->doc, chars(("\n" + std::string(static_cast<std::size_t>(depth) * 2, ' ')).c_str()));
}

// Puts `node` behind the last element of `parent`, on a line of its own.
void append(xmlNode* parent, xmlNode* node) {
  const int depth = depth_of(parent) + 1;
  xmlNode* last = xmlGetLastChild(parent);
  while (last != nullptr && last->type != XML_ELEMENT_NODE) last = last->prev;
  if (last != nullptr) {
    xmlAddNextSibling(last, node);
    xmlAddPrevSibling(node, blanks(parent, depth));
    return;
  }
  xmlAddChild(parent, blanks(parent, depth));
  xmlAddChild(parent, node);
  xmlAddChild(parent, blanks(parent, depth - 1));
}

// Takes `node` out, with the blanks before it.
void erase(xmlNode* node) {
  if (xmlNode* before = node->prev; before != nullptr && xmlIsBlankNode(before) != 0) {
    xmlUnlinkNode(before);
    xmlFreeNode(before);
  }
  xmlUnlinkNode(node);
  xmlFreeNode(node);
}

Result<Doc> read(const std::string& xml, const char* what) {
  if (xml.size() > INT_MAX) return Error(std::string(what) + " is too long", EFBIG);
  Doc doc(xmlReadMemory(xml.data(), static_cast<int>(xml.size()), nullptr, nullptr,
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING));
  if (!doc || xmlDocGetRootElement(doc.get()) == nullptr)
    return Error(std::string(what) + " is not well-formed XML", EINVAL);
  return doc;
}

Result<Doc> read_domain(const std::string& xml) {
  auto doc = read(xml, "domain");
  if (doc && !is(xmlDocGetRootElement(doc->get()), "domain")) return Error("XML is no domain", EINVAL);
  return doc;
}

std::string write(xmlDoc* doc) {
  std::unique_ptr<xmlBuffer, decltype(&xmlBufferFree)> buffer(xmlBufferCreate(), xmlBufferFree);
  xmlNodeDump(buffer.get(), doc, xmlDocGetRootElement(doc), 0, 0);
  return std::string(reinterpret_cast<const char*>(xmlBufferContent(buffer.get()))) + "\n";
}

std::string indented(const std::string& text, const std::string& indent) {
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) out += (out.empty() ? "" : "\n" + indent) + line;
  return out;
}

Status add_metadata(xmlNode* domain, const std::string& element) {
  xmlNode* metadata = child(domain, "metadata");
  if (metadata != nullptr && child(metadata, "pvsched", kMetadataUri) != nullptr) return {};
  auto parsed = read(indented(element, "    "), "pvsched element");
  if (!parsed) return parsed.error();
  if (!is(xmlDocGetRootElement(parsed->get()), "pvsched", kMetadataUri))
    return Error("the element is no pvsched element of " + std::string(kMetadataUri), EINVAL);
  if (metadata == nullptr) {
    metadata = xmlNewDocNode(domain->doc, nullptr, chars("metadata"), nullptr);
    append(domain, metadata);
  }
  append(metadata, xmlDocCopyNode(xmlDocGetRootElement(parsed->get()), domain->doc, 1));
  return {};
}

std::vector<xmlNode*> arguments(xmlNode* commandline) {
  std::vector<xmlNode*> out;
  for (xmlNode* node = commandline->children; node != nullptr; node = node->next)
    if (is(node, "arg", kQemuUri)) out.push_back(node);
  return out;
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Is this pair of arguments one that add_pvsched would write? `socket`: one outside our folder.
bool is_ours(const std::string& option, const std::string& value, const std::string& socket) {
  const std::string head = value.substr(0, value.find(','));
  if (option == "-plugin") return ends_with(head, kPluginFile);
  if (option == "-device") return head == "pvsched";
  if (option == "-qmp") return head.find(kSocketFolder) != std::string::npos || head == "unix:" + socket;
  return false;
}

// The value's node of the first pair that is ours, or null.
xmlNode* find_pair(xmlNode* commandline, const std::string& option, const std::string& socket = "") {
  const auto args = arguments(commandline);
  for (std::size_t i = 0; i + 1 < args.size(); ++i)
    if (attribute(args[i], "value") == option && is_ours(option, attribute(args[i + 1], "value"), socket))
      return args[i + 1];
  return nullptr;
}

void add_pair(xmlNode* commandline, const char* option, const std::string& value) {
  for (const std::string& text : {std::string(option), value}) {
    xmlNode* node = xmlNewDocNode(commandline->doc, commandline->ns, chars("arg"), nullptr);
    xmlNewProp(node, chars("value"), chars(text.c_str()));
    append(commandline, node);
  }
}

// A slot of the root bus that the XML gives to nobody: a fixed one keeps libvirt's later hot-plugs away from it, and
// the guest finds the device at the same place in each run.
std::string free_slot(xmlDoc* doc) {
  std::set<long> used;
  std::unique_ptr<xmlXPathContext, decltype(&xmlXPathFreeContext)> context(xmlXPathNewContext(doc),
                                                                           xmlXPathFreeContext);
  std::unique_ptr<xmlXPathObject, decltype(&xmlXPathFreeObject)> found(
      xmlXPathEvalExpression(chars("/domain/devices//address[@type='pci']"), context.get()), xmlXPathFreeObject);
  for (int i = 0; found && found->nodesetval != nullptr && i < found->nodesetval->nodeNr; ++i) {
    xmlNode* node = found->nodesetval->nodeTab[i];
    if (std::strtol(attribute(node, "bus").c_str(), nullptr, 0) == 0)
      used.insert(std::strtol(attribute(node, "slot").c_str(), nullptr, 0));
  }
  for (int slot = kLastSlot; slot >= kFirstSlot; --slot) {
    if (used.contains(slot)) continue;
    std::ostringstream out;
    out << ",addr=0x" << std::hex << slot;
    return out.str();
  }
  return "";
}

// Commas double in QEMU's option values.
std::string escaped(const std::string& path) {
  std::string out;
  for (char c : path) out += c == ',' ? ",," : std::string(1, c);
  return out;
}

void add_commandline(xmlNode* domain, const SetupOptions& options) {
  if (options.plugin.empty() && options.qmp_socket.empty()) return;
  xmlNode* commandline = child(domain, "commandline", kQemuUri);
  if (commandline == nullptr) {
    xmlNs* ns = xmlSearchNsByHref(domain->doc, domain, chars(kQemuUri));
    if (ns == nullptr) ns = xmlNewNs(domain, chars(kQemuUri), chars("qemu"));
    commandline = xmlNewDocNode(domain->doc, ns, chars("commandline"), nullptr);
    append(domain, commandline);
  }
  if (!options.plugin.empty()) {
    if (xmlNode* value = find_pair(commandline, "-plugin"))
      xmlSetProp(value, chars("value"), chars(escaped(options.plugin).c_str()));
    else
      add_pair(commandline, "-plugin", escaped(options.plugin));
    if (find_pair(commandline, "-device") == nullptr)
      add_pair(commandline, "-device", std::string("pvsched,id=") + kDeviceId + free_slot(domain->doc));
  }
  if (!options.qmp_socket.empty() && find_pair(commandline, "-qmp", options.qmp_socket) == nullptr)
    add_pair(commandline, "-qmp", "unix:" + escaped(options.qmp_socket) + ",server=on,wait=off");
}

}  // namespace

Result<DomainEdit> add_pvsched(const std::string& xml, const SetupOptions& options) {
  auto doc = read_domain(xml);
  if (!doc) return doc.error();
  DomainEdit edit;
  edit.before = write(doc->get());
  xmlNode* domain = xmlDocGetRootElement(doc->get());
  const std::string element = options.element.empty() ? to_xml(DomainConfig()) : options.element;
  if (auto added = add_metadata(domain, element); !added) return added.error();
  add_commandline(domain, options);
  edit.after = write(doc->get());
  return edit;
}

Result<DomainEdit> remove_pvsched(const std::string& xml, const std::string& socket) {
  auto doc = read_domain(xml);
  if (!doc) return doc.error();
  DomainEdit edit;
  edit.before = write(doc->get());
  xmlNode* domain = xmlDocGetRootElement(doc->get());
  if (xmlNode* metadata = child(domain, "metadata")) {
    while (xmlNode* element = child(metadata, "pvsched", kMetadataUri)) erase(element);
    if (!has_elements(metadata)) erase(metadata);
  }
  if (xmlNode* commandline = child(domain, "commandline", kQemuUri)) {
    for (const char* option : {"-plugin", "-device", "-qmp"})
      while (xmlNode* value = find_pair(commandline, option, socket)) {
        const auto args = arguments(commandline);
        for (std::size_t i = 1; i < args.size(); ++i)
          if (args[i] == value) erase(args[i - 1]);
        erase(value);
      }
    if (!has_elements(commandline)) erase(commandline);
  }
  edit.after = write(doc->get());
  return edit;
}

}  // namespace pvsched
