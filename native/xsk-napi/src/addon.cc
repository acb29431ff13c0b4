/* The module: what JavaScript sees, and the state of one environment. */
#include "common.h"
#include "system.h"
#include "program.h"
#include "socket.h"
#include "umem.h"
#include "watcher.h"

namespace xsk {

namespace {

Napi::Value OpenHandles(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object counts = Napi::Object::New(env);
  auto instance = InstanceOf(env);
  for (int kind = 0; kind < static_cast<int>(Kind::kCount); kind++) {
    uint32_t count = 0;
    for (Handle* handle : instance->handles) {
      count += handle->open && static_cast<int>(handle->kind) == kind;
    }
    counts.Set(KindName(static_cast<Kind>(kind)), count);
  }
  return counts;
}

Napi::Value FrozenNames(Napi::Env env, const char* const* names) {
  Napi::Array array = Napi::Array::New(env);
  for (uint32_t at = 0; names[at] != nullptr; at++) array.Set(at, names[at]);
  array.Freeze();
  return array;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  CreateInstance(env);
  struct {
    const char* name;
    Napi::Value (*function)(const Napi::CallbackInfo&);
  } functions[] = {
      {"probe", Probe},
      {"interfaceInfo", InterfaceInfo},
      {"pageOffset", PageOffset},
      {"adviseHugePages", AdviseHugePages},
      {"createUmem", CreateUmem},
      {"openSocket", OpenSocket},
      {"createEvent", CreateEvent},
      {"signalEvent", SignalEvent},
      {"createPoller", CreatePoller},
      {"watch", Watch},
      {"createPrefetcher", CreatePrefetcher},
      {"createClock", CreateClock},
      {"pinThread", PinThread},
      {"threadId", ThreadId},
      {"threadCpuMicroseconds", ThreadCpuMicroseconds},
      {"loadProgram", LoadProgram},
      {"loadDecapsulator", LoadDecapsulator},
      {"openTap", OpenTap},
      {"openNetlink", OpenNetlink},
      {"peerCredentials", PeerCredentials},
      {"openHandles", OpenHandles},
  };
  for (const auto& each : functions) {
    exports.Set(each.name, Napi::Function::New(env, each.function, each.name));
  }
  exports.Set("SOCKET_COUNTERS", FrozenNames(env, SocketCounterNames()));
  exports.Set("XDP_VERDICTS", FrozenNames(env, VerdictNames()));
  exports.Set("DECAP_VERDICTS", FrozenNames(env, DecapVerdictNames()));
  return exports;
}

}  // namespace

// Registers per environment; the macro needs a name in scope.
Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return Init(env, exports); }

}  // namespace xsk

using xsk::InitModule;
NODE_API_MODULE(xsk, InitModule)
