// SPDX-License-Identifier: GPL-2.0-or-later
// `pvschedctl doctor` on the real host.
#include "ctl/doctor.h"

#include <glib.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>

#include "common/fd.h"
#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/libvirt_domain.h"
#include "ctl/status_view.h"
#include "paths.h"

namespace pvsched {
namespace {

int make_small_map() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 8;
  attributes.max_entries = 1;
  const long fd = ::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof(attributes));
  if (fd < 0) return errno;
  Fd closed(static_cast<int>(fd));
  return 0;
}

Result<std::string> ask_qemu() {
  char* output = nullptr;
  GError* error = nullptr;
  if (g_spawn_command_line_sync("qemu-system-x86_64 --version", &output, nullptr, nullptr, &error) == FALSE) {
    Error failure(std::string("QEMU's version cannot be asked: ") + error->message);
    g_error_free(error);
    return failure;
  }
  std::string text = output != nullptr ? output : "";
  g_free(output);
  return text;
}

}  // namespace

int run_doctor(const CtlOptions& options, const std::string& plugin, bool json) {
  DoctorEnv env;
  utsname host{};
  ::uname(&host);
  env.kernel_release = host.release;
  env.plugin = plugin;
  env.apparmor_rules = PVSCHED_APPARMOR_RULES;
  env.try_bpf = make_small_map;
  env.qemu_version = ask_qemu;
  env.daemon = [&] { return ask_daemon(options.socket, {{"op", "status"}}, 5000); };
  env.libvirt = [&]() -> Status {
    auto connection = connect_libvirt(options.uri);
    if (!connection) return connection.error();
    return {};
  };
  const auto findings = examine(env);
  bool bad = false;
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const auto& finding : findings) {
    bad |= finding.verdict == Verdict::kBad;
    const std::string verdict = verdict_name(finding.verdict);
    list.push_back({{"check", finding.check}, {"verdict", verdict}, {"text", finding.text}, {"mend", finding.mend}});
    rows.push_back({finding.verdict == Verdict::kOk ? "OK" : verdict, finding.check, finding.text});
    if (!finding.mend.empty()) rows.push_back({"", "", "-> " + finding.mend});
  }
  if (json)
    fmt::print("{}\n", Json({{"ok", !bad}, {"findings", list}}).dump(2));
  else
    fmt::print("{}", show_table(rows, ""));
  return bad ? kExitFault : kExitOk;
}

}  // namespace pvsched
