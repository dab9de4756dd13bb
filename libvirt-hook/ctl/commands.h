// SPDX-License-Identifier: GPL-2.0-or-later
// pvschedctl's commands. Each prints and returns the exit code.
#pragma once

#include <string>

#include "common/json.h"
#include "ctl/domain_edit.h"

namespace pvsched {

enum ExitCode {
  kExitOk = 0,
  kExitFault = 1,  ///< a fault was found, or it failed
  kExitUsage = 2,
  kExitUnreachable = 3,  ///< pvschedd
};

struct CtlOptions {
  std::string socket;
  std::string uri;
  std::string schema;
  unsigned timeout_s = 15;  ///< for the daemon's answer
};

int run_status(const CtlOptions& options, const std::string& domain, bool json);
/// Sends a request whose answer is only yes or no, and says `success` after a yes.
int run_simple(const CtlOptions& options, const Json& request, const std::string& success);
int run_attach(const CtlOptions& options, const std::string& path, const std::string& name,
               const std::string& limits_file);
int run_detach(const CtlOptions& options, const std::string& path);
/// A file, "-" for stdin, or a domain of libvirt.
int run_validate(const CtlOptions& options, const std::string& subject);

struct SetupRequest {
  std::string domain;
  SetupOptions edit;
  bool remove = false;
  bool yes = false;
  bool dry_run = false;
};
/// `element_file`: with the pvsched element to put in; empty: the default one.
int run_setup(const CtlOptions& options, SetupRequest request, const std::string& element_file);

int run_doctor(const CtlOptions& options, const std::string& plugin, bool json);

}  // namespace pvsched
