// SPDX-License-Identifier: GPL-2.0-or-later
// Session: every change of a VM, and what the engine is told of it.
#include "daemon/session.h"

#include <unistd.h>

#include <algorithm>

#include "fake_engine.h"
#include "fake_qemu.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {
constexpr pid_t kPid = 5000;
}

TEST_GROUP(Session) {
  TempDir* dir = nullptr;
  FakeQemu* qemu = nullptr;
  FakeEngine* engine = nullptr;
  Session* session = nullptr;
  std::vector<std::string>* said = nullptr;
  SessionEnv* env = nullptr;
  DomainConfig* config = nullptr;
  FakeQmp* qmp = nullptr;  // the present one
  Fd* process_end = nullptr;
  int opens = 0;
  int ends = 0;

  void setup() override {
    dir = new TempDir;
    qemu = new FakeQemu(dir->path());
    engine = new FakeEngine;
    said = new std::vector<std::string>;
    config = new DomainConfig;
    process_end = new Fd;
    opens = ends = 0;
    env = new SessionEnv;
    env->engine = engine;
    env->proc = qemu->proc();
    env->libvirt_run = dir->path();
    env->tick_ms = 20;
    env->first_retry_ms = 5;
    env->open_qmp = [this](const SessionTarget&, unsigned) -> Result<std::unique_ptr<Qmp>> {
      ++opens;
      if (qemu->lost) return Error("QMP is away", ECONNREFUSED);
      auto fresh = std::make_unique<FakeQmp>(*qemu);
      qmp = fresh.get();
      return std::unique_ptr<Qmp>(std::move(fresh));
    };
    env->open_pidfd = [this](pid_t) -> Result<Fd> {
      int ends_of_pipe[2];
      if (::pipe2(ends_of_pipe, O_CLOEXEC) != 0) return Error::system("pipe");
      process_end->reset(ends_of_pipe[1]);
      return Fd(ends_of_pipe[0]);
    };
    env->ended = [this](const std::string&) { ++ends; };
    env->log = [this](LogLevel, const std::string& sentence) { said->push_back(sentence); };
    qemu->boot(kPid, 2);
  }
  void teardown() override {
    delete session;
    session = nullptr;
    run_for(5);
    delete env;
    delete config;
    delete said;
    delete engine;
    delete qemu;
    delete dir;
    delete process_end;
  }

  void start() {
    session = new Session(*env, {"uuid", "vm1", "", false}, *config);
    session->look();
  }
  void open() {
    start();
    CHECK(run_until([this] { return session->state() == SessionState::kActive; }));
  }
  FakeEngine::Vm& vm() {
    CHECK_EQUAL(1, static_cast<int>(engine->vms.size()));
    return engine->vms.begin()->second;
  }
  bool heard(const std::string& part) const {
    return std::any_of(said->begin(), said->end(), [&](const auto& s) { return s.find(part) != std::string::npos; });
  }
  int times(const std::string& command) const {
    return static_cast<int>(std::count(qemu->commands.begin(), qemu->commands.end(), command));
  }
};

TEST(Session, opens_agentless_with_all_vcpus) {
  config->limits.rt_max = 42;
  open();
  CHECK_EQUAL(kPid, vm().pid);
  CHECK_EQUAL(42, vm().limits.rt_max);
  CHECK_EQUAL(1, vm().limits.enabled);
  CHECK_EQUAL(2, static_cast<int>(vm().vcpus.size()));
  CHECK_EQUAL(kPid + 2, vm().vcpus[1].tid);
  CHECK_EQUAL(2, static_cast<int>(vm().vcpus[1].apic_id));
  CHECK_EQUAL(1001, static_cast<int>(vm().vcpus[1].start_time));
  CHECK_EQUAL(0, static_cast<int>(vm().slots));
  CHECK(heard("VM 'vm1': session open: QEMU process 5000, 2 vCPUs, agentless"));
}

TEST(Session, the_index_serves_where_there_is_no_apic_id) {
  qemu->has_apic = false;
  open();
  CHECK_EQUAL(1, static_cast<int>(vm().vcpus[1].apic_id));
}

TEST(Session, ticks_change_nothing_where_nothing_changed) {
  open();
  const auto before = engine->calls.size();
  const int asked = times("query-cpus-fast");
  CHECK(run_until([&] { return times("query-cpus-fast") >= asked + 3; }));
  CHECK_EQUAL(before, engine->calls.size());
  CHECK_EQUAL(1, opens);
}

TEST(Session, the_device_gets_areas_and_policy) {
  qemu->device = "pvsched0";
  open();
  CHECK_EQUAL(4, static_cast<int>(vm().slots));
  CHECK(qemu->passed.contains("pvsched-guest/1"));
  CHECK(qemu->passed.contains("pvsched-host/1"));
  STRCMP_EQUAL("pvsched-guest:pvsched-host", qemu->properties["areas"].c_str());
  STRCMP_EQUAL("latency:1", qemu->properties["policy"].c_str());
  CHECK(heard("device /machine/peripheral/pvsched0"));
}

TEST(Session, a_device_plugged_later_is_noticed_and_its_end_too) {
  open();
  qemu->device = "hot";
  CHECK(run_until([this] { return heard("has its areas"); }));
  CHECK_EQUAL(4, static_cast<int>(vm().slots));
  qemu->device.clear();
  CHECK(run_until([this] { return heard("was unplugged, served agentless"); }));
  CHECK_EQUAL(0, static_cast<int>(vm().slots));
  CHECK_EQUAL(1, engine->count("drop_areas"));
  qemu->device = "again";
  CHECK(run_until([this] { return vm().slots == 4; }));
}

TEST(Session, device_deleted_drops_the_areas_at_once) {
  env->tick_ms = 0;
  qemu->device = "pvsched0";
  open();
  qemu->device.clear();
  qmp->event("DEVICE_DELETED", {{"path", "/machine/peripheral/pvsched0"}});
  CHECK_EQUAL(0, static_cast<int>(vm().slots));
  run_for(20);
}

TEST(Session, a_device_that_refuses_leaves_the_vm_agentless) {
  qemu->device = "pvsched0";
  qemu->refuse = {"qom-set policy"};
  open();
  CHECK_EQUAL(0, static_cast<int>(vm().slots));
  CHECK_EQUAL(2, static_cast<int>(vm().vcpus.size()));
  STRCMP_EQUAL("", qemu->properties["areas"].c_str());
  CHECK(heard("does not get its areas, served agentless"));
  qemu->refuse.clear();
  CHECK(run_until([this] { return vm().slots == 4; }));
}

TEST(Session, slots_out_of_range_are_not_believed) {
  qemu->device = "pvsched0";
  for (const Json& slots : {Json(0), Json(513), Json(-1), Json("4"), Json(1ull << 40)}) {
    qemu->slots = slots;
    open();
    CHECK_EQUAL(0, engine->count("create_areas 4"));
    CHECK_EQUAL(0, static_cast<int>(vm().slots));
    CHECK(heard("allowed is 1 to 512"));
    delete session;
    session = nullptr;
  }
}

TEST(Session, vcpu_hot_plug_and_unplug) {
  open();
  qemu->add_cpu(2, kPid + 9, kPid);
  CHECK(run_until([this] { return vm().vcpus.size() == 3; }));
  CHECK(heard("vCPU 2 was plugged"));
  qemu->cpus.erase(2);
  CHECK(run_until([this] { return vm().vcpus.size() == 2; }));
  CHECK(heard("vCPU 2 was unplugged"));
}

TEST(Session, a_vcpu_with_another_thread_is_registered_anew) {
  open();
  qemu->add_cpu(1, kPid + 30, kPid);
  CHECK(run_until([this] { return vm().vcpus[1].tid == kPid + 30; }));
  CHECK_EQUAL(1, engine->count("remove_vcpu 1"));
}

TEST(Session, metadata_changes_limits_and_vcpus) {
  open();
  config->limits.rt_max = 7;
  config->vcpus[1] = false;
  session->configure(*config);
  CHECK_EQUAL(7, vm().limits.rt_max);
  CHECK_EQUAL(1, static_cast<int>(vm().vcpus.size()));
  config->vcpus[1] = true;
  session->configure(*config);
  CHECK(run_until([this] { return vm().vcpus.size() == 2; }));
}

TEST(Session, the_administrators_switch_is_on_top_of_the_metadata) {
  open();
  session->set_enabled(false);
  CHECK_EQUAL(0, vm().limits.enabled);
  session->configure(*config);
  CHECK_EQUAL(0, vm().limits.enabled);
  session->set_enabled(true);
  CHECK_EQUAL(1, vm().limits.enabled);
}

TEST(Session, a_failing_qmp_is_tried_again_and_said_once) {
  qemu->lost = true;
  start();
  CHECK(run_until([this] { return opens >= 3; }));
  CHECK(session->state() == SessionState::kRetrying);
  CHECK_EQUAL(1, static_cast<int>(said->size()));
  STRCMP_EQUAL("VM 'vm1': QMP is away; will be tried again", said->front().c_str());
  qemu->lost = false;
  CHECK(run_until([this] { return session->state() == SessionState::kActive; }));
}

TEST(Session, vcpus_stay_registered_while_qmp_is_away) {
  open();
  qemu->lost = true;
  CHECK(run_until([this] { return session->state() == SessionState::kRetrying; }));
  CHECK_EQUAL(2, static_cast<int>(vm().vcpus.size()));
  qemu->lost = false;
  CHECK(run_until([this] { return session->state() == SessionState::kActive; }));
  CHECK_EQUAL(1, engine->count("add_vm"));
  CHECK_EQUAL(1, engine->count("add_vcpu 0"));
}

TEST(Session, threads_of_several_processes_are_refused) {
  qemu->add_cpu(1, 7777, 6000);
  start();
  CHECK(run_until([this] { return heard("several processes"); }));
  CHECK(engine->vms.empty());
}

TEST(Session, threads_of_another_process_than_libvirts_are_refused) {
  std::ofstream(dir->path() + "/vm1.pid") << "4242\n";
  start();
  CHECK(run_until([this] {
    return heard("QEMU names vCPU threads of process 5000, but by libvirt's pid file it is process 4242");
  }));
  CHECK(engine->vms.empty());
}

TEST(Session, a_process_served_elsewhere_is_refused) {
  env->claim = [](const std::string&, pid_t) -> Status { return Error("already served", EEXIST); };
  start();
  CHECK(run_until([this] { return heard("already served"); }));
  CHECK(engine->vms.empty());
}

TEST(Session, a_list_of_vcpus_that_cannot_be_is_refused) {
  const char* const lists[] = {
      "[]",
      "{}",
      "[1]",
      R"([{"cpu-index":0,"thread-id":0,"qom-path":"/x"}])",
      R"([{"cpu-index":-1,"thread-id":5001,"qom-path":"/x"}])",
      R"([{"cpu-index":512,"thread-id":5001,"qom-path":"/x"}])",
      R"([{"cpu-index":0,"thread-id":99999999999,"qom-path":"/x"}])",
      R"([{"cpu-index":0,"thread-id":5001}])",
      R"([{"cpu-index":0,"thread-id":5001,"qom-path":"/x"},{"cpu-index":0,"thread-id":5002,"qom-path":"/y"}])"};
  for (const char* list : lists) {
    said->clear();
    qemu->cpus_reply = Json::parse(list);
    start();
    CHECK_TEXT(run_until([this] { return heard("query-cpus-fast"); }), list);
    CHECK(engine->vms.empty());
    delete session;
    session = nullptr;
  }
}

TEST(Session, a_vcpu_the_engine_refuses_is_said_once_and_tried_again) {
  engine->refuse_vcpu = "thread has gone";
  open();
  CHECK(run_until([this] { return engine->count("add_vcpu 0") >= 3; }));
  CHECK_EQUAL(1, static_cast<int>(std::count_if(said->begin(), said->end(), [](const auto& s) {
                return s.find("vCPU 0 stays as it is: thread has gone") != std::string::npos;
              })));
  engine->refuse_vcpu.clear();
  CHECK(run_until([this] { return vm().vcpus.size() == 2; }));
}

TEST(Session, the_end_of_the_process_is_told) {
  open();
  process_end->reset();
  CHECK(run_until([this] { return ends == 1; }));
  CHECK(session->ended());
}

TEST(Session, another_process_behind_the_same_vm_starts_afresh) {
  open();
  qemu->boot(8000, 1);
  CHECK(run_until([this] { return session->pid() == 8000 && vm().vcpus.size() == 1; }));
  CHECK_EQUAL(1, engine->count("remove_vm"));
  CHECK_EQUAL(8000, vm().pid);
}

TEST(Session, closing_orderly_restores_first_and_tells_the_device) {
  qemu->device = "pvsched0";
  open();
  bool done = false;
  session->close(true, [&] { done = true; });
  CHECK(engine->vms.empty());
  delete session;
  session = nullptr;
  CHECK(run_until([&] { return done; }));
  STRCMP_EQUAL("", qemu->properties["areas"].c_str());
  STRCMP_EQUAL("", qemu->properties["policy"].c_str());
}

TEST(Session, closing_in_the_middle_of_a_pass_leaves_nothing) {
  qemu->device = "pvsched0";
  for (std::size_t commands = 1; commands < 12; ++commands) {
    qemu->commands.clear();
    start();
    run_until([&] { return qemu->commands.size() >= commands; });
    delete session;
    session = nullptr;
    CHECK(engine->vms.empty());
  }
}

TEST(Session, a_fair_mode_is_said_with_its_reason) {
  engine->rt_mode = RtMode::kFair;
  engine->rt_reason = "the kernel refuses";
  open();
  CHECK(heard("fair boosts instead of real-time ones: the kernel refuses"));
}

TEST(Session, status_tells_vcpus_device_and_limits) {
  qemu->device = "pvsched0";
  config->vcpus[1] = false;
  open();
  bool fresh = false;
  session->refresh_details([&] { fresh = true; });
  CHECK(run_until([&] { return fresh; }));
  const Json status = session->status();
  STRCMP_EQUAL("active", status["state"].get<std::string>().c_str());
  STRCMP_EQUAL("bar", status["device"]["transport"].get<std::string>().c_str());
  CHECK_EQUAL(15, status["device"]["driver-status"].get<int>());
  CHECK_EQUAL(2, static_cast<int>(status["vcpus"].size()));
  CHECK(status["vcpus"][0]["registered"] == true);
  CHECK(status["vcpus"][1]["registered"] == false);
  CHECK_EQUAL(PVS_HIST_BUCKETS, static_cast<int>(status["vcpus"][0]["stats"]["wake_to_run"]["log2_ns"].size()));
  CHECK_EQUAL(50, status["limits"]["rt_max"].get<int>());
}
