// SPDX-License-Identifier: GPL-2.0-or-later
// ControlServer: the daemon's UNIX socket. A client sends one line of JSON and gets one line of JSON, as often as it
// likes. Only root (and the user the daemon itself runs as) is heard.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/fd.h"
#include "common/json.h"
#include "common/line_buffer.h"
#include "common/loop.h"
#include "common/result.h"

namespace pvsched {

struct ControlOptions {
  std::string path;
  std::size_t max_line = std::size_t{20} << 20;  ///< a hook sends a whole domain XML
  std::size_t max_clients = 64;
  unsigned timeout_ms = 10000;  ///< for a request to be whole, and for a reply to be taken
};

class ControlServer {
 public:
  using Reply = std::function<void(Json)>;
  /// Answers a request, at once or later; the client may be gone by then.
  using Handler = std::function<void(const Json& request, Reply reply)>;

  /// Binds the socket, mode 0600; a file left over there is replaced. Errors: as bind and listen.
  static Result<std::unique_ptr<ControlServer>> listen(const ControlOptions& options, Handler handler);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  /// Closes every client and removes the socket's file.
  ~ControlServer();

 private:
  struct Client {
    Fd fd;
    LineBuffer input;
    std::string output;
    bool busy = false;  ///< a request waits for its answer; nothing more is read until it is taken
    bool ended = false;  ///< the client will send no more
    Source read;
    Source write;
    Source timeout;
  };

  ControlServer(ControlOptions options, Handler handler, Fd socket);
  void accept_client();
  void watch(unsigned id);
  bool readable(unsigned id);
  bool serve(unsigned id);
  void go_on(unsigned id);
  void answer(unsigned id, const Json& reply);
  void flush(unsigned id);
  void arm_timeout(unsigned id);

  ControlOptions options_;
  Handler handler_;
  Fd socket_;
  Source accept_;
  std::map<unsigned, Client> clients_;
  unsigned next_id_ = 1;
  std::shared_ptr<ControlServer*> self_;  ///< expires with this object
};

/// {"ok":false,"message":...}
Json failure(const std::string& message);

}  // namespace pvsched
