/* The calling thread: its CPU, its kernel id, its time. And who is behind a Unix socket. */
#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "system.h"

namespace xsk {

Napi::Value PinThread(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "pinThread");
  int cpu = arguments.Int(info[0], "cpu", 0, CPU_SETSIZE - 1);
  if (!arguments.ok) return env.Undefined();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    Throw(env, {errno, "sched_setaffinity", "", -1,
                "CPU " + std::to_string(cpu) + ": not there, or not allowed to this process"});
  }
  return env.Undefined();
}

Napi::Value ThreadId(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(syscall(SYS_gettid)));
}

Napi::Value ThreadCpuMicroseconds(const Napi::CallbackInfo& info) {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  double microseconds =
      static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec / 1000);
  return Napi::Number::New(info.Env(), microseconds);
}

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "peerCredentials");
  int fd = arguments.Int(info[0], "fd", 0, INT32_MAX);
  if (!arguments.ok) return env.Undefined();
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    Throw(env, {errno, "getsockopt(SO_PEERCRED)", "", -1, ""});
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", static_cast<double>(peer.pid));
  object.Set("uid", static_cast<double>(peer.uid));
  object.Set("gid", static_cast<double>(peer.gid));
  return object;
}

}  // namespace xsk
