/*
 * The maps of an XDP program for JavaScript: bytes in, bytes out. Many entries go to the kernel in
 * batches (BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH, kernel 5.6); what it refuses as a batch is
 * done again entry by entry, which is what it comes to on kernels without batches, and which says
 * exactly what is wrong.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include <algorithm>

#include "program.h"

namespace xsk {

namespace {

// Entries of a batch: enough that the call itself does not count.
constexpr uint32_t kBatchMax = 4096;

// A map of a call, and entries one behind the other in JavaScript's memory. `values` may be null.
struct Entries {
  int fd = -1;
  uint32_t keySize = 0;
  uint32_t valueSize = 0;
  uint32_t count = 0;
  const uint8_t* keys = nullptr;
  const uint8_t* values = nullptr;

  const uint8_t* Key(uint32_t at) const { return keys + size_t{at} * keySize; }
  const uint8_t* Value(uint32_t at) const { return values + size_t{at} * valueSize; }
};

// The memory of a Uint8Array argument that must be `count` entries of `size` bytes.
const uint8_t* Bytes(Arguments* arguments, napi_value value, const char* name, uint32_t size,
                     uint32_t count) {
  size_t length = 0;
  void* data = arguments->Array(value, name, napi_uint8_array, 0, &length);
  if (!arguments->ok) return nullptr;
  if (length != size_t{size} * count) {
    arguments->Refuse(std::string(name) + " of " + std::to_string(length) + " bytes: must have " +
                      std::to_string(size_t{size} * count));
    return nullptr;
  }
  return static_cast<const uint8_t*>(data);
}

// How many keys of `size` bytes a Uint8Array argument holds.
uint32_t CountOf(Arguments* arguments, napi_value value, const char* name, uint32_t size) {
  size_t length = 0;
  arguments->Array(value, name, napi_uint8_array, 0, &length);
  if (!arguments->ok) return 0;
  if (length % size != 0 || length / size > UINT32_MAX) {
    arguments->Refuse(std::string(name) + " of " + std::to_string(length) +
                      " bytes: must be a multiple of " + std::to_string(size));
  }
  return static_cast<uint32_t>(length / size);
}

// Reads map name, keys and (optionally) values of a call; one entry, or as many as there are keys.
bool ReadMapCall(napi_env env, const Call& call, Program* program, const char* method, bool isMany,
                 bool withValues, Entries* entries) {
  Arguments arguments(env, method);
  std::string name = arguments.Text(call.argument[0], "map");
  if (!arguments.ok) return false;
  bpf_map* map = program->SharedMap(name);
  if (map == nullptr || name == "verdicts") {
    if (map != nullptr) arguments.Refuse("map 'verdicts': is written by the kernel only");
    if (map == nullptr) ThrowProgram(env, *program);
    return false;
  }
  entries->fd = bpf_map__fd(map);
  entries->keySize = bpf_map__key_size(map);
  entries->valueSize = bpf_map__value_size(map);
  const char* keys = isMany ? "keys" : "key";
  const char* values = isMany ? "values" : "value";
  entries->count = isMany ? CountOf(&arguments, call.argument[1], keys, entries->keySize) : 1;
  if (!arguments.ok) return false;
  entries->keys = Bytes(&arguments, call.argument[1], keys, entries->keySize, entries->count);
  if (arguments.ok && withValues) {
    entries->values =
        Bytes(&arguments, call.argument[2], values, entries->valueSize, entries->count);
  }
  return arguments.ok;
}

// Both throw and return false when the kernel refuses.
bool UpdateOne(napi_env env, const Entries& entries, uint32_t at) {
  const int done = bpf_map_update_elem(entries.fd, entries.Key(at), entries.Value(at), BPF_ANY);
  if (done == 0) return true;
  int number = errno;
  Throw(env, {number, "bpf(BPF_MAP_UPDATE_ELEM)", "", -1,
              number == E2BIG ? "the map is full, or has no entry of this number" : ""});
  return false;
}

bool DeleteOne(napi_env env, const Entries& entries, uint32_t at, bool* deleted) {
  *deleted = bpf_map_delete_elem(entries.fd, entries.Key(at)) == 0;
  if (*deleted || errno == ENOENT) return true;
  Throw(env, {errno, "bpf(BPF_MAP_DELETE_ELEM)", "", -1, ""});
  return false;
}

napi_value MapUpdateMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapUpdate");
  Entries entries;
  if (program == nullptr) return nullptr;
  if (!ReadMapCall(env, call, program, "mapUpdate", false, true, &entries)) return nullptr;
  UpdateOne(env, entries, 0);
  return nullptr;
}

napi_value MapDeleteMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapDelete");
  Entries entries;
  bool deleted = false;
  if (program == nullptr) return nullptr;
  if (!ReadMapCall(env, call, program, "mapDelete", false, false, &entries)) return nullptr;
  if (!DeleteOne(env, entries, 0, &deleted)) return nullptr;
  napi_value result;
  napi_get_boolean(env, deleted, &result);
  return result;
}

napi_value MapUpdateManyMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapUpdateMany");
  Entries entries;
  if (program == nullptr) return nullptr;
  if (!ReadMapCall(env, call, program, "mapUpdateMany", true, true, &entries)) return nullptr;
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  for (uint32_t first = 0; first < entries.count; first += kBatchMax) {
    uint32_t end = std::min(first + kBatchMax, entries.count);
    uint32_t done = end - first;
    if (bpf_map_update_batch(entries.fd, entries.Key(first), entries.Value(first), &done,
                             &options) == 0) {
      continue;
    }
    for (uint32_t at = first; at < end; at++) {
      if (!UpdateOne(env, entries, at)) return nullptr;
    }
  }
  return nullptr;
}

napi_value MapDeleteManyMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapDeleteMany");
  Entries entries;
  bool deleted = false;
  if (program == nullptr) return nullptr;
  if (!ReadMapCall(env, call, program, "mapDeleteMany", true, false, &entries)) return nullptr;
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  for (uint32_t first = 0; first < entries.count; first += kBatchMax) {
    uint32_t end = std::min(first + kBatchMax, entries.count);
    uint32_t done = end - first;
    if (bpf_map_delete_batch(entries.fd, entries.Key(first), &done, &options) == 0) continue;
    // A batch ends at the first key that is not there.
    for (uint32_t at = first; at < end; at++) {
      if (!DeleteOne(env, entries, at, &deleted)) return nullptr;
    }
  }
  return nullptr;
}

Napi::Uint8Array Copy(Napi::Env env, const std::vector<uint8_t>& bytes) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes.size());
  memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

napi_value MapLookupMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapLookup");
  Entries entries;
  if (program == nullptr) return nullptr;
  if (!ReadMapCall(env, call, program, "mapLookup", false, false, &entries)) return nullptr;
  std::vector<uint8_t> value(entries.valueSize);
  if (bpf_map_lookup_elem(entries.fd, entries.Key(0), value.data()) == 0) return Copy(env, value);
  if (errno != ENOENT) Throw(env, {errno, "bpf(BPF_MAP_LOOKUP_ELEM)", "", -1, ""});
  napi_value none;
  napi_get_null(env, &none);
  return none;
}

napi_value MapEntriesMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  Program* program = OpenProgram(call, env, "mapEntries");
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

}  // namespace

void AddMapMethods(napi_env env, napi_value object, Program* program) {
  AddMethod(env, object, "mapUpdate", MapUpdateMethod, program);
  AddMethod(env, object, "mapDelete", MapDeleteMethod, program);
  AddMethod(env, object, "mapUpdateMany", MapUpdateManyMethod, program);
  AddMethod(env, object, "mapDeleteMany", MapDeleteManyMethod, program);
  AddMethod(env, object, "mapLookup", MapLookupMethod, program);
  AddMethod(env, object, "mapEntries", MapEntriesMethod, program);
}

}  // namespace xsk
