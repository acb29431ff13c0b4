/*
 * Watchers: a file descriptor on the environment's own event loop (uv_poll), calling back whenever
 * it is readable. libuv lets go of a handle only in a callback of the loop, so the uv_poll_t lives
 * in an allocation of its own, and an asynchronous clean-up hook makes the end of an environment
 * wait for it.
 */
#include "watcher.h"

#include <errno.h>
#include <uv.h>

namespace xsk {

namespace {

class Watcher;

struct Poll {
  uv_poll_t handle;
  Watcher* watcher;  // null once it is being closed
  napi_async_cleanup_hook_handle hook;
};

void OnPollClosed(uv_handle_t* handle) {
  auto* poll = static_cast<Poll*>(handle->data);
  if (poll->hook != nullptr) napi_remove_async_cleanup_hook(poll->hook);
  delete poll;
}

class Watcher final : public Handle {
 public:
  explicit Watcher(napi_env env) : Handle(env, Kind::kWatcher) {}
  ~Watcher() override { Close(); }
  void OnClose() override {
    if (callback != nullptr) napi_delete_reference(env(), callback);
    if (context != nullptr) napi_async_destroy(env(), context);
    if (poll == nullptr) return;
    poll->watcher = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll->handle), OnPollClosed);
    poll = nullptr;
  }
  void Call() {
    napi_handle_scope scope;
    napi_open_handle_scope(env(), &scope);
    napi_value function, receiver;
    napi_get_reference_value(env(), callback, &function);
    napi_get_global(env(), &receiver);
    napi_value result;
    // Runs microtasks afterwards.
    napi_status status =
        napi_make_callback(env(), context, receiver, function, 0, nullptr, &result);
    if (status == napi_pending_exception) {
      napi_value error;
      napi_get_and_clear_last_exception(env(), &error);
      napi_fatal_exception(env(), error);
    }
    napi_close_handle_scope(env(), scope);
  }
  Poll* poll = nullptr;
  napi_ref callback = nullptr;
  napi_async_context context = nullptr;
  using Handle::Keep;
};

void OnReadable(uv_poll_t* handle, int status, int) {
  auto* poll = static_cast<Poll*>(handle->data);
  if (poll->watcher != nullptr) poll->watcher->Call();
  // libuv stops polling on POLLERR, which an overrun netlink socket raises and a read clears.
  if (status < 0 && poll->watcher != nullptr) uv_poll_start(handle, UV_READABLE, OnReadable);
}

void OnEnvironmentEnds(napi_async_cleanup_hook_handle, void* data) {
  auto* poll = static_cast<Poll*>(data);
  if (poll->watcher != nullptr) poll->watcher->Close();
}

}  // namespace

Napi::Value Watch(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "watch");
  int fd = arguments.Int(info[0], "fd", 0, INT32_MAX);
  if (!info[1].IsFunction()) arguments.Refuse("callback: must be a function");
  if (!arguments.ok) return env.Undefined();
  auto watcher = std::make_shared<Watcher>(env);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* poll = new Poll{{}, watcher.get(), nullptr};
  int status = uv_poll_init(loop, &poll->handle, fd);
  if (status != 0) {
    delete poll;
    Throw(env, {-status, "uv_poll_init", "", -1, "fd " + std::to_string(fd) + " cannot be polled"});
    return env.Undefined();
  }
  poll->handle.data = poll;
  watcher->poll = poll;
  napi_add_async_cleanup_hook(env, OnEnvironmentEnds, poll, &poll->hook);
  napi_create_reference(env, info[1], 1, &watcher->callback);
  napi_async_init(env, nullptr, Napi::String::New(env, "xsk-napi:watch"), &watcher->context);
  Napi::Object object = Wrap(env, watcher);
  watcher->Keep(object);  // watches until close(), also when nobody holds the object
  uv_poll_start(&poll->handle, UV_READABLE, OnReadable);
  return object;
}

}  // namespace xsk
