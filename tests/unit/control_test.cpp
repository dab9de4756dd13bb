// SPDX-License-Identifier: GPL-2.0-or-later
// ControlServer and the requests, over a real socket.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/requests.h"
#include "fake_engine.h"
#include "fake_qemu.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

struct Client {
  Fd fd;
  std::string input;
  bool ended = false;

  explicit Client(const std::string& path) : fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    CHECK_EQUAL(0, ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  }
  void say(const std::string& text) { (void)!::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  void receive() {
    char buffer[65536];
    const ssize_t n = ::recv(fd.get(), buffer, sizeof(buffer), 0);
    if (n > 0) input.append(buffer, static_cast<std::size_t>(n));
    ended |= n == 0 || (n < 0 && errno != EAGAIN);
  }
  Json reply() {
    run_until([this] {
      receive();
      return ended || input.find('\n') != std::string::npos;
    });
    const auto end = input.find('\n');
    if (end == std::string::npos) return Json();
    Json value = Json::parse(input.substr(0, end), nullptr, false);
    input.erase(0, end + 1);
    return value;
  }
  bool closed() {
    return run_until([this] {
      receive();
      return ended;
    });
  }
};

}  // namespace

TEST_GROUP(Control) {
  struct State {
    TempDir dir;
    FakeEngine engine;
    Sessions sessions{engine, {}, nullptr};
    std::unique_ptr<ControlServer> server;
    int reloads = 0;
  };
  State* s = nullptr;
  ControlOptions options;

  void setup() override {
    s = new State;
    options = ControlOptions();
    options.path = s->dir.path() + "/c.sock";
  }
  void teardown() override {
    delete s;
    run_for(5);  // what was posted last
    options = ControlOptions();
  }
  void listen() {
    RequestServices services;
    services.engine = &s->engine;
    services.sessions = &s->sessions;
    services.libvirt_uri = "none";
    services.reload = [this]() -> Status { return ++s->reloads, Status(); };
    auto server = ControlServer::listen(options, make_request_handler(services));
    CHECK(ok(server));
    s->server = server.take();
  }
};

TEST(Control, the_socket_is_for_its_owner_only_and_goes_with_the_server) {
  listen();
  struct stat file {};
  CHECK_EQUAL(0, ::stat(options.path.c_str(), &file));
  CHECK_EQUAL(0600u, file.st_mode & 07777);
  s->server.reset();
  CHECK_EQUAL(-1, ::stat(options.path.c_str(), &file));
}

TEST(Control, a_socket_left_over_is_replaced) {
  listen();
  s->server.reset();
  Fd old(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  options.path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  CHECK_EQUAL(0, ::bind(old.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  listen();
  Client client(options.path);
  client.say("{\"op\":\"ping\"}\n");
  CHECK(client.reply()["ok"] == true);
}

TEST(Control, requests_in_pieces_several_at_once_and_after_the_end_of_writing) {
  listen();
  Client client(options.path);
  client.say("{\"op\":");
  run_for(10);
  client.say("\"ping\"}\n{\"op\":\"ping\"}\r\n{\"op\":\"reload\"}\n");
  ::shutdown(client.fd.get(), SHUT_WR);
  for (int i = 0; i < 3; ++i) CHECK(client.reply()["ok"] == true);
  CHECK(client.closed());
  CHECK_EQUAL(1, s->reloads);
}

TEST(Control, what_is_not_understood_is_said) {
  listen();
  const std::pair<const char*, const char*> cases[] = {
      {"rubbish", "not JSON"},
      {"[]", "a request is an object with \"op\""},
      {"{\"op\":7}", "a request is an object with \"op\""},
      {"{\"op\":\"explode\"}", "unknown op 'explode'"},
      {"{\"op\":\"hook\"}", "hook needs name and operation"},
      {"{\"op\":\"attach\",\"qmp\":\"relative\"}", "absolute path"},
      {"{\"op\":\"detach\",\"qmp\":\"/x\"}", "nothing is attached at /x"},
      {"{\"op\":\"disable\",\"domain\":\"no\"}", "no session of a domain 'no'"},
  };
  Client client(options.path);
  for (const auto& [request, expected] : cases) {
    client.say(std::string(request) + "\n");
    const Json reply = client.reply();
    CHECK(reply["ok"] == false);
    CHECK_TEXT(reply["message"].get<std::string>().find(expected) != std::string::npos, reply.dump().c_str());
  }
}

TEST(Control, status_and_the_global_switch) {
  listen();
  Client client(options.path);
  client.say("{\"op\":\"disable\"}\n");
  CHECK(client.reply()["ok"] == true);
  client.say("{\"op\":\"status\"}\n");
  const Json status = client.reply();
  CHECK(status["enabled"] == false);
  CHECK_EQUAL(2, static_cast<int>(status["sources"].size()));
  CHECK(status["vms"].empty());
}

TEST(Control, the_actuator_is_chosen_and_a_refusal_told) {
  listen();
  Client client(options.path);
  client.say("{\"op\":\"actuator\",\"name\":\"scx\"}\n");
  CHECK(client.reply()["ok"] == true);
  client.say("{\"op\":\"status\"}\n");
  CHECK(client.reply()["actuator"] == "scx");
  s->engine.refuse_actuator = "this kernel has no sched_ext";
  client.say("{\"op\":\"actuator\",\"name\":\"scx\"}\n");
  const Json reply = client.reply();
  CHECK(reply["ok"] == false);
  CHECK(reply["message"] == "this kernel has no sched_ext");
}

TEST(Control, a_request_too_long_is_refused_and_the_client_let_go) {
  options.max_line = 100;
  listen();
  Client client(options.path);
  client.say(std::string(500, 'x'));
  const Json reply = client.reply();
  CHECK(reply["message"].get<std::string>().find("longer than 100 bytes") != std::string::npos);
  CHECK(client.closed());
}

TEST(Control, a_silent_client_is_let_go) {
  options.timeout_ms = 30;
  listen();
  Client client(options.path);
  client.say("{\"op\"");
  CHECK(client.closed());
}

TEST(Control, more_clients_than_allowed_are_turned_away) {
  options.max_clients = 2;
  listen();
  Client first(options.path);
  Client second(options.path);
  Client third(options.path);
  CHECK(third.closed());
  first.say("{\"op\":\"ping\"}\n");
  CHECK(first.reply()["ok"] == true);
}

TEST(Control, an_answer_to_a_client_that_went_is_dropped) {
  ControlServer::Reply kept;
  auto server =
      ControlServer::listen(options, [&](const Json&, ControlServer::Reply reply) { kept = std::move(reply); });
  CHECK(ok(server));
  {
    Client client(options.path);
    client.say("{}\n");
    CHECK(run_until([&] { return kept != nullptr; }));
  }
  run_for(10);
  kept({{"ok", true}});
  run_for(10);
  auto gone = server.take();
  gone.reset();
  kept({{"ok", true}});
}
