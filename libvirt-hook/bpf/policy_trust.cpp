// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_trust.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/fd.h"

namespace pvsched {
namespace {

constexpr std::size_t kMaxImage = 1 << 20;
constexpr std::size_t kMaxSmall = 16 << 10;  // a key, a signature
constexpr std::size_t kSignature = 64;

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* at) const {
    Free(at);
  }
};
using PublicKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

struct Key {
  std::string name;  ///< of its file, without .pem
  PublicKey key;
};

struct Keys {
  std::vector<Key> usable;  ///< by name
  std::vector<std::string> faults;
};

Status check_owner(const struct stat& file, const std::string& what) {
  if (file.st_uid != 0) return Error(what + " belongs to user " + std::to_string(file.st_uid) + ": allowed is root");
  if (file.st_mode & (S_IWGRP | S_IWOTH)) return Error(what + " can be written to by others than root");
  return {};
}

// A file, by its folder: what is said of the two holds for what is read, however paths change meanwhile.
struct Place {
  Fd folder;
  std::string path;  ///< for sentences
  std::string name;  ///< in the folder
};

Result<Place> place_of(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Place place{Fd(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), path,
              slash == std::string::npos ? path : path.substr(slash + 1)};
  if (!place.folder) return Error::system("cannot open the folder of " + path);
  return place;
}

Result<Fd> open_in(const Place& place) {
  Fd fd(openat(place.folder.get(), place.name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (!fd && errno == ELOOP) return Error(place.path + " is a symbolic link: allowed is the file itself", ELOOP);
  if (!fd) return Error::system("cannot open " + place.path);
  struct stat file;
  if (fstat(fd.get(), &file)) return Error::system("cannot look at " + place.path);
  if (!S_ISREG(file.st_mode)) return Error(place.path + " is no regular file");
  return fd;
}

Status check_owner(const Place& place, const Fd& fd) {
  struct stat file, folder;
  if (fstat(fd.get(), &file) || fstat(place.folder.get(), &folder))
    return Error::system("cannot look at " + place.path);
  if (auto status = check_owner(file, place.path); !status) return status.error();
  return check_owner(folder, "the folder of " + place.path);
}

Result<Bytes> read_all(const Fd& fd, const std::string& path, std::size_t most) {
  Bytes content(most + 1);
  std::size_t size = 0;
  while (size < content.size()) {
    ssize_t got = read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0) return Error::system("cannot read " + path);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > most) return Error(path + " is larger than " + std::to_string(most >> 10) + " KiB");
  content.resize(size);
  content.shrink_to_fit();
  return content;
}

Result<PublicKey> read_key(const Place& place) {
  auto fd = open_in(place);
  if (!fd) return fd.error();
  if (auto status = check_owner(place, *fd); !status) return status.error();
  auto text = read_all(*fd, place.path, kMaxSmall);
  if (!text) return text.error();
  std::unique_ptr<BIO, Freed<BIO_free_all>> bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())));
  auto no_password = [](char*, int, int, void*) { return 0; };  // else OpenSSL asks for it at the terminal
  PublicKey key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr) : nullptr);
  if (!key) return Error(place.path + " holds no public key in PEM form");
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) return Error(place.path + " is no Ed25519 key");
  return key;
}

Keys read_keys(const std::string& folder) {
  Keys keys;
  std::unique_ptr<DIR, Freed<closedir>> dir(folder.empty() ? nullptr : opendir(folder.c_str()));
  if (!dir) {
    if (!folder.empty() && errno != ENOENT) keys.faults.push_back(Error::system("cannot read " + folder).text());
    return keys;
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir.get()))
    if (std::string_view(entry->d_name).ends_with(".pem")) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    auto place = place_of(folder + "/" + name);
    auto key = place ? read_key(*place) : Result<PublicKey>(place.error());
    if (key)
      keys.usable.push_back({name.substr(0, name.size() - 4), key.take()});
    else
      keys.faults.push_back(key.error().text());
  }
  return keys;
}

bool signed_by(const Key& key, const Bytes& signature, const Bytes& image) {
  std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  return context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), image.data(), image.size()) == 1;
}

// The name of the key that has signed the image.
Result<std::string> check_signature(const std::string& path, const Bytes& signature, const Bytes& image,
                                    const std::string& folder) {
  if (signature.size() != kSignature)
    return Error(path + " has " + std::to_string(signature.size()) + " bytes: an Ed25519 signature has " +
                 std::to_string(kSignature));
  const Keys keys = read_keys(folder);
  std::string tried, unused;
  for (const Key& key : keys.usable) {
    if (signed_by(key, signature, image)) return key.name;
    tried += (tried.empty() ? "" : ", ") + key.name;
  }
  for (const std::string& fault : keys.faults) unused += "; not used: " + fault;
  if (tried.empty()) return Error(path + " cannot be checked: there is no key in '" + folder + "'" + unused);
  return Error(path + " is not what any key in " + folder + " (" + tried +
               ") gives for this object: one of them has been changed, or it was signed with another key" + unused);
}

}  // namespace

Result<TrustedImage> read_trusted(const std::string& path, const TrustRules& rules) {
  auto place = place_of(path);
  if (!place) return place.error();
  auto fd = open_in(*place);
  if (!fd) return fd.error();
  Place beside{Fd(fcntl(place->folder.get(), F_DUPFD_CLOEXEC, 0)), path + ".sig", place->name + ".sig"};
  auto signature_fd = open_in(beside);
  if (!signature_fd && signature_fd.error().code() != ENOENT) return signature_fd.error();
  if (!signature_fd) {
    if (rules.signature_required) return Error(path + " has no signature: the configuration says signed=required");
    if (auto status = check_owner(*place, *fd); !status)
      return Error(status.error().text() + ", and there is no signature " + beside.path);
  }
  auto image = read_all(*fd, path, kMaxImage);
  if (!image) return image.error();
  if (!signature_fd) return TrustedImage{image.take(), "owner"};
  auto signature = read_all(*signature_fd, beside.path, kMaxSmall);
  if (!signature) return signature.error();
  auto key = check_signature(beside.path, *signature, *image, rules.keys);
  if (!key) return key.error();
  return TrustedImage{image.take(), "key " + *key};
}

std::vector<std::string> faults_of_keys(const std::string& folder) { return read_keys(folder).faults; }

}  // namespace pvsched
