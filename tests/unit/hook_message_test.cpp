// SPDX-License-Identifier: GPL-2.0-or-later
#include "common/json.h"
#include "hook/message.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;  // NOLINT: the tests' own
using namespace pvsched::hook;  // NOLINT

// clang-format off
TEST_GROUP(HookMessage){};
// clang-format on

TEST(HookMessage, RequestIsOneLineThatReadsBack) {
  const std::string xml = "<a b=\"c\">\n\t\\ \u00e4 \u20ac</a>\r\n";
  std::string line =
      request_line({.name = "web \"1\"", .operation = "prepare", .sub = "begin", .extra = "-", .xml = xml});
  LONGS_EQUAL(line.size() - 1, line.find('\n'));
  auto json = parse_json(line);
  CHECK_TRUE(json);
  STRCMP_EQUAL("hook", string_member(*json, "op")->c_str());
  STRCMP_EQUAL("web \"1\"", string_member(*json, "name")->c_str());
  STRCMP_EQUAL("prepare", string_member(*json, "operation")->c_str());
  STRCMP_EQUAL("begin", string_member(*json, "sub")->c_str());
  STRCMP_EQUAL("-", string_member(*json, "extra")->c_str());
  STRCMP_EQUAL(xml.c_str(), string_member(*json, "xml")->c_str());
}

TEST(HookMessage, BytesThatAreNotUtf8AreReplaced) {
  std::string line = request_line({.name = "a\xff"
                                           "b\xc3",
                                   .operation = "stopped",
                                   .sub = "end",
                                   .extra = "-",
                                   .xml = ""});
  auto json = parse_json(line);
  CHECK_TRUE(json);
  STRCMP_EQUAL(
      "a\ufffd"
      "b\ufffd",
      string_member(*json, "name")->c_str());
}

TEST(HookMessage, Replies) {
  auto good = read_reply(R"({"ok":true,"warnings":["one","two"]})");
  CHECK_TRUE(good);
  CHECK_TRUE(good->ok);
  LONGS_EQUAL(2, good->warnings.size());
  STRCMP_EQUAL("two", good->warnings[1].c_str());
  auto refused = read_reply(R"({"ok":false,"message":"no"})");
  CHECK_TRUE(refused);
  CHECK_FALSE(refused->ok);
  STRCMP_EQUAL("no", refused->message.c_str());
}

TEST(HookMessage, RepliesThatAreNoneAreErrors) {
  for (const char* text : {"", "ok", "{", "[]", "{}", R"({"ok":1})", R"({"ok":"false"})", "null", "{\"ok\":false}}"}) {
    CHECK_FALSE_TEXT(read_reply(text), text);
  }
  CHECK_FALSE(read_reply(std::string(100000, '[')));
}

TEST(HookMessage, OddMembersOfARealReplyAreSkipped) {
  auto reply = read_reply(R"({"ok":true,"warnings":"x","message":7})");
  CHECK_TRUE(reply);
  LONGS_EQUAL(0, reply->warnings.size());
  reply = read_reply(R"({"ok":true,"warnings":[1,"x",null]})");
  CHECK_TRUE(reply);
  LONGS_EQUAL(1, reply->warnings.size());
}

TEST(HookMessage, OnlyPrepareAndStartMayRefuse) {
  for (const char* operation : {"prepare", "start"}) CHECK_TRUE(may_refuse(operation));
  for (const char* operation : {"started", "stopped", "release", "reconnect", "migrate", "restore", "attach", ""}) {
    CHECK_FALSE(may_refuse(operation));
  }
}

TEST(HookMessage, ForwardedOperations) {
  for (const char* operation : {"prepare", "started", "stopped", "release", "reconnect", "migrate"}) {
    CHECK_TRUE(forwards(operation));
  }
  for (const char* operation : {"start", "restore", "attach", ""}) CHECK_FALSE(forwards(operation));
}

TEST(HookMessage, ForeignTextBecomesOneLine) {
  STRCMP_EQUAL("a b c\u00e4", one_line("a\nb\tc\u00e4").c_str());
  LONGS_EQUAL(10, one_line(std::string(100, 'x'), 10).size());
}
