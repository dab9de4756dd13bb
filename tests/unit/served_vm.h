// SPDX-License-Identifier: GPL-2.0-or-later
// ServedVm: Sessions without libvirt that serve one fake QEMU, process 5000, by a fake engine.
#pragma once

#include "daemon/sessions.h"
#include "fake_engine.h"
#include "fake_qemu.h"
#include "test_helpers.h"

// Last: it redefines new.
#include <CppUTest/TestHarness.h>

namespace pvsched {

class ServedVm {
 public:
  static constexpr pid_t kPid = 5000;

  /// `vcpus` threads from kPid + 1 on. `options`: what differs from these here.
  explicit ServedVm(unsigned vcpus, SessionsOptions options = {}) {
    qemu.boot(kPid, vcpus);
    options.schema = std::string(PVSCHED_SOURCE_ROOT) + "/xml-schemas/pvsched-domain-1.0.rng";
    options.proc = qemu.proc();
    options.libvirt_run = dir.path();
    options.tick_ms = 20;
    options.log = [this](LogLevel, const std::string& sentence) { said.push_back(sentence); };
    sessions = std::make_unique<Sessions>(engine, options, nullptr);
    sessions->open_qmp = [this](const SessionTarget&, unsigned) -> Result<std::unique_ptr<Qmp>> {
      return std::unique_ptr<Qmp>(new FakeQmp(qemu));
    };
    sessions->open_pidfd = [this](pid_t) -> Result<Fd> {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return Error::system("pipe");
      process_end_.reset(ends[1]);
      return Fd(ends[0]);
    };
  }
  ServedVm(const ServedVm&) = delete;
  ServedVm& operator=(const ServedVm&) = delete;
  ~ServedVm() {
    sessions.reset();
    run_for(5);  // what was posted last
  }

  /// Serves it as "vm1" with these elements, or changes them.
  void attach(const std::string& inside) {
    bool done = false;
    const std::string element = "<p:pvsched xmlns:p='" + std::string(kMetadataUri) + "'>" + inside + "</p:pvsched>";
    sessions->attach("/q", "vm1", element, [&](const Status& status) {
      if (!status) FAIL(status.error().text().c_str());
      done = true;
    });
    CHECK(run_until([&] { return done; }));
  }
  /// How many sentences have this in them.
  int times(const std::string& part) const {
    int count = 0;
    for (const auto& sentence : said) count += sentence.find(part) != std::string::npos ? 1 : 0;
    return count;
  }

  TempDir dir;
  FakeQemu qemu{dir.path()};
  FakeEngine engine;
  std::vector<std::string> said;
  std::unique_ptr<Sessions> sessions;

 private:
  Fd process_end_;
};

}  // namespace pvsched
