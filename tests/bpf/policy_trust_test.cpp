// SPDX-License-Identifier: GPL-2.0-or-later
// Who may vouch for a policy object: root as its owner, or a key by a signature. All as root: owners are its to set.
#include "bpf/policy_trust.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include <openssl/evp.h>
#include <openssl/pem.h>

// Last: it redefines operator new.
#include <CppUTest/TestHarness.h>

using namespace pvsched;

namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Pair = std::unique_ptr<EVP_PKEY, FreeKey>;

Pair new_pair(const char* kind = "ED25519") { return Pair(EVP_PKEY_Q_keygen(nullptr, nullptr, kind)); }

Bytes signature_of(const Bytes& content, const Pair& pair) {
  Bytes out(64);
  std::size_t size = out.size();
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  LONGS_EQUAL(1, EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pair.get()));
  LONGS_EQUAL(1, EVP_DigestSign(context, out.data(), &size, content.data(), content.size()));
  EVP_MD_CTX_free(context);
  LONGS_EQUAL(64, size);
  return out;
}

}  // namespace

TEST_GROUP(PolicyTrust) {
  const Bytes content{1, 2, 3, 4};
  std::string dir, keys, object;
  TrustRules rules;
  Pair alice = new_pair(), bob = new_pair();

  void setup() override {
    char name[] = "/tmp/pvsched-trust-test.XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    dir = name;
    keys = rules.keys = dir + "/keys";
    CHECK_EQUAL(0, mkdir(keys.c_str(), 0755));
    object = put("x.bpf.o", content);
  }
  void teardown() override { CHECK_EQUAL(0, std::system(("rm -r " + dir).c_str())); }

  std::string put(const std::string& name, const Bytes& bytes) {
    const std::string path = dir + "/" + name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    CHECK_EQUAL(0, chmod(path.c_str(), 0644));
    return path;
  }
  std::string put_key(const char* name, const Pair& pair) {
    const std::string path = keys + "/" + name;
    std::FILE* file = std::fopen(path.c_str(), "w");
    LONGS_EQUAL(1, PEM_write_PUBKEY(file, pair.get()));
    std::fclose(file);
    CHECK_EQUAL(0, chmod(path.c_str(), 0644));
    return path;
  }
  void sign(const Pair& pair) { put("x.bpf.o.sig", signature_of(content, pair)); }
  // Who vouches for the object, or why it is refused.
  std::string verdict() {
    auto read = read_trusted(object, rules);
    if (read) CHECK(read->image == content);
    return read ? "by " + read->by : read.error().text();
  }
  void is(const std::string& expected) { STRCMP_EQUAL(expected.c_str(), verdict().c_str()); }
  // A file or folder that others may write to, or that is somebody's, is none of root's.
  bool root() {
    if (geteuid() != 0) std::printf("SKIP: owners are root's to set\n");
    return geteuid() == 0;
  }
};

TEST(PolicyTrust, roots_own_is_trusted) {
  if (root()) is("by owner");
}

TEST(PolicyTrust, what_others_can_write_to_is_not) {
  if (!root()) return;
  const std::string unsigned_too = ", and there is no signature " + object + ".sig";
  CHECK_EQUAL(0, chmod(object.c_str(), 0666));
  is(object + " can be written to by others than root" + unsigned_too);
  CHECK_EQUAL(0, chmod(object.c_str(), 0644));
  CHECK_EQUAL(0, chown(object.c_str(), 1234, 0));
  is(object + " belongs to user 1234: allowed is root" + unsigned_too);
  CHECK_EQUAL(0, chown(object.c_str(), 0, 0));
  CHECK_EQUAL(0, chmod(dir.c_str(), 0777));
  is("the folder of " + object + " can be written to by others than root" + unsigned_too);
}

TEST(PolicyTrust, a_good_signature_is_enough) {
  if (!root()) return;
  put_key("alice.pem", alice);
  put_key("bob.pem", bob);
  sign(bob);
  CHECK_EQUAL(0, chown(object.c_str(), 1234, 1234));
  CHECK_EQUAL(0, chmod(dir.c_str(), 0777));
  CHECK_EQUAL(0, chmod(object.c_str(), 0666));
  is("by key bob");
}

TEST(PolicyTrust, a_signature_can_be_required) {
  if (!root()) return;
  rules.signature_required = true;
  is(object + " has no signature: the configuration says signed=required");
  put_key("alice.pem", alice);
  sign(alice);
  is("by key alice");
}

TEST(PolicyTrust, a_signature_that_is_there_must_be_good) {
  if (!root()) return;
  put_key("alice.pem", alice);
  const std::string refusal = object + ".sig is not what any key in " + keys +
                              " (alice) gives for this object: one of them has been changed, or it was signed with "
                              "another key";
  sign(bob);
  is(refusal);
  sign(alice);
  is("by key alice");
  put("x.bpf.o", {1, 2, 3, 5});
  is(refusal);
  put("x.bpf.o", content);
  Bytes changed = signature_of(content, alice);
  changed[63] ^= 1;
  put("x.bpf.o.sig", changed);
  is(refusal);
  put("x.bpf.o.sig", {});
  is(object + ".sig has 0 bytes: an Ed25519 signature has 64");
  put("x.bpf.o.sig", Bytes(63));
  is(object + ".sig has 63 bytes: an Ed25519 signature has 64");
  put("x.bpf.o.sig", Bytes(65));
  is(object + ".sig has 65 bytes: an Ed25519 signature has 64");
}

TEST(PolicyTrust, keys_are_roots_and_of_the_right_kind) {
  if (!root()) return;
  const std::string unchecked = object + ".sig cannot be checked: there is no key in '" + keys + "'";
  sign(alice);
  is(unchecked);
  const std::string key = put_key("alice.pem", alice);
  CHECK_EQUAL(0, chmod(key.c_str(), 0664));
  is(unchecked + "; not used: " + key + " can be written to by others than root");
  CHECK_EQUAL(0, chmod(key.c_str(), 0644));
  CHECK_EQUAL(0, chown(key.c_str(), 1234, 0));
  is(unchecked + "; not used: " + key + " belongs to user 1234: allowed is root");
  CHECK_EQUAL(0, chown(key.c_str(), 0, 0));
  CHECK_EQUAL(0, chmod(keys.c_str(), 0775));
  is(unchecked + "; not used: the folder of " + key + " can be written to by others than root");
  CHECK_EQUAL(0, chmod(keys.c_str(), 0755));
  is("by key alice");
  CHECK_EQUAL(0, rename(key.c_str(), (dir + "/alice.pem").c_str()));
  CHECK_EQUAL(0, symlink((dir + "/alice.pem").c_str(), key.c_str()));
  is(unchecked + "; not used: " + key + " is a symbolic link: allowed is the file itself");
  CHECK_EQUAL(0, unlink(key.c_str()));
  put_key("alice.pem", new_pair("X25519"));
  is(unchecked + "; not used: " + key + " is no Ed25519 key");
  put("keys/alice.pem", {'n', 'o'});
  is(unchecked + "; not used: " + key + " holds no public key in PEM form");
  LONGS_EQUAL(1, faults_of_keys(keys).size());
  LONGS_EQUAL(0, faults_of_keys("/nowhere").size());
}

TEST(PolicyTrust, a_bad_key_does_not_hide_a_good_one) {
  if (!root()) return;
  put_key("bob.pem", bob);
  put("keys/alice.pem", {'n', 'o'});
  put("keys/readme", {'n', 'o'});
  sign(bob);
  is("by key bob");
}

TEST(PolicyTrust, only_a_regular_file_is_read) {
  if (!root()) return;
  const std::string real = put("real.bpf.o", content);
  CHECK_EQUAL(0, unlink(object.c_str()));
  CHECK_EQUAL(0, symlink(real.c_str(), object.c_str()));
  is(object + " is a symbolic link: allowed is the file itself");
  CHECK_EQUAL(0, unlink(object.c_str()));
  CHECK_EQUAL(0, mkfifo(object.c_str(), 0600));
  is(object + " is no regular file");
  CHECK_EQUAL(0, unlink(object.c_str()));
  is("cannot open " + object + ": No such file or directory");
  put("x.bpf.o", Bytes((1 << 20) + 1));
  is(object + " is larger than 1024 KiB");
  put("x.bpf.o", content);
  CHECK_EQUAL(0, symlink(real.c_str(), (object + ".sig").c_str()));
  is(object + ".sig is a symbolic link: allowed is the file itself");
}
