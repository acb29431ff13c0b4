/* A clock that JavaScript reads where no burst and no poll() does it: clock.h. */
#include "clock.h"

#include "system.h"

namespace xsk {

namespace {

class Clock final : public Handle {
 public:
  explicit Clock(napi_env env) : Handle(env, Kind::kClock) {}
  ~Clock() override { Close(); }
  void OnClose() override {}
  using Handle::Keep;
  int32_t* words = nullptr;
};

napi_value ReadMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* clock = static_cast<Clock*>(call.data);
  if (__builtin_expect(!clock->open, 0)) return ThrowClosed(env, "read");
  WriteClock(clock->words, Nanoseconds());
  return nullptr;
}

}  // namespace

Napi::Value CreateClock(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "createClock");
  auto clock = std::make_shared<Clock>(env);
  clock->words = static_cast<int32_t*>(
      arguments.Array(info[0], "words", napi_int32_array, kClockWords, nullptr));
  if (!arguments.ok) return env.Undefined();
  clock->Keep(info[0]);
  Napi::Object object = Wrap(env, clock);
  AddMethod(env, object, "read", ReadMethod, clock.get());
  return object;
}

}  // namespace xsk
