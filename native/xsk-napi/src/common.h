/*
 * What every part of the addon uses: state per environment, the life of objects that JavaScript
 * holds, errors, and arguments.
 *
 * An object that JavaScript holds is a Handle. It is owned by shared pointers: one of the
 * JavaScript object that wraps it (released by its finalizer) and one of each Handle that uses it.
 * Its methods are plain Node-API functions that carry the Handle's address as data; each function
 * keeps the wrapping object alive, so that the address stays good for as long as it is callable.
 * close() frees what the kernel gave; the memory goes with the last pointer.
 */
#ifndef XSK_COMMON_H
#define XSK_COMMON_H

#include <napi.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

namespace xsk {

#ifdef XSK_DEBUG
constexpr bool kDebug = true;
#else
constexpr bool kDebug = false;
#endif

class Handle;

// Kinds of handles, in the order in which they are closed when an environment ends: users first.
enum class Kind {
  kWatcher, kPoller, kPrefetcher, kClock, kSocket, kTap, kUmem, kEvent, kNetlink, kProgram, kCount
};
const char* KindName(Kind kind);

// State of one environment: the main thread or one worker.
class Instance {
 public:
  explicit Instance(napi_env env) : env(env) {}
  napi_env env;
  std::vector<Handle*> handles;
  void CloseAll();
};

// The instance of the environment of a call.
std::shared_ptr<Instance> InstanceOf(napi_env env);
void CreateInstance(napi_env env);

class Handle {
 public:
  Handle(napi_env env, Kind kind);
  virtual ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  // Frees kernel objects and references. Called at most once, with `open` still true.
  virtual void OnClose() = 0;
  void Close();

  const Kind kind;
  bool open = true;

 protected:
  napi_env env() const { return instance_->env; }
  // Keeps `value` alive until Close.
  void Keep(napi_value value);

 private:
  std::shared_ptr<Instance> instance_;
  std::vector<napi_ref> kept_;
};

// Makes the JavaScript object of a handle, with close() on it.
Napi::Object Wrap(Napi::Env env, std::shared_ptr<Handle> handle);
// The handle behind a JavaScript object; null (nothing thrown) when it is not one of that kind.
std::shared_ptr<Handle> Unwrap(Napi::Env env, napi_value value, Kind kind);
// Adds a method to a handle's object. The callback finds the handle as its data.
void AddMethod(napi_env env, napi_value object, const char* name, napi_callback callback,
               Handle* handle);

// Arguments of a method added with AddMethod; missing ones are undefined.
struct Call {
  Call(napi_env env, napi_callback_info info);
  napi_value argument[4];
  size_t count = 4;
  void* data = nullptr;
};

struct Fault {
  int number;           // errno, positive
  const char* syscall;  // or the function of ours that refused
  std::string interface;
  int queue = -1;
  std::string detail;  // what it means; empty: the errno's own text
};
// Throws "syscall: interface queue n: CODE: detail" with code, errno, syscall, interface, queue.
void Throw(napi_env env, const Fault& fault);
// For methods that were called after close().
napi_value ThrowClosed(napi_env env, const char* method);

// Reads named members of an options object, or positional arguments; the first bad one throws and
// clears `ok`, what follows returns zero values.
class Arguments {
 public:
  Arguments(Napi::Env env, const char* function) : env_(env), function_(function) {}
  bool ok = true;
  double Number(napi_value value, const char* name, double min, double max);
  int Int(napi_value value, const char* name, int min, int max);
  bool Boolean(napi_value value, const char* name);
  std::string Text(napi_value value, const char* name);
  // A typed array's memory; `minimum` in elements.
  void* Array(napi_value value, const char* name, napi_typedarray_type type, size_t minimum,
              size_t* length);
  void Refuse(const std::string& detail);

 private:
  Napi::Env env_;
  const char* function_;
};

}  // namespace xsk
#endif
