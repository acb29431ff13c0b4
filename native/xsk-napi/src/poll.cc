/*
 * Waiting: eventfds, which wake a worker from another thread, and poll sets. A blocked poll() does
 * not hear worker.terminate(), so every poll set of a worker holds an event.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "umem.h"
#include "watcher.h"

namespace xsk {

namespace {

class Event final : public Handle {
 public:
  explicit Event(napi_env env) : Handle(env, Kind::kEvent) {}
  ~Event() override { Close(); }
  void OnClose() override {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  int fd = -1;
};

class Poller final : public Handle {
 public:
  explicit Poller(napi_env env) : Handle(env, Kind::kPoller) {}
  ~Poller() override { Close(); }
  void OnClose() override { set.clear(); }
  std::vector<pollfd> set;
  std::shared_ptr<Umem> umem;    // may be null
  std::shared_ptr<Event> event;  // the last of the set, or null
};

// EAGAIN: the counter is full, so whoever waits is awake already.
bool Signal(int fd) {
  uint64_t one = 1;
  return write(fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

napi_value SignalMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* event = static_cast<Event*>(call.data);
  if (!event->open) return ThrowClosed(env, "signal");
  if (!Signal(event->fd)) Throw(env, {errno, "write(eventfd)", "", -1, ""});
  return nullptr;
}

bool Silence(const Event& event) {
  uint64_t count;
  return read(event.fd, &count, sizeof(count)) >= 0 || errno == EAGAIN;
}

napi_value DrainMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* event = static_cast<Event*>(call.data);
  if (!event->open) return ThrowClosed(env, "drain");
  if (!Silence(*event)) Throw(env, {errno, "read(eventfd)", "", -1, ""});
  return nullptr;
}

napi_value PollMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* poller = static_cast<Poller*>(call.data);
  if (__builtin_expect(!poller->open, 0)) return ThrowClosed(env, "poll");
  int32_t timeoutMs = 0;
  napi_get_value_int32(env, call.argument[0], &timeoutMs);
  int ready = poll(poller->set.data(), poller->set.size(), timeoutMs < 0 ? -1 : timeoutMs);
  if (ready < 0) {
    if (errno != EINTR) {
      Throw(env, {errno, "poll", "", -1, ""});
      return nullptr;
    }
    ready = 0;
  }
  // Read only when it has something to say: a call of its own for each sleep would be felt.
  if (poller->event != nullptr && poller->set.back().revents != 0 && !Silence(*poller->event)) {
    Throw(env, {errno, "read(eventfd)", "", -1, ""});
    return nullptr;
  }
  if (poller->umem != nullptr && poller->umem->open) poller->umem->clock.Write();
  napi_value result;
  napi_create_int32(env, ready, &result);
  return result;
}

}  // namespace

Napi::Value CreateEvent(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto event = std::make_shared<Event>(env);
  event->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event->fd < 0) {
    Throw(env, {errno, "eventfd", "", -1, ""});
    return env.Undefined();
  }
  Napi::Object object = Wrap(env, event);
  object.Set("fd", event->fd);
  AddMethod(env, object, "signal", SignalMethod, event.get());
  AddMethod(env, object, "drain", DrainMethod, event.get());
  return object;
}

Napi::Value SignalEvent(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "signalEvent");
  int fd = arguments.Int(info[0], "fd", 0, INT32_MAX);
  if (arguments.ok && !Signal(fd)) {
    Throw(env, {errno, "write(eventfd)", "", -1, "fd " + std::to_string(fd) + " is no open event"});
  }
  return env.Undefined();
}

Napi::Value CreatePoller(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "createPoller");
  if (!info[0].IsArray()) arguments.Refuse("fds: must be an array of file descriptors");
  auto poller = std::make_shared<Poller>(env);
  if (arguments.ok) {
    Napi::Array fds = info[0].As<Napi::Array>();
    for (uint32_t at = 0; at < fds.Length() && arguments.ok; at++) {
      int fd = arguments.Int(fds.Get(at), "fd", 0, INT32_MAX);
      poller->set.push_back({fd, POLLIN, 0});
    }
  }
  if (arguments.ok && !info[1].IsUndefined()) {
    auto handle = Unwrap(env, info[1], Kind::kUmem);
    if (handle == nullptr) arguments.Refuse("umem: must be a Umem or left out");
    poller->umem = std::static_pointer_cast<Umem>(handle);
  }
  if (arguments.ok && !info[2].IsUndefined()) {
    auto handle = Unwrap(env, info[2], Kind::kEvent);
    if (handle == nullptr || !handle->open) {
      arguments.Refuse("event: must be an open Event or left out");
    }
    poller->event = std::static_pointer_cast<Event>(handle);
    if (arguments.ok) poller->set.push_back({poller->event->fd, POLLIN, 0});
  }
  if (!arguments.ok) return env.Undefined();
  Napi::Object object = Wrap(env, poller);
  AddMethod(env, object, "poll", PollMethod, poller.get());
  return object;
}

}  // namespace xsk
