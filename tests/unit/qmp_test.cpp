// SPDX-License-Identifier: GPL-2.0-or-later
// SocketQmp against a server that is scripted by hand: what a QEMU says, and what it should not.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "common/loop.h"
#include "qmp/socket_qmp.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

const char* const kGreeting = "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n";

// The other end: reads lines and descriptors, answers only what it is told to.
struct Server {
  Fd socket;
  std::string text;
  std::vector<Fd> fds;

  void say(const std::string& bytes) {
    CHECK_EQUAL(static_cast<long>(bytes.size()), ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }
  void receive() {
    char buffer[4096];
    alignas(cmsghdr) char control[256];
    iovec part{buffer, sizeof(buffer)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    const ssize_t n = ::recvmsg(socket.get(), &message, MSG_DONTWAIT);
    if (n <= 0) return;
    text.append(buffer, static_cast<std::size_t>(n));
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  // The next whole request, waited for; empty when none comes.
  Json request() {
    std::size_t end = std::string::npos;
    run_until([&] {
      receive();
      end = text.find('\n');
      return end != std::string::npos;
    });
    if (end == std::string::npos) return Json::object();
    Json request = Json::parse(text.substr(0, end), nullptr, false);
    text.erase(0, end + 1);
    return request;
  }
  void reply(const Json& request, const Json& value) {
    say(Json({{"return", value}, {"id", request["id"]}}).dump() + "\r\n");
  }
  void greet() {
    say(kGreeting);
    const Json capabilities = request();
    STRCMP_EQUAL("qmp_capabilities", capabilities.value("execute", "").c_str());
    reply(capabilities, Json::object());
  }
};

// What a callback brought.
struct Outcome {
  int calls = 0;
  Json value;
  int code = 0;
  std::string text;
  Qmp::Callback take() {
    return [this](Result<Json> result) {
      ++calls;
      if (result) {
        value = *result;
      } else {
        code = result.error().code();
        text = result.error().text();
      }
    };
  }
};

}  // namespace

TEST_GROUP(SocketQmp) {
  Server server;
  std::unique_ptr<SocketQmp> qmp;
  Outcome outcome;

  void connect(SocketQmpOptions options = {}) {
    int pair[2];
    CHECK_EQUAL(0, ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    server = Server{Fd(pair[0]), "", {}};
    qmp = SocketQmp::adopt(Fd(pair[1]), "test", options);
  }
  void teardown() override {
    qmp.reset();
    server = Server();
    run_for(5);
    outcome = Outcome();
  }
};

TEST(SocketQmp, a_command_given_before_the_greeting_is_sent_after_it) {
  connect();
  qmp->execute("query-status", Json(), {}, outcome.take());
  server.greet();
  const Json request = server.request();
  STRCMP_EQUAL("query-status", request.value("execute", "").c_str());
  CHECK_FALSE(request.contains("arguments"));
  server.reply(request, {{"running", true}});
  CHECK(run_until([&] { return outcome.calls == 1; }));
  CHECK(outcome.value["running"] == true);
  CHECK_EQUAL(::getpid(), qmp->peer());
}

TEST(SocketQmp, commands_go_one_by_one) {
  connect();
  Outcome second;
  qmp->execute("first", Json(), {}, outcome.take());
  qmp->execute("second", Json(), {}, second.take());
  server.greet();
  const Json first = server.request();
  run_for(30);
  server.receive();
  CHECK(server.text.empty());
  server.reply(first, 1);
  server.reply(server.request(), 2);
  CHECK(run_until([&] { return second.calls == 1; }));
  CHECK(outcome.value == 1);
  CHECK(second.value == 2);
}

TEST(SocketQmp, a_refusal_keeps_the_connection) {
  connect();
  qmp->execute("qom-get", {{"path", "/x"}}, {}, outcome.take());
  server.greet();
  const Json request = server.request();
  server.say(Json({{"error", {{"class", "DeviceNotFound"}, {"desc", "no\nsuch"}}}, {"id", request["id"]}}).dump() +
             "\n");
  CHECK(run_until([&] { return outcome.calls == 1; }));
  CHECK_EQUAL(kQmpRefused, outcome.code);
  STRCMP_EQUAL("QEMU refused qom-get: no?such (DeviceNotFound)", outcome.text.c_str());
  CHECK(qmp->healthy());
}

TEST(SocketQmp, descriptors_arrive_with_their_command) {
  connect();
  std::vector<Fd> fds;
  fds.emplace_back(::memfd_create("area", MFD_CLOEXEC));
  CHECK_EQUAL(0, ::ftruncate(fds[0].get(), 4096));
  qmp->execute("getfd", {{"fdname", "pvsched-guest"}}, std::move(fds), outcome.take());
  server.greet();
  const Json request = server.request();
  STRCMP_EQUAL("pvsched-guest", request["arguments"]["fdname"].get<std::string>().c_str());
  CHECK_EQUAL(1, static_cast<int>(server.fds.size()));
  struct stat file {};
  CHECK_EQUAL(0, ::fstat(server.fds[0].get(), &file));
  CHECK_EQUAL(4096, file.st_size);
}

TEST(SocketQmp, a_reply_in_pieces_and_events_between) {
  connect();
  std::string event;
  qmp->on_event([&](const std::string& name, const Json& data) { event = name + data.value("path", ""); });
  qmp->execute("x", Json(), {}, outcome.take());
  server.greet();
  const Json request = server.request();
  const std::string reply = Json({{"return", "late"}, {"id", request["id"]}}).dump() + "\r\n";
  server.say("{\"event\": \"DEVICE_DELETED\", \"data\": {\"path\": \"/p\"}}\n" + reply.substr(0, 7));
  CHECK(run_until([&] { return !event.empty(); }));
  CHECK_EQUAL(0, outcome.calls);
  server.say(reply.substr(7));
  CHECK(run_until([&] { return outcome.calls == 1; }));
  STRCMP_EQUAL("DEVICE_DELETED/p", event.c_str());
  CHECK(outcome.value == "late");
}

TEST(SocketQmp, silence_ends_the_connection_at_the_deadline) {
  connect({.deadline_ms = 200});
  Outcome queued;
  std::string closed;
  qmp->on_closed([&](const Error& error) { closed = error.text(); });
  qmp->execute("stall", Json(), {}, outcome.take());
  qmp->execute("behind", Json(), {}, queued.take());
  server.greet();
  CHECK(run_until([&] { return !closed.empty(); }));
  CHECK_EQUAL(ETIMEDOUT, outcome.code);
  STRCMP_EQUAL("QMP test: no reply to stall within 200 ms", outcome.text.c_str());
  CHECK_EQUAL(1, queued.calls);
  CHECK_FALSE(qmp->healthy());
  qmp->execute("more", Json(), {}, outcome.take());
  CHECK_EQUAL(ENOTCONN, outcome.code);
}

TEST(SocketQmp, no_greeting_ends_the_connection) {
  connect({.deadline_ms = 200});
  qmp->execute("x", Json(), {}, outcome.take());
  CHECK(run_until([&] { return outcome.calls == 1; }));
  STRCMP_EQUAL("QMP test: no reply to greeting within 200 ms", outcome.text.c_str());
}

TEST(SocketQmp, odd_input_ends_the_connection) {
  const std::pair<std::string, std::string> cases[] = {
      {"rubbish\n", "not JSON"},
      {"[1,2]\n", "a message that is no object"},
      {"{\"return\": {}, \"id\": \"forged\"}\n", "a reply that was not asked for"},
      {"{\"return\": {}}\n", "a reply that was not asked for"},
      {std::string(100, '[') + "\n", "nested deeper"},
      {std::string(3000, 'x'), "a line longer than 2000 bytes"},
  };
  for (const auto& [input, expected] : cases) {
    outcome = Outcome();
    connect({.deadline_ms = 1000, .max_line = 2000});
    qmp->execute("x", Json(), {}, outcome.take());
    server.greet();
    server.request();
    server.say(input);
    CHECK(run_until([&] { return outcome.calls == 1; }));
    CHECK_TEXT(outcome.text.find(expected) != std::string::npos, outcome.text.c_str());
    CHECK_FALSE(qmp->healthy());
  }
}

TEST(SocketQmp, a_reply_without_return_or_error_is_no_answer) {
  connect();
  qmp->execute("x", Json(), {}, outcome.take());
  server.greet();
  const Json request = server.request();
  server.say(Json({{"id", request["id"]}}).dump() + "\n");
  CHECK(run_until([&] { return outcome.calls == 1; }));
  CHECK_EQUAL(EPROTO, outcome.code);
}

TEST(SocketQmp, the_end_of_qemu_is_told) {
  connect();
  server.greet();
  std::string closed;
  qmp->on_closed([&](const Error& error) { closed = error.text(); });
  run_for(10);
  server.socket.reset();
  CHECK(run_until([&] { return !closed.empty(); }));
  STRCMP_EQUAL("QMP test: QEMU closed the connection", closed.c_str());
}

TEST(SocketQmp, a_callback_may_let_it_go) {
  connect();
  bool called = false;
  qmp->execute("x", Json(), {}, [&](const Result<Json>&) {
    called = true;
    qmp.reset();
  });
  qmp->execute("y", Json(), {}, outcome.take());
  server.greet();
  server.reply(server.request(), 1);
  CHECK(run_until([&] { return called; }));
  run_for(20);
  CHECK_EQUAL(0, outcome.calls);
}

TEST(SocketQmp, no_socket_is_an_error_that_names_it) {
  auto opened = SocketQmp::open("/nowhere/qmp.sock");
  CHECK_FALSE(opened);
  STRCMP_EQUAL("QMP socket /nowhere/qmp.sock: No such file or directory", opened.error().text().c_str());
  CHECK_FALSE(SocketQmp::open(std::string(200, 'a')));
}
