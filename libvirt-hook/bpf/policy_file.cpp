// SPDX-License-Identifier: GPL-2.0-or-later
#include "bpf/policy_file.h"

#include <elf.h>
#include <gelf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>

#include "pvsched/policy_interface.h"

namespace pvsched {
namespace {

constexpr std::string_view kSymbol = "pvs_policy_slot_N";

struct Section {
  std::string name;
  GElf_Shdr header{};
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
};

using Sections = std::vector<Section>;

Result<Sections> read_sections(Bytes& image) {
  elf_version(EV_CURRENT);
  std::unique_ptr<Elf, int (*)(Elf*)> elf(elf_memory(reinterpret_cast<char*>(image.data()), image.size()), elf_end);
  GElf_Ehdr header;
  std::size_t names;
  if (!elf || !gelf_getehdr(elf.get(), &header) || header.e_machine != EM_BPF || header.e_type != ET_REL ||
      elf_getshdrstrndx(elf.get(), &names) != 0)
    return Error("no BPF object file");
  if (header.e_shoff > image.size() || std::size_t{header.e_shnum} * header.e_shentsize > image.size() - header.e_shoff)
    return Error("it is cut off");
  Sections sections;
  for (Elf_Scn* scn = elf_nextscn(elf.get(), nullptr); scn; scn = elf_nextscn(elf.get(), scn)) {
    Section section;
    if (!gelf_getshdr(scn, &section.header)) return Error("a section's header cannot be read");
    const char* name = elf_strptr(elf.get(), names, section.header.sh_name);
    section.name = name ? name : "";
    if (section.header.sh_type != SHT_NOBITS) {
      if (section.header.sh_offset > image.size() || section.header.sh_size > image.size() - section.header.sh_offset)
        return Error("section " + section.name + " is cut off");
      section.data = image.data() + section.header.sh_offset;
      section.size = section.header.sh_size;
    }
    sections.push_back(section);
  }
  return sections;
}

const Section* find(const Sections& sections, std::string_view name) {
  auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& s) { return s.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

template <std::size_t N>
bool terminated(const char (&text)[N]) {
  return std::memchr(text, 0, N) != nullptr;
}

bool good_name(std::string_view name) {
  auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && lower(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return lower(c) || digit(c) || c == '-'; });
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

Status read_info(const Section& section, PolicyFile& file) {
  pvs_policy_info info;
  if (section.size != sizeof(info)) return Error("its section " PVS_POLICY_SECTION " holds no description, or several");
  std::memcpy(&info, section.data, sizeof(info));
  if (info.magic != PVS_POLICY_MAGIC) return Error("its section " PVS_POLICY_SECTION " is none of a policy");
  if (info.interface != PVS_INTERFACE_VERSION)
    return Error("it is built for version " + std::to_string(info.interface) + " of the policy interface: allowed is " +
                 std::to_string(PVS_INTERFACE_VERSION));
  if (!terminated(info.name) || !terminated(info.version) || !terminated(info.summary) || !good_name(info.name) ||
      !printable(info.version) || !printable(info.summary))
    return Error("its name, version or summary is not plain text: a name is a lower-case letter, then a-z, 0-9 and -");
  file.name = info.name;
  file.version = info.version;
  file.summary = info.summary;
  file.state = info.state;
  return {};
}

// A policy is one pure function: code, constants and its description.
Status check_sections(const Sections& sections) {
  constexpr std::string_view kHarmless[] = {".strtab",      ".symtab",       ".shstrtab",       ".text",
                                            ".rel.text",    ".BTF",          ".rel.BTF",        ".BTF.ext",
                                            ".rel.BTF.ext", ".llvm_addrsig", PVS_POLICY_SECTION};
  for (const Section& section : sections) {
    if (section.header.sh_size == 0 ||
        std::find(std::begin(kHarmless), std::end(kHarmless), section.name) != std::end(kHarmless))
      continue;
    if (section.name.rfind(".debug_", 0) == 0 || section.name.rfind(".rel.debug_", 0) == 0) continue;
    return Error("it has a section " + section.name +
                 ": a policy has one function and no program, map or data of its own");
  }
  return {};
}

Status check_code(const Section& text) {
  if (text.size % sizeof(bpf_insn) != 0) return Error("its code is cut off");
  for (std::size_t at = 0; at < text.size; at += sizeof(bpf_insn)) {
    bpf_insn insn;
    std::memcpy(&insn, text.data + at, sizeof(insn));
    unsigned kind = BPF_CLASS(insn.code);
    if ((kind == BPF_JMP || kind == BPF_JMP32) && BPF_OP(insn.code) == BPF_CALL && insn.src_reg != BPF_PSEUDO_CALL)
      return Error("it calls helper " + std::to_string(insn.imm) + ": a policy calls nothing but its own functions");
    if (kind != BPF_LD) continue;
    if (insn.code != (BPF_LD | BPF_IMM | BPF_DW) || insn.src_reg != 0)
      return Error("it refers to memory outside of its arguments");
    at += sizeof(insn);  // a constant of 64 bits
  }
  return {};
}

Status check_symbols(const Sections& sections, const Section& symbols) {
  const Section& strings = sections.at(symbols.header.sh_link - 1);
  bool found = false;
  for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size; at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol;
    std::memcpy(&symbol, symbols.data + at, sizeof(symbol));
    if (ELF64_ST_BIND(symbol.st_info) == STB_LOCAL) continue;
    if (symbol.st_name >= strings.size) return Error("a symbol has no name");
    const char* start = reinterpret_cast<const char*>(strings.data) + symbol.st_name;
    std::string name(start, strnlen(start, strings.size - symbol.st_name));
    if (symbol.st_shndx == SHN_UNDEF) return Error("it needs " + name + ", which no policy is given");
    if (name != kSymbol || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
      return Error("it defines " + name + ": a policy's own functions are static");
    found = true;
  }
  if (!found) return Error("it has no PVS_POLICY()");
  return {};
}

}  // namespace

Bytes PolicyFile::in_slot(unsigned slot) const {
  Bytes out = image;
  std::string_view name = kSymbol;
  // In the symbol table's strings and in BTF's; each is a string of its own there.
  for (auto at = out.begin();;) {
    at = std::search(at, out.end(), name.begin(), name.end());
    if (at == out.end()) return out;
    at += static_cast<std::ptrdiff_t>(name.size());
    if (at != out.end() && *at == 0) at[-1] = static_cast<std::uint8_t>("0123456789abcdef"[slot]);
  }
}

Result<PolicyFile> parse_policy(const std::string& path, Bytes image) {
  PolicyFile file;
  file.path = path;
  auto sections = read_sections(image);
  if (!sections) return sections.error().in(path);
  const Section* info = find(*sections, PVS_POLICY_SECTION);
  const Section* text = find(*sections, ".text");
  const Section* symbols = find(*sections, ".symtab");
  if (!info || !text || !symbols || symbols->header.sh_link == 0 || symbols->header.sh_link > sections->size())
    return Error(path + ": it has no PVS_POLICY()");
  if (auto status = check_sections(*sections); !status) return status.error().in(path);
  if (auto status = check_code(*text); !status) return status.error().in(path);
  if (auto status = check_symbols(*sections, *symbols); !status) return status.error().in(path);
  if (auto status = read_info(*info, file); !status) return status.error().in(path);
  file.image = std::move(image);
  return file;
}

Result<PolicyFile> read_policy(const std::string& path, const TrustRules& rules) {
  auto trusted = read_trusted(path, rules);
  if (!trusted) return trusted.error();
  auto file = parse_policy(path, std::move(trusted->image));
  if (file) file->trust = trusted->by;
  return file;
}

}  // namespace pvsched
