/* Environments, handles, errors and arguments: see common.h. */
#include "common.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <uv.h>

#include <algorithm>

namespace xsk {

namespace {

constexpr napi_type_tag kHandleTag = {0x78736b2d6e617069ULL, 0x68616e646c652031ULL};

struct InstanceData {
  std::shared_ptr<Instance> instance;
};

void OnCleanup(void* data) { static_cast<Instance*>(data)->CloseAll(); }

void OnInstanceDataGone(napi_env, void* data, void*) { delete static_cast<InstanceData*>(data); }

void OnWrapperGone(napi_env, void* data, void*) {
  auto* held = static_cast<std::shared_ptr<Handle>*>(data);
  (*held)->Close();
  delete held;
}

napi_value CloseMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  static_cast<Handle*>(call.data)->Close();
  return nullptr;
}

void SetText(napi_env env, napi_value object, const char* name, const std::string& text) {
  napi_value value;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  napi_set_named_property(env, object, name, value);
}

void SetNumber(napi_env env, napi_value object, const char* name, int number) {
  napi_value value;
  napi_create_int32(env, number, &value);
  napi_set_named_property(env, object, name, value);
}

}  // namespace

const char* KindName(Kind kind) {
  static const char* const names[] = {"watchers", "pollers", "prefetchers", "clocks",   "sockets",
                                      "taps",     "umems",   "events",      "netlinks", "programs"};
  return names[static_cast<int>(kind)];
}

void Instance::CloseAll() {
  for (int kind = 0; kind < static_cast<int>(Kind::kCount); kind++) {
    std::vector<Handle*> open = handles;  // Close() does not change it, a destructor would
    for (Handle* handle : open) {
      if (static_cast<int>(handle->kind) == kind) handle->Close();
    }
  }
}

void CreateInstance(napi_env env) {
  auto instance = std::make_shared<Instance>(env);
  napi_set_instance_data(env, new InstanceData{instance}, OnInstanceDataGone, nullptr);
  napi_add_env_cleanup_hook(env, OnCleanup, instance.get());
}

std::shared_ptr<Instance> InstanceOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<InstanceData*>(data)->instance;
}

Handle::Handle(napi_env env, Kind kind) : kind(kind), instance_(InstanceOf(env)) {
  instance_->handles.push_back(this);
}

Handle::~Handle() {
  auto& all = instance_->handles;
  all.erase(std::remove(all.begin(), all.end(), this), all.end());
}

void Handle::Close() {
  if (!open) return;
  OnClose();
  open = false;
  for (napi_ref reference : kept_) napi_delete_reference(env(), reference);
  kept_.clear();
}

void Handle::Keep(napi_value value) {
  napi_ref reference;
  if (napi_create_reference(env(), value, 1, &reference) == napi_ok) kept_.push_back(reference);
}

Napi::Object Wrap(Napi::Env env, std::shared_ptr<Handle> handle) {
  Napi::Object object = Napi::Object::New(env);
  Handle* raw = handle.get();
  auto* held = new std::shared_ptr<Handle>(std::move(handle));
  napi_type_tag_object(env, object, &kHandleTag);
  napi_wrap(env, object, held, OnWrapperGone, nullptr, nullptr);
  AddMethod(env, object, "close", CloseMethod, raw);
  return object;
}

std::shared_ptr<Handle> Unwrap(Napi::Env env, napi_value value, Kind kind) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object) return nullptr;
  bool ours = false;
  napi_check_object_type_tag(env, value, &kHandleTag, &ours);
  if (!ours) return nullptr;
  void* data = nullptr;
  napi_unwrap(env, value, &data);
  auto handle = *static_cast<std::shared_ptr<Handle>*>(data);
  return handle->kind == kind ? handle : nullptr;
}

void AddMethod(napi_env env, napi_value object, const char* name, napi_callback callback,
               Handle* handle) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, handle, &function);
  napi_property_descriptor owner = {};
  owner.utf8name = "owner";
  owner.value = object;
  owner.attributes = napi_default;
  napi_define_properties(env, function, 1, &owner);
  napi_set_named_property(env, object, name, function);
}

Call::Call(napi_env env, napi_callback_info info) {
  napi_get_cb_info(env, info, &count, argument, nullptr, &data);
}

void Throw(napi_env env, const Fault& fault) {
  // libuv knows 95 by its other name only.
  const char* code = fault.number == EOPNOTSUPP ? "EOPNOTSUPP" : uv_err_name(-fault.number);
  std::string text = fault.syscall;
  text += ": ";
  if (!fault.interface.empty()) text += fault.interface;
  if (fault.queue >= 0) text += " queue " + std::to_string(fault.queue);
  if (!fault.interface.empty()) text += ": ";
  text += code;
  text += ": ";
  text += fault.detail.empty() ? std::string(uv_strerror(-fault.number)) : fault.detail;
  napi_value message, name, error;
  napi_create_string_utf8(env, text.data(), text.size(), &message);
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &name);
  napi_create_error(env, name, message, &error);
  SetNumber(env, error, "errno", fault.number);
  SetText(env, error, "syscall", fault.syscall);
  if (!fault.interface.empty()) SetText(env, error, "interface", fault.interface);
  if (fault.queue >= 0) SetNumber(env, error, "queue", fault.queue);
  napi_throw(env, error);
}

napi_value ThrowClosed(napi_env env, const char* method) {
  Throw(env, {EBADF, method, "", -1, "already closed"});
  return nullptr;
}

void Arguments::Refuse(const std::string& detail) {
  if (ok) Throw(env_, {EINVAL, function_, "", -1, detail});
  ok = false;
}

double Arguments::Number(napi_value value, const char* name, double min, double max) {
  if (!ok) return 0;
  double number = 0;
  if (napi_get_value_double(env_, value, &number) != napi_ok || number != floor(number) ||
      number < min || number > max) {
    Napi::Value given(env_, value);
    Refuse(std::string(name) + " " + given.ToString().Utf8Value() +
           ": must be a whole number from " + std::to_string(static_cast<int64_t>(min)) + " to " +
           std::to_string(static_cast<int64_t>(max)));
    return 0;
  }
  return number;
}

int Arguments::Int(napi_value value, const char* name, int min, int max) {
  return static_cast<int>(Number(value, name, min, max));
}

bool Arguments::Boolean(napi_value value, const char* name) {
  bool result = false;
  if (ok && napi_get_value_bool(env_, value, &result) != napi_ok) {
    Refuse(std::string(name) + ": must be true or false");
  }
  return result;
}

std::string Arguments::Text(napi_value value, const char* name) {
  if (!ok) return "";
  Napi::Value given(env_, value);
  if (!given.IsString()) {
    Refuse(std::string(name) + ": must be a string");
    return "";
  }
  return given.As<Napi::String>().Utf8Value();
}

void* Arguments::Array(napi_value value, const char* name, napi_typedarray_type type,
                       size_t minimum, size_t* length) {
  static const char* const kinds[] = {"Int8Array",   "Uint8Array",   "Uint8ClampedArray",
                                      "Int16Array",  "Uint16Array",  "Int32Array",
                                      "Uint32Array", "Float32Array", "Float64Array"};
  if (!ok) return nullptr;
  bool is = false;
  napi_is_typedarray(env_, value, &is);
  napi_typedarray_type found = type;
  size_t elements = 0;
  void* data = nullptr;
  if (is) napi_get_typedarray_info(env_, value, &found, &elements, &data, nullptr, nullptr);
  if (!is || found != type || elements < minimum) {
    Refuse(std::string(name) + ": must be an " + kinds[type] + " of at least " +
           std::to_string(minimum) + " elements");
    return nullptr;
  }
  if (length != nullptr) *length = elements;
  return data;
}

}  // namespace xsk
