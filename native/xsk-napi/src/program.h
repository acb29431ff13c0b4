/*
 * An XDP program (bpf/redirect.bpf.c or bpf/decap.bpf.c) on one or more interfaces.
 *
 * A first instance of the object is loaded at once: it makes the maps and lets the verifier speak
 * before any interface is touched. Each interface then gets an instance of its own, with its own
 * `sockets` map (where there is one) and all other maps taken from the first. It is attached by a
 * bpf_link, whose file this process holds: the kernel detaches when the process ends, however it
 * ends.
 */
#ifndef XSK_PROGRAM_H
#define XSK_PROGRAM_H

#include <bpf/libbpf.h>

#include <map>

#include "common.h"

namespace xsk {

struct Attachment {
  bpf_object* object = nullptr;
  int link = -1;
  int index = 0;  // of the interface
  bool generic = false;
};

// What a failed call leaves: errno, the call, and the verifier's or libbpf's own words.
struct ProgramFault {
  int number = 0;
  const char* syscall = "";
  std::string detail;
};

// Which program it is: the object's file, the program's name in it, and what its map `verdicts`
// counts, ended by a null.
struct ProgramKind {
  const char* file;
  const char* program;
  const char* const* verdicts;
};

class Program final : public Handle {
 public:
  Program(napi_env env, const ProgramKind& kind) : Handle(env, Kind::kProgram), kind(kind) {}
  ~Program() override { Close(); }
  void OnClose() override;

  // All return false with `fault` filled.
  bool Load(const std::string& path);
  bool Attach(const std::string& interface, const std::string& mode);
  void Detach(const std::string& interface);
  bool SetSocket(const std::string& interface, uint32_t queue, int socketFd);
  bool ClearSocket(const std::string& interface, uint32_t queue);
  // Runs an interface's instance on a frame as if it had come in by its queue 0; nothing is sent.
  // `nanoseconds`: of one run, the mean.
  bool TestRun(const std::string& interface, const uint8_t* frame, uint32_t length, uint32_t runs,
               uint32_t* action, uint32_t* nanoseconds);
  // A shared map by name; null (fault filled) for any other name.
  bpf_map* SharedMap(const std::string& name);

  const ProgramKind& kind;
  std::map<std::string, Attachment> attachments;
  ProgramFault fault;

 private:
  bool Fail(int number, const char* syscall, const std::string& detail = "");
  bool OpenObject(bpf_object** object);
  bool LoadInstance(Attachment* attachment);
  bool Link(Attachment* attachment, bool generic);
  int SocketsMap(const std::string& interface);

  std::string path_;
  bpf_object* base_ = nullptr;
};

// The program of a method's call; null (thrown) when it is closed.
Program* OpenProgram(const Call& call, napi_env env, const char* method);
// Throws the program's fault.
napi_value ThrowProgram(napi_env env, const Program& program, const std::string& interface = "",
                        int queue = -1);
// Adds what writes and reads the maps to a program's object.
void AddMapMethods(napi_env env, napi_value object, Program* program);

Napi::Value LoadProgram(const Napi::CallbackInfo& info);
Napi::Value LoadDecapsulator(const Napi::CallbackInfo& info);
const char* const* VerdictNames();
const char* const* DecapVerdictNames();
// The file beside this addon: its own folder plus `name`.
std::string BesideAddon(const char* name);

}  // namespace xsk
#endif
