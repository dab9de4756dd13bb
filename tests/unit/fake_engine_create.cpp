// SPDX-License-Identifier: GPL-2.0-or-later
// Makes pvschedd run with an engine that boosts nothing: for tests of all the rest without privileges.
#include "fake_engine.h"

namespace pvsched {

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions&) { return std::unique_ptr<Engine>(new FakeEngine); }

}  // namespace pvsched
