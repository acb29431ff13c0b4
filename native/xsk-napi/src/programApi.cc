/* JavaScript's side of the XDP program: arguments in, maps' bytes out. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "program.h"

namespace xsk {

namespace {

// Order as in enum verdict of bpf/redirect.bpf.c.
const char* const kVerdictNames[] = {
    "pass_not_ip",          "pass_malformed",         "pass_fragment",
    "pass_own_address",     "pass_no_match",          "pass_no_socket",
    "redirect_service",     "redirect_real_server",   "redirect_local_address",
    "redirect_icmp_error",  "redirect_fragment",      "redirect_mark",
    nullptr};

struct MapBytes {
  int fd = -1;
  std::vector<uint8_t> key;
  std::vector<uint8_t> value;
};

Program* Open(const Call& call, napi_env env, const char* method) {
  auto* program = static_cast<Program*>(call.data);
  if (program->open) return program;
  ThrowClosed(env, method);
  return nullptr;
}

napi_value ThrowProgram(napi_env env, const Program& program, const std::string& interface = "",
                        int queue = -1) {
  Throw(env, {program.fault.number, program.fault.syscall, interface, queue, program.fault.detail});
  return nullptr;
}

// Copies a Uint8Array argument that must have exactly `size` bytes.
bool Bytes(Arguments* arguments, napi_value value, const char* name, uint32_t size,
           std::vector<uint8_t>* bytes) {
  size_t length = 0;
  void* data = arguments->Array(value, name, napi_uint8_array, 0, &length);
  if (!arguments->ok) return false;
  if (length != size) {
    arguments->Refuse(std::string(name) + " of " + std::to_string(length) + " bytes: must have " +
                      std::to_string(size));
    return false;
  }
  auto* first = static_cast<uint8_t*>(data);
  bytes->assign(first, first + length);
  return true;
}

// Reads map name, key and (optionally) value of a call.
bool ReadMapCall(napi_env env, const Call& call, Program* program, const char* method,
                 bool withValue, MapBytes* bytes) {
  Arguments arguments(env, method);
  std::string name = arguments.Text(call.argument[0], "map");
  if (!arguments.ok) return false;
  bpf_map* map = program->SharedMap(name);
  if (map == nullptr || name == "verdicts") {
    if (map != nullptr) arguments.Refuse("map 'verdicts': is written by the kernel only");
    if (map == nullptr) ThrowProgram(env, *program);
    return false;
  }
  bytes->fd = bpf_map__fd(map);
  if (!Bytes(&arguments, call.argument[1], "key", bpf_map__key_size(map), &bytes->key)) {
    return false;
  }
  return !withValue ||
         Bytes(&arguments, call.argument[2], "value", bpf_map__value_size(map), &bytes->value);
}

napi_value AttachMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "attach");
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
  Program* program = Open(call, env, "detach");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "detach");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  if (arguments.ok) program->Detach(interface);
  return nullptr;
}

napi_value SetSocketMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "setSocket");
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
  Program* program = Open(call, env, "clearSocket");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "clearSocket");
  std::string interface = arguments.Text(call.argument[0], "interfaceName");
  int queue = arguments.Int(call.argument[1], "queue", 0, 65535);
  if (arguments.ok && !program->ClearSocket(interface, static_cast<uint32_t>(queue))) {
    ThrowProgram(env, *program, interface, queue);
  }
  return nullptr;
}

napi_value MapUpdateMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "mapUpdate");
  if (program == nullptr) return nullptr;
  MapBytes bytes;
  if (!ReadMapCall(env, call, program, "mapUpdate", true, &bytes)) return nullptr;
  if (bpf_map_update_elem(bytes.fd, bytes.key.data(), bytes.value.data(), BPF_ANY) != 0) {
    Throw(env, {errno, "bpf(BPF_MAP_UPDATE_ELEM)", "", -1,
                errno == E2BIG ? "the map is full, or has no entry of this number" : ""});
  }
  return nullptr;
}

napi_value MapDeleteMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "mapDelete");
  if (program == nullptr) return nullptr;
  MapBytes bytes;
  if (!ReadMapCall(env, call, program, "mapDelete", false, &bytes)) return nullptr;
  bool deleted = bpf_map_delete_elem(bytes.fd, bytes.key.data()) == 0;
  if (!deleted && errno != ENOENT) {
    Throw(env, {errno, "bpf(BPF_MAP_DELETE_ELEM)", "", -1, ""});
    return nullptr;
  }
  napi_value result;
  napi_get_boolean(env, deleted, &result);
  return result;
}

Napi::Uint8Array Copy(Napi::Env env, const std::vector<uint8_t>& bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

napi_value MapEntriesMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "mapEntries");
  if (program == nullptr) return nullptr;
  Arguments arguments(env, "mapEntries");
  std::string name = arguments.Text(call.argument[0], "map");
  if (!arguments.ok) return nullptr;
  bpf_map* map = program->SharedMap(name);
  if (map == nullptr) return ThrowProgram(env, *program);
  if (name == "verdicts") {
    arguments.Refuse("map 'verdicts': read it with verdicts()");
    return nullptr;
  }
  std::vector<uint8_t> key(bpf_map__key_size(map));
  std::vector<uint8_t> value(bpf_map__value_size(map));
  Napi::Array entries = Napi::Array::New(env);
  uint32_t count = 0;
  int fd = bpf_map__fd(map);
  void* previous = nullptr;
  // Only this process changes the map, and not during the call: the walk sees each entry once.
  while (bpf_map_get_next_key(fd, previous, key.data()) == 0) {
    previous = key.data();
    if (bpf_map_lookup_elem(fd, key.data(), value.data()) != 0) continue;
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("key", Copy(env, key));
    entry.Set("value", Copy(env, value));
    entries.Set(count++, entry);
  }
  return entries;
}

napi_value VerdictsMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = Open(call, env, "verdicts");
  if (program == nullptr) return nullptr;
  int fd = bpf_map__fd(program->SharedMap("verdicts"));
  int cpus = libbpf_num_possible_cpus();
  std::vector<uint64_t> perCpu(cpus < 1 ? 1 : static_cast<size_t>(cpus));
  Napi::Array result = Napi::Array::New(env);
  for (uint32_t verdict = 0; kVerdictNames[verdict] != nullptr; verdict++) {
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

}  // namespace

const char* const* VerdictNames() { return kVerdictNames; }

Napi::Value LoadProgram(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "loadProgram");
  std::string path = info[0].IsUndefined() ? BesideAddon("redirect.bpf.o")
                                           : arguments.Text(info[0], "objectPath");
  if (!arguments.ok) return env.Undefined();
  auto program = std::make_shared<Program>(env);
  if (!program->Load(path)) {
    ThrowProgram(env, *program);
    return env.Undefined();
  }
  Napi::Object object = Wrap(env, program);
  AddMethod(env, object, "attach", AttachMethod, program.get());
  AddMethod(env, object, "detach", DetachMethod, program.get());
  AddMethod(env, object, "setSocket", SetSocketMethod, program.get());
  AddMethod(env, object, "clearSocket", ClearSocketMethod, program.get());
  AddMethod(env, object, "mapUpdate", MapUpdateMethod, program.get());
  AddMethod(env, object, "mapDelete", MapDeleteMethod, program.get());
  AddMethod(env, object, "mapEntries", MapEntriesMethod, program.get());
  AddMethod(env, object, "verdicts", VerdictsMethod, program.get());
  return object;
}

}  // namespace xsk
