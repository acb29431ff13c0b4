/* Functions of poll.cc and watcher.cc that become exports. */
#ifndef XSK_WATCHER_H
#define XSK_WATCHER_H

#include "common.h"

namespace xsk {
Napi::Value CreateEvent(const Napi::CallbackInfo& info);
Napi::Value SignalEvent(const Napi::CallbackInfo& info);
Napi::Value CreatePoller(const Napi::CallbackInfo& info);
Napi::Value Watch(const Napi::CallbackInfo& info);
}  // namespace xsk
#endif
