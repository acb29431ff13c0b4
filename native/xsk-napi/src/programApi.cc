/* JavaScript's side of the XDP programs; that of their maps is in programMaps.cc. */
#include <bpf/bpf.h>
#include <errno.h>

#include "program.h"

namespace xsk {

namespace {

// Order as in enum verdict of bpf/maps.h.
const char* const kVerdictNames[] = {
    "pass_not_ip",          "pass_malformed",         "pass_fragment",
    "pass_own_address",     "pass_no_match",          "pass_no_socket",
    "redirect_service",     "redirect_real_server",   "redirect_local_address",
    "redirect_icmp_error",  "redirect_fragment",      "redirect_mark",
    "pass_other_mac",       "redirect_removed_mark",  nullptr};

// Order as in enum verdict of bpf/decap.bpf.c.
const char* const kDecapVerdictNames[] = {
    "pass_not_tunnel", "pass_malformed", "pass_fragment", "pass_transit",
    "pass_not_vip",    "drop_checksum",  "drop_failed",   "decap_ipip",
    "decap_gue",       "decap_gre",      nullptr};

// The kernel runs programs on no less.
constexpr size_t kEthernetBytes = 14;
constexpr double kTestRunsMax = 10e6;

const ProgramKind kRedirect = {"redirect.bpf.o", "redirect_frames", kVerdictNames};
const ProgramKind kDecap = {"decap.bpf.o", "decapsulate", kDecapVerdictNames};

napi_value AttachMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "attach");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "attach");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  std::string mode = arguments.Text(call.argument[1], "mode");
  if (arguments.ok && mode != "auto" && mode != "native" && mode != "generic") {
    arguments.Refuse("mode '" + mode + "': must be 'auto', 'native' or 'generic'");
  }
  if (!arguments.ok) return nullptr;
  if (!program->Attach(interface, mode)) return ThrowProgram(env, *program, interface);
  napi_value result;
  const char* used = program->attachments[interface].generic ? "generic" : "native";
  napi_create_string_utf8(env, used, NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value DetachMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "detach");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "detach");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  if (arguments.ok) program->Detach(interface);
  return nullptr;
}

napi_value SetSocketMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "setSocket");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "setSocket");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  int queue = arguments.Int(call.argument[1], "queue", 0, 65535);
  int fd = arguments.Int(call.argument[2], "socketFd", 0, INT32_MAX);
  if (arguments.ok && !program->SetSocket(interface, static_cast<uint32_t>(queue), fd)) {
    ThrowProgram(env, *program, interface, queue);
  }
  return nullptr;
}

napi_value ClearSocketMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "clearSocket");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "clearSocket");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  int queue = arguments.Int(call.argument[1], "queue", 0, 65535);
  if (arguments.ok && !program->ClearSocket(interface, static_cast<uint32_t>(queue))) {
    ThrowProgram(env, *program, interface, queue);
  }
  return nullptr;
}

// What a test run says: the action, or the nanoseconds of `runs` of them.
napi_value TestRun(napi_env env, napi_callback_info info, bool isTimed) {
  const char* method = isTimed ? "testTime" : "testRun";
  Call call(env, info);
  Program* program = OpenProgram(call, env, method);
  if (program == nullptr) return nullptr;
  Arguments arguments(env, method);
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  size_t length = 0;
  auto* frame = static_cast<const uint8_t*>(
      arguments.Array(call.argument[1], "frame", napi_uint8_array, kEthernetBytes, &length));
  double runs = isTimed ? arguments.Number(call.argument[2], "runs", 1, kTestRunsMax) : 1;
  if (!arguments.ok) return nullptr;
  uint32_t action = 0;
  uint32_t nanoseconds = 0;
  if (!program->TestRun(interface, frame, static_cast<uint32_t>(length),
                        static_cast<uint32_t>(runs), &action, &nanoseconds)) {
    return ThrowProgram(env, *program, interface);
  }
  napi_value result;
  napi_create_uint32(env, isTimed ? nanoseconds : action, &result);
  return result;
}

napi_value TestRunMethod(napi_env env, napi_callback_info info) {
  return TestRun(env, info, false);
}

napi_value TestTimeMethod(napi_env env, napi_callback_info info) {
  return TestRun(env, info, true);
}

napi_value VerdictsMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "verdicts");
  if (program == nullptr) return nullptr;
  int fd = bpf_map__fd(program->SharedMap("verdicts"));
  int cpus = libbpf_num_possible_cpus();
  std::vector<uint64_t> perCpu(cpus < 1 ? 1 : static_cast<size_t>(cpus));
  Napi::Array result = Napi::Array::New(env);
  for (uint32_t verdict = 0; program->kind.verdicts[verdict] != nullptr; verdict++) {
    uint64_t sum = 0;
    if (bpf_map_lookup_elem(fd, &verdict, perCpu.data()) != 0) {
      Throw(env, {errno, "bpf(BPF_MAP_LOOKUP_ELEM)", "", -1, "map verdicts"});
      return nullptr;
    }
    for (uint64_t count : perCpu) sum += count;
    result.Set(verdict, static_cast<double>(sum));
  }
  return result;
}

// The object's methods that both programs have.
void AddCommonMethods(napi_env env, napi_value object, Program* program) {
  AddMethod(env, object, "attach", AttachMethod, program);
  AddMethod(env, object, "detach", DetachMethod, program);
  AddMapMethods(env, object, program);
  AddMethod(env, object, "testRun", TestRunMethod, program);
  AddMethod(env, object, "testTime", TestTimeMethod, program);
  AddMethod(env, object, "verdicts", VerdictsMethod, program);
}

// Null when it threw.
std::shared_ptr<Program> Load(const Napi::CallbackInfo& info, const char* function,
                              const ProgramKind& kind) {
  Napi::Env env = info.Env();
  Arguments arguments(env, function);
  std::string path = info[0].IsUndefined() ? BesideAddon(kind.file)
                                           : arguments.Text(info[0], "objectPath");
  if (!arguments.ok) return nullptr;
  auto program = std::make_shared<Program>(env, kind);
  if (program->Load(path)) return program;
  ThrowProgram(env, *program);
  return nullptr;
}

}  // namespace

Program* OpenProgram(const Call& call, napi_env env, const char* method) {
  auto* program = static_cast<Program*>(call.data);
  if (program->open) return program;
  ThrowClosed(env, method);
  return nullptr;
}

napi_value ThrowProgram(napi_env env, const Program& program, const std::string& interface,
                        int queue) {
  Throw(env, {program.fault.number, program.fault.syscall, interface, queue, program.fault.detail});
  return nullptr;
}

const char* const* VerdictNames() { return kVerdictNames; }
const char* const* DecapVerdictNames() { return kDecapVerdictNames; }

Napi::Value LoadProgram(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto program = Load(info, "loadProgram", kRedirect);
  if (program == nullptr) return env.Undefined();
  Napi::Object object = Wrap(env, program);
  AddCommonMethods(env, object, program.get());
  AddMethod(env, object, "setSocket", SetSocketMethod, program.get());
  AddMethod(env, object, "clearSocket", ClearSocketMethod, program.get());
  return object;
}

Napi::Value LoadDecapsulator(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto program = Load(info, "loadDecapsulator", kDecap);
  if (program == nullptr) return env.Undefined();
  Napi::Object object = Wrap(env, program);
  AddCommonMethods(env, object, program.get());
  return object;
}

}  // namespace xsk
