// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <cstdio>

#include <CLI/CLI.hpp>

#include "daemon/app.h"
#include "paths.h"

namespace {

struct Arguments {
  std::string config = PVSCHED_CONFIG;
  bool config_given = false;
  bool check = false;
  bool no_libvirt = false;
  std::string socket;
  std::string run_dir;
};

pvsched::ConfigReading read(const Arguments& arguments) {
  auto reading = pvsched::load_config(arguments.config, pvsched::default_config(), arguments.config_given);
  if (!arguments.run_dir.empty()) reading.config.run_dir = arguments.run_dir;
  if (!arguments.socket.empty()) reading.config.socket = arguments.socket;
  if (arguments.no_libvirt) reading.config.libvirt_uri = "none";
  return reading;
}

int run(const Arguments& arguments) {
  auto reading = read(arguments);
  for (const auto& fault : reading.faults) std::fprintf(stderr, "pvschedd: %s\n", fault.c_str());
  if (!reading.faults.empty()) return 1;
  if (arguments.check) {
    std::printf("%s is in order\n", arguments.config.c_str());
    return 0;
  }
  if (auto started = pvsched::start_log(reading.config.log_target, reading.config.log_level); !started) {
    std::fprintf(stderr, "pvschedd: %s\n", started.error().text().c_str());
    return 1;
  }
  pvsched::App app(reading.config, [arguments]() -> pvsched::Result<pvsched::Config> {
    auto fresh = read(arguments);
    if (fresh.faults.empty()) return fresh.config;
    return pvsched::Error("configuration not taken: " + fresh.faults.front(), EINVAL);
  });
  auto done = app.run();
  if (!done) pvsched::log_line(pvsched::LogLevel::kError, "pvschedd does not start: " + done.error().text());
  return done ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App cli("pvschedd gives vCPU threads priority while their guest needs it");
  bool foreground = true;
  auto* config = cli.add_option("--config", arguments.config, "configuration file")->capture_default_str();
  cli.add_flag("--check-config", arguments.check, "check the configuration and exit: 1 where it has faults");
  cli.add_option("--socket", arguments.socket, "control socket");
  cli.add_option("--run-dir", arguments.run_dir, "run directory");
  cli.add_flag("--no-libvirt", arguments.no_libvirt, "serve hooks and attached VMs without a connection to libvirt");
  cli.add_flag("--foreground", foreground, "stay in the foreground: always so, kept for scripts");
  cli.set_version_flag("--version", PVSCHED_VERSION_TEXT);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : 2;
  }
  arguments.config_given = config->count() > 0;
  const int code = run(arguments);
  std::fflush(nullptr);
  ::_exit(code);  // a thread may still wait in libvirt, for a libvirtd that hangs: nobody waits for it
}
