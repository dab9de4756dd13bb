// SPDX-License-Identifier: GPL-2.0-or-later
// Sessions: hooks, libvirt's events, reconciling, attach; with a Host that is scripted by hand.
#include "daemon/sessions.h"

#include <algorithm>

#include "fake_engine.h"
#include "fake_qemu.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

constexpr const char* kUuid = "11111111-2222-3333-4444-555555555555";

std::string domain(const std::string& element, const std::string& commandline = "") {
  return std::string(
             "<domain type='kvm' id='1' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>vm1</name>"
             "<uuid>") +
         kUuid + "</uuid>" + (element.empty() ? "" : "<metadata>" + element + "</metadata>") + commandline +
         "</domain>";
}

std::string element(const std::string& attributes = "", const std::string& inside = "") {
  return "<p:pvsched xmlns:p='" + std::string(kMetadataUri) + "' " + attributes + ">" + inside + "</p:pvsched>";
}

const char* const kBroken = "<p:priority policy='fifo' max='120'/>";

class FakeHost final : public Host {
 public:
  bool connected() const override { return up; }
  std::string trouble() const override { return up ? "" : "away"; }
  void domain(const std::string& uuid, std::function<void(Result<DomainInfo>)> done) override {
    auto found = std::make_shared<Result<DomainInfo>>(Error("no domain", EIO));
    for (const auto& info : domains)
      if (info.uuid == uuid) *found = info;
    post([found, done] { done(*found); });
  }
  void running(std::function<void(Result<std::vector<DomainInfo>>)> done) override {
    std::vector<DomainInfo> active;
    for (const auto& info : domains)
      if (info.active) active.push_back(info);
    post([active, done] { done(active); });
  }
  Result<std::unique_ptr<Qmp>> monitor(const std::string&) override { return Error("not here", ENOTCONN); }

  bool up = true;
  std::vector<DomainInfo> domains;
};

}  // namespace

TEST_GROUP(Sessions) {
  struct State {
    TempDir dir;
    FakeQemu qemu{dir.path()};
    FakeEngine engine;
    FakeHost host;
    std::vector<std::string> said;
    std::vector<std::string> opened;  ///< socket of each connection
    Fd process_end;
    std::unique_ptr<Sessions> sessions;
  };
  State* s = nullptr;

  void setup() override {
    s = new State;
    s->qemu.boot(5000, 1);
    SessionsOptions options;
    options.schema = std::string(PVSCHED_SOURCE_ROOT) + "/xml-schemas/pvsched-domain-1.0.rng";
    options.proc = s->qemu.proc();
    options.libvirt_run = s->dir.path();
    options.tick_ms = 20;
    options.first_retry_ms = 5;
    options.status_ms = 200;
    options.log = [this](LogLevel, const std::string& sentence) { s->said.push_back(sentence); };
    s->sessions = std::make_unique<Sessions>(s->engine, options, &s->host);
    s->sessions->open_qmp = [this](const SessionTarget& target, unsigned) -> Result<std::unique_ptr<Qmp>> {
      s->opened.push_back(target.qmp_socket);
      if (s->qemu.lost) return Error("QMP is away", ECONNREFUSED);
      return std::unique_ptr<Qmp>(new FakeQmp(s->qemu));
    };
    s->sessions->open_pidfd = [this](pid_t) -> Result<Fd> {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return Error::system("pipe");
      s->process_end.reset(ends[1]);
      return Fd(ends[0]);
    };
  }
  void teardown() override {
    s->sessions.reset();
    run_for(5);
    delete s;
  }
  bool served() {
    return run_until([this] { return !s->engine.vms.empty() && !s->engine.vms.begin()->second.vcpus.empty(); });
  }
  bool heard(const std::string& part) const {
    return std::any_of(s->said.begin(), s->said.end(),
                       [&](const auto& line) { return line.find(part) != std::string::npos; });
  }
};

TEST(Sessions, prepare_refuses_only_what_is_required_and_wrong) {
  auto& sessions = *s->sessions;
  CHECK(sessions.hook("vm1", "prepare", domain("")).ok);
  CHECK(sessions.hook("vm1", "prepare", domain(element("required='yes'"))).ok);
  const auto warned = sessions.hook("vm1", "prepare", domain(element("", kBroken)));
  CHECK(warned.ok);
  CHECK_EQUAL(1, static_cast<int>(warned.warnings.size()));
  const auto refused = sessions.hook("vm1", "prepare", domain(element("required='yes'", kBroken)));
  CHECK_FALSE(refused.ok);
  CHECK(refused.message.find("max=\"120\"") != std::string::npos);
  CHECK(refused.message.find("virsh edit vm1") != std::string::npos);
  CHECK(sessions.hook("vm1", "prepare", "no xml").ok);
  CHECK_EQUAL(0, static_cast<int>(sessions.size()));
}

TEST(Sessions, started_opens_and_stopped_closes) {
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
  CHECK(served());
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
  s->sessions->hook("vm1", "stopped", domain(element()));
  CHECK_EQUAL(0, static_cast<int>(s->sessions->size()));
  CHECK(s->engine.vms.empty());
  s->sessions->hook("vm1", "release", domain(element()));
  s->sessions->hook("vm1", "migrate", domain(element()));
  s->sessions->hook("vm1", "unheard-of", "");
}

TEST(Sessions, no_element_or_a_disabled_one_means_no_session) {
  s->sessions->hook("vm1", "started", domain(""));
  s->sessions->hook("vm1", "started", domain(element("enabled='no'")));
  CHECK_EQUAL(0, static_cast<int>(s->sessions->size()));
  const auto answer = s->sessions->hook("vm1", "started", domain(element("required='yes'", kBroken)));
  CHECK(answer.ok);
  CHECK_EQUAL(1, static_cast<int>(answer.warnings.size()));
  CHECK_EQUAL(0, static_cast<int>(s->sessions->size()));
}

TEST(Sessions, the_vms_own_socket_is_found_in_its_xml) {
  s->sessions->hook("vm1", "started",
                    domain(element(),
                           "<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg "
                           "value='unix:/run/x/vm1.sock,server=on,wait=off'/></qemu:commandline>"));
  CHECK(served());
  STRCMP_EQUAL("/run/x/vm1.sock", s->opened.front().c_str());
}

TEST(Sessions, metadata_changes_are_read_again) {
  s->host.domains = {{kUuid, "vm1", domain(element()), true}};
  s->sessions->host_event(kUuid, DomainEvent::kStarted);
  CHECK(served());
  s->host.domains[0].xml = domain(element("", "<p:priority policy='fifo' max='11'/>"));
  s->sessions->host_event(kUuid, DomainEvent::kMetadata);
  CHECK(run_until([this] { return s->engine.vms.begin()->second.limits.rt_max == 11; }));

  s->host.domains[0].xml = domain(element("", kBroken));
  s->sessions->host_event(kUuid, DomainEvent::kMetadata);
  s->sessions->host_event(kUuid, DomainEvent::kMetadata);
  CHECK(run_until([this] { return heard("the limits stay as they were"); }));
  run_for(20);
  CHECK_EQUAL(11, s->engine.vms.begin()->second.limits.rt_max);
  CHECK_EQUAL(1, static_cast<int>(std::count_if(s->said.begin(), s->said.end(), [](const auto& line) {
                return line.find("max=\"120\"") != std::string::npos;
              })));

  s->host.domains[0].xml = domain("");
  s->sessions->host_event(kUuid, DomainEvent::kMetadata);
  CHECK(run_until([this] { return s->sessions->size() == 0; }));
  CHECK(s->engine.vms.empty());
}

TEST(Sessions, a_connect_takes_up_what_runs_and_lets_go_what_does_not) {
  std::string other = domain("");
  other.replace(other.find(kUuid), 36, "other");
  s->host.domains = {{kUuid, "vm1", domain(element()), true}, {"other", "vm2", other, true}};
  s->sessions->host_connected();
  CHECK(served());
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
  // One whose process is known to live is not closed for missing in the list.
  s->host.domains.clear();
  s->sessions->host_connected();
  run_for(30);
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
  s->sessions->hook("vm1", "stopped", domain(element()));
  s->qemu.lost = true;
  s->sessions->hook("vm1", "started", domain(element()));
  s->sessions->host_connected();
  CHECK(run_until([this] { return s->sessions->size() == 0; }));
}

TEST(Sessions, a_late_stopped_event_does_not_close_the_next_run) {
  s->host.domains = {{kUuid, "vm1", domain(element()), true}};
  s->sessions->hook("vm1", "started", domain(element()));
  s->sessions->host_event(kUuid, DomainEvent::kStopped);
  CHECK(served());
  s->sessions->host_event(kUuid, DomainEvent::kStopped);
  run_for(30);
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
}

TEST(Sessions, the_death_of_qemu_closes_and_a_start_at_once_opens_anew) {
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(served());
  s->process_end.reset();
  CHECK(run_until([this] { return s->sessions->size() == 0; }));
  CHECK(heard("QEMU has ended"));
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(served());
  s->process_end.reset();
  g_main_context_iteration(nullptr, FALSE);
  s->qemu.boot(9000, 1);
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(run_until([this] { return !s->engine.vms.empty() && s->engine.vms.begin()->second.pid == 9000; }));
  run_for(30);
  CHECK_EQUAL(1, static_cast<int>(s->sessions->size()));
}

TEST(Sessions, attach_and_detach) {
  Status outcome = Error("nothing yet");
  auto note = [&](const Status& status) { outcome = status; };
  s->sessions->attach("/run/q.sock", "plain", element("", "<p:priority policy='rr' max='9'/>"), note);
  CHECK(run_until([&] { return static_cast<bool>(outcome); }));
  CHECK_EQUAL(9, s->engine.vms.begin()->second.limits.rt_max);
  Json vms;
  s->sessions->status("plain", [&](Json list) { vms = std::move(list); });
  CHECK(run_until([&] { return !vms.is_null(); }));
  CHECK_EQUAL(1, static_cast<int>(vms.size()));
  STRCMP_EQUAL("qmp", vms[0]["kind"].get<std::string>().c_str());
  CHECK(ok(s->sessions->detach("/run/q.sock")));
  CHECK(s->engine.vms.empty());
  CHECK_FALSE(s->sessions->detach("/run/q.sock"));
}

TEST(Sessions, a_failed_attach_leaves_no_session) {
  Status outcome;
  auto note = [&](const Status& status) { outcome = status; };
  s->sessions->attach("/run/q.sock", "", element("", kBroken), note);
  CHECK_FALSE(outcome);
  s->qemu.lost = true;
  outcome = Status();
  s->sessions->attach("/run/q.sock", "", "", note);
  CHECK(run_until([&] { return !outcome; }));
  STRCMP_EQUAL("QMP is away", outcome.error().text().c_str());
  CHECK_EQUAL(0, static_cast<int>(s->sessions->size()));
}

TEST(Sessions, one_process_is_served_once) {
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(served());
  Status outcome;
  s->sessions->attach("/run/q.sock", "", "", [&](const Status& status) { outcome = status; });
  CHECK(run_until([&] { return !outcome; }));
  STRCMP_EQUAL("QEMU process 5000 is already served as VM 'vm1'", outcome.error().text().c_str());
}

TEST(Sessions, enable_and_disable_by_name_or_uuid) {
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(served());
  CHECK(ok(s->sessions->set_enabled("vm1", false)));
  CHECK_EQUAL(0, s->engine.vms.begin()->second.limits.enabled);
  CHECK(ok(s->sessions->set_enabled(kUuid, true)));
  CHECK_EQUAL(1, s->engine.vms.begin()->second.limits.enabled);
  CHECK_FALSE(s->sessions->set_enabled("vm2", true));
}

TEST(Sessions, closing_all_says_farewell_to_devices) {
  s->qemu.device = "pvsched0";
  s->sessions->hook("vm1", "started", domain(element()));
  CHECK(run_until([this] { return s->qemu.properties["policy"] == "latency:1"; }));
  run_for(20);
  bool done = false;
  s->sessions->close_all([&] { done = true; });
  CHECK(s->engine.vms.empty());
  CHECK(run_until([&] { return done; }));
  STRCMP_EQUAL("", s->qemu.properties["areas"].c_str());
}

TEST(Sessions, a_vm_is_served_by_the_policy_that_it_asks_for_while_that_behaves) {
  s->engine.loaded.push_back({"mine", "1.0", "", "/p/mine.bpf.o", "owner", ""});
  s->host.domains = {{kUuid, "vm1", domain(element("", "<p:policy name='mine'/>")), true}};
  s->sessions->host_connected();
  CHECK(served());
  auto policy = [this] { return s->engine.vms.begin()->second.policy; };
  STRCMP_EQUAL("mine", policy().c_str());
  s->sessions->watch_policies();
  STRCMP_EQUAL("mine", policy().c_str());
  s->engine.loaded.back().refused = "policy 'mine' was stopped: it is slow";
  s->engine.misbehaving = {s->engine.loaded.back().refused};
  s->sessions->watch_policies();
  STRCMP_EQUAL("latency", policy().c_str());
  CHECK(heard("policy 'mine' was stopped: it is slow; latency serves the VM"));
}

TEST(Sessions, a_policy_that_there_is_not_is_said_and_the_default_serves) {
  s->host.domains = {{kUuid, "vm1", domain(element("", "<p:policy name='nosuch'/>")), true}};
  s->sessions->host_connected();
  CHECK(served());
  STRCMP_EQUAL("latency", s->engine.vms.begin()->second.policy.c_str());
  CHECK(heard("policy 'nosuch' is not loaded; latency serves the VM"));
}
