// SPDX-License-Identifier: GPL-2.0-or-later
// Runs every CppUTest group linked into the executable; exits non-zero on any failure.
#include <CppUTest/CommandLineTestRunner.h>
#include <CppUTest/TestRegistry.h>
#include <CppUTestExt/MockSupportPlugin.h>

int main(int argc, char** argv) {
  MockSupportPlugin mocks;
  TestRegistry::getCurrentRegistry()->installPlugin(&mocks);
  return CommandLineTestRunner::RunAllTests(argc, argv) != 0;
}
