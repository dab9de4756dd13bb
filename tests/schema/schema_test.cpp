// SPDX-License-Identifier: GPL-2.0-or-later
#include "schema_test.h"

#include <fstream>
#include <iterator>

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xpath.h>
#include <libxml/xpathInternals.h>

#include "metadata/domain_config.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

std::string read_source_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) FAIL(("cannot read " + path).c_str());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string schema_path() { return PVSCHED_SOURCE_ROOT "/xml-schemas/pvsched-domain-1.0.rng"; }

namespace {

void ignore_error(void*, xmlError*) {}

}  // namespace

bool relaxng_accepts(const std::string& xml) {
  xmlDoc* doc = xmlReadMemory(xml.data(), static_cast<int>(xml.size()), nullptr, nullptr,
                              XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
  CHECK_TEXT(doc != nullptr, xml.c_str());
  xmlXPathContext* xpath = xmlXPathNewContext(doc);
  xmlXPathRegisterNs(xpath, BAD_CAST "p", BAD_CAST pvsched::kMetadataUri);
  xmlXPathObject* found = xmlXPathEvalExpression(BAD_CAST "//p:*[not(ancestor::p:*)]", xpath);
  CHECK_TEXT(found != nullptr && found->nodesetval != nullptr && found->nodesetval->nodeNr > 0, "no element found");
  xmlDoc* alone = xmlNewDoc(nullptr);
  xmlDocSetRootElement(alone, xmlDocCopyNode(found->nodesetval->nodeTab[0], alone, 1));
  xmlXPathFreeObject(found);
  xmlXPathFreeContext(xpath);
  xmlFreeDoc(doc);

  xmlRelaxNGParserCtxt* compiler = xmlRelaxNGNewParserCtxt(schema_path().c_str());
  xmlRelaxNG* schema = xmlRelaxNGParse(compiler);
  CHECK_TEXT(schema != nullptr, "the schema does not compile");
  xmlRelaxNGValidCtxt* validator = xmlRelaxNGNewValidCtxt(schema);
  xmlRelaxNGSetValidStructuredErrors(validator, reinterpret_cast<xmlStructuredErrorFunc>(ignore_error), nullptr);
  int verdict = xmlRelaxNGValidateDoc(validator, alone);
  xmlRelaxNGFreeValidCtxt(validator);
  xmlRelaxNGFree(schema);
  xmlRelaxNGFreeParserCtxt(compiler);
  xmlFreeDoc(alone);
  CHECK_TEXT(verdict >= 0, "RelaxNG validation broke");
  return verdict == 0;
}
