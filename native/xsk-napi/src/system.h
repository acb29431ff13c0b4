/* Functions of netlink.cc, tap.cc, affinity.cc, clock.cc and others that become exports. */
#ifndef XSK_SYSTEM_H
#define XSK_SYSTEM_H

#include "common.h"

namespace xsk {
Napi::Value OpenNetlink(const Napi::CallbackInfo& info);
Napi::Value PeerCredentials(const Napi::CallbackInfo& info);
Napi::Value OpenTap(const Napi::CallbackInfo& info);
Napi::Value CreateClock(const Napi::CallbackInfo& info);
Napi::Value CreatePrefetcher(const Napi::CallbackInfo& info);
Napi::Value PinThread(const Napi::CallbackInfo& info);
Napi::Value ThreadId(const Napi::CallbackInfo& info);
Napi::Value ThreadCpuMicroseconds(const Napi::CallbackInfo& info);
Napi::Value InterfaceInfo(const Napi::CallbackInfo& info);
Napi::Value Probe(const Napi::CallbackInfo& info);
}  // namespace xsk
#endif
