/*
 * Prefetching: asks the CPU for cache lines of a table, many at once, before JavaScript reads
 * them. JavaScript itself can only read, and a read that misses holds up all that follows.
 */
#include "system.h"

namespace xsk {

namespace {

class Prefetcher final : public Handle {
 public:
  explicit Prefetcher(napi_env env) : Handle(env, Kind::kPrefetcher) {}
  ~Prefetcher() override { Close(); }
  void OnClose() override {}
  using Handle::Keep;
  const int32_t* table = nullptr;
  const int32_t* places = nullptr;
  size_t placesLength = 0;
  uint32_t mask = 0;
  uint32_t shift = 0;
};

napi_value FetchMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* prefetcher = static_cast<Prefetcher*>(call.data);
  if (__builtin_expect(!prefetcher->open, 0)) return ThrowClosed(env, "fetch");
  uint32_t wanted = 0;
  napi_get_value_uint32(env, call.argument[0], &wanted);
  size_t count = wanted < prefetcher->placesLength ? wanted : prefetcher->placesLength;
  const int32_t* places = prefetcher->places;
  for (size_t at = 0; at < count; at++) {
    uint32_t place = static_cast<uint32_t>(places[at]) & prefetcher->mask;
    // Beyond the table it is harmless: a prefetch never faults.
    __builtin_prefetch(prefetcher->table + (static_cast<size_t>(place) << prefetcher->shift));
  }
  return nullptr;
}

}  // namespace

Napi::Value CreatePrefetcher(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "createPrefetcher");
  auto prefetcher = std::make_shared<Prefetcher>(env);
  size_t words = 0;
  prefetcher->table = static_cast<const int32_t*>(
      arguments.Array(info[0], "table", napi_int32_array, 1, &words));
  prefetcher->places = static_cast<const int32_t*>(arguments.Array(
      info[1], "places", napi_int32_array, 1, &prefetcher->placesLength));
  prefetcher->mask = static_cast<uint32_t>(arguments.Int(info[2], "mask", 0, INT32_MAX));
  prefetcher->shift = static_cast<uint32_t>(arguments.Int(info[3], "shift", 0, 16));
  if (!arguments.ok) return env.Undefined();
  prefetcher->Keep(info[0]);
  prefetcher->Keep(info[1]);
  Napi::Object object = Wrap(env, prefetcher);
  AddMethod(env, object, "fetch", FetchMethod, prefetcher.get());
  return object;
}

}  // namespace xsk
