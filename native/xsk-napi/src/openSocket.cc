/* Opening a socket: rings, options, bind; and the JavaScript object with its methods. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"

namespace xsk {

namespace {

enum class ZeroCopy { kAuto, kOn, kOff };

// A queue is still taken for a moment after its last socket was closed: the kernel lets go of it
// in a work item. Waiting for it here lets a restarted process start at once.
constexpr int kBindAttemptsMax = 50;
constexpr int kBindPauseMicroseconds = 10000;
// Fill at open: enough to start with; the rest follows with the first rxBurst.
constexpr uint32_t kFirstFillMin = 64;

struct Opening {
  ZeroCopy zeroCopy = ZeroCopy::kAuto;
  int busyPollBudget = 0;
  Fault fault = {};
  bool Fail(const char* syscall, const std::string& detail = "") {
    fault.number = errno;
    fault.syscall = syscall;
    fault.detail = detail;
    return false;
  }
};

template <typename Entry>
bool MapRing(int fd, uint32_t size, off_t page, const xdp_ring_offset& offset, Ring<Entry>* ring) {
  size_t bytes = offset.desc + size * sizeof(Entry);
  void* mapping =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);
  if (mapping == MAP_FAILED) return false;
  auto* base = static_cast<uint8_t*>(mapping);
  ring->mapping = mapping;
  ring->mappingBytes = bytes;
  ring->producer = reinterpret_cast<uint32_t*>(base + offset.producer);
  ring->consumer = reinterpret_cast<uint32_t*>(base + offset.consumer);
  ring->flags = reinterpret_cast<uint32_t*>(base + offset.flags);
  ring->entries = reinterpret_cast<Entry*>(base + offset.desc);
  ring->size = size;
  ring->mask = size - 1;
  return true;
}

bool MakeRings(Socket* socket, Opening* opening) {
  const int options[] = {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING};
  for (int option : options) {
    int size = static_cast<int>(socket->ringSize);
    if (setsockopt(socket->fd, SOL_XDP, option, &size, sizeof(size)) != 0) {
      return opening->Fail("setsockopt(XDP ring)");
    }
  }
  xdp_mmap_offsets offsets = {};
  socklen_t length = sizeof(offsets);
  if (getsockopt(socket->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0) {
    return opening->Fail("getsockopt(XDP_MMAP_OFFSETS)");
  }
  if (length != sizeof(offsets)) {
    errno = EOPNOTSUPP;
    return opening->Fail("getsockopt(XDP_MMAP_OFFSETS)", "need-wakeup needs Linux 5.4");
  }
  int fd = socket->fd;
  uint32_t size = socket->ringSize;
  bool mapped =
      MapRing(fd, size, static_cast<off_t>(XDP_UMEM_PGOFF_FILL_RING), offsets.fr, &socket->fill) &&
      MapRing(fd, size, static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING), offsets.cr,
              &socket->completion) &&
      MapRing(fd, size, XDP_PGOFF_RX_RING, offsets.rx, &socket->rx) &&
      MapRing(fd, size, XDP_PGOFF_TX_RING, offsets.tx, &socket->tx);
  return mapped || opening->Fail("mmap(XDP ring)");
}

// What the kernel may have and may not: an absent option is no error.
void SetOptions(Socket* socket) {
  uint32_t budget = socket->ringSize;
  if (setsockopt(socket->fd, SOL_XDP, kMaxTxSkbBudgetOption, &budget, sizeof(budget)) == 0) {
    socket->maxTxSkbBudget = budget;
  }
  // In copy mode a frame counts against the send buffer until the device has sent it.
  int bytes = static_cast<int>(socket->ringSize) * 4096;
  if (setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(socket->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  }
}

void SetBusyPoll(Socket* socket, int budget) {
  if (budget == 0 || !socket->zeroCopy) return;
  int yes = 1;
  int microseconds = 20;
  socket->busyPoll =
      setsockopt(socket->fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &yes, sizeof(yes)) == 0 &&
      setsockopt(socket->fd, SOL_SOCKET, SO_BUSY_POLL, &microseconds, sizeof(microseconds)) == 0 &&
      setsockopt(socket->fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget)) == 0;
}

std::string BindHint(const Socket& socket, const Socket* first, const Opening& opening) {
  switch (errno) {
    case EBUSY:
      return "another socket already serves this queue";
    case EINVAL:
      return "the interface has no such queue, or does not take these flags or chunk sizes";
    case EOPNOTSUPP:
      if (first != nullptr && first->zeroCopy) {
        return "this interface has no zero copy, but the UMEM is used with zero copy by " +
               first->interface + " queue " + std::to_string(first->queue) +
               "; close the sockets of the UMEM and open all with zeroCopy 'off'";
      }
      return opening.zeroCopy == ZeroCopy::kOn
                 ? "the driver has no zero copy; zeroCopy 'auto' or 'off' would work"
                 : "the driver does not take AF_XDP sockets";
    case ENETDOWN:
      return "the interface is down";
    case EPERM:
      return "binding needs CAP_NET_RAW";
    default:
      return "ring size " + std::to_string(socket.ringSize) + ": " + strerror(errno);
  }
}

bool Bind(Socket* socket, Opening* opening) {
  sockaddr_xdp address = {};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = if_nametoindex(socket->interface.c_str());
  if (address.sxdp_ifindex == 0) {
    errno = ENODEV;
    return opening->Fail("bind", "no interface has this name");
  }
  address.sxdp_queue_id = static_cast<uint32_t>(socket->queue);
  Socket* first = socket->umem->AnySocket();
  if (first != nullptr) {
    // Mode and need-wakeup are those of the socket it shares with; the kernel takes no other flag.
    address.sxdp_flags = XDP_SHARED_UMEM;
    address.sxdp_shared_umem_fd = static_cast<uint32_t>(first->fd);
  } else {
    address.sxdp_flags = XDP_USE_NEED_WAKEUP;
    if (opening->zeroCopy == ZeroCopy::kOn) address.sxdp_flags |= XDP_ZEROCOPY;
    if (opening->zeroCopy == ZeroCopy::kOff) address.sxdp_flags |= XDP_COPY;
  }
  for (int attempt = 1;; attempt++) {
    if (bind(socket->fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) break;
    if (errno != EBUSY || attempt == kBindAttemptsMax) {
      return opening->Fail("bind", BindHint(*socket, first, *opening));
    }
    usleep(kBindPauseMicroseconds);
  }
  xdp_options options = {};
  socklen_t length = sizeof(options);
  if (getsockopt(socket->fd, SOL_XDP, XDP_OPTIONS, &options, &length) != 0) {
    return opening->Fail("getsockopt(XDP_OPTIONS)");
  }
  socket->zeroCopy = options.flags & XDP_OPTIONS_ZEROCOPY;
  if (first != nullptr && opening->zeroCopy == ZeroCopy::kOn && !socket->zeroCopy) {
    errno = EOPNOTSUPP;
    return opening->Fail("bind", "zero copy was asked for, but the UMEM is used in copy mode by " +
                                     first->interface + " queue " + std::to_string(first->queue));
  }
  return true;
}

// The socket's file: the one that registered the UMEM, or a new one that will share it.
bool MakeFile(Socket* socket, Opening* opening) {
  Umem* umem = socket->umem.get();
  const char* syscall = "socket(AF_XDP)";
  if (umem->AnySocket() != nullptr) {
    socket->fd = ::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  } else if (umem->registeredFd >= 0) {
    socket->fd = umem->registeredFd;
    umem->registeredFd = -1;
  } else {
    socket->fd = umem->Register(&syscall);
  }
  return socket->fd >= 0 || opening->Fail(syscall);
}

bool TakeSlot(Socket* socket, Opening* opening) {
  Umem* umem = socket->umem.get();
  for (Socket* other : umem->sockets) {
    if (other != nullptr && other->interface == socket->interface &&
        other->queue == socket->queue) {
      errno = EBUSY;
      return opening->Fail("bind", "this UMEM already has a socket on this queue");
    }
  }
  uint32_t slot = 0;
  while (slot < umem->sockets.size() && umem->sockets[slot] != nullptr) slot++;
  if (slot == Umem::kSocketsMax) {
    errno = EMFILE;
    return opening->Fail("openSocket", "a UMEM has at most 256 sockets");
  }
  if (slot == umem->sockets.size()) umem->sockets.push_back(nullptr);
  socket->slot = slot;
  return true;
}

bool Open(Socket* socket, Opening* opening) {
  if (!TakeSlot(socket, opening) || !MakeFile(socket, opening)) return false;
  if (!MakeRings(socket, opening)) return false;
  SetOptions(socket);
  if (!Bind(socket, opening)) return false;
  SetBusyPoll(socket, opening->busyPollBudget);
  Umem* umem = socket->umem.get();
  umem->sockets[socket->slot] = socket;
  for (Socket* each : umem->sockets) {
    if (each != nullptr) each->SetReceiveLimit();
  }
  uint32_t first = umem->chunkCount / 16;
  if (first < kFirstFillMin) first = kFirstFillMin;
  if (first > socket->ringSize) first = socket->ringSize;
  if (socket->Refill(first)) return true;
  errno = EINVAL;
  return opening->Fail("openSocket", socket->fault);
}

napi_value ThrowFault(napi_env env, Socket* socket, const char* method) {
  Throw(env, {EINVAL, method, socket->interface, socket->queue, socket->fault});
  return nullptr;
}

napi_value RxBurst(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* socket = static_cast<Socket*>(call.data);
  if (__builtin_expect(!socket->open, 0)) return ThrowClosed(env, "rxBurst");
  int32_t max = 0;
  napi_get_value_int32(env, call.argument[0], &max);
  uint32_t received;
  if (__builtin_expect(!socket->Receive(max < 0 ? 0 : static_cast<uint32_t>(max), &received), 0)) {
    return ThrowFault(env, socket, "rxBurst");
  }
  napi_value result;
  napi_create_int32(env, static_cast<int32_t>(received), &result);
  return result;
}

napi_value TxBurst(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* socket = static_cast<Socket*>(call.data);
  if (__builtin_expect(!socket->open, 0)) return ThrowClosed(env, "txBurst");
  int32_t count = 0;
  napi_get_value_int32(env, call.argument[0], &count);
  uint32_t queued;
  if (__builtin_expect(
          !socket->Transmit(count < 0 ? 0 : static_cast<uint32_t>(count), &queued), 0)) {
    return ThrowFault(env, socket, "txBurst");
  }
  napi_value result;
  napi_create_int32(env, static_cast<int32_t>(queued), &result);
  return result;
}

napi_value StatisticsMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* socket = static_cast<Socket*>(call.data);
  if (!socket->open) return ThrowClosed(env, "statistics");
  if (!socket->Statistics()) {
    Throw(env, {errno, "getsockopt(XDP_STATISTICS)", socket->interface, socket->queue, ""});
  }
  return nullptr;
}

napi_value LevelsMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* socket = static_cast<Socket*>(call.data);
  if (!socket->open) return ThrowClosed(env, "levels");
  Arguments arguments(env, "levels");
  void* levels = arguments.Array(call.argument[0], "into", napi_int32_array, 4, nullptr);
  if (arguments.ok) socket->Levels(static_cast<int32_t*>(levels));
  return nullptr;
}

bool ReadSocketOptions(Napi::Env env, Napi::Object options, Socket* socket, Opening* opening) {
  Arguments arguments(env, "openSocket");
  socket->interface = arguments.Text(options.Get("interface"), "interface");
  socket->queue = arguments.Int(options.Get("queue"), "queue", 0, 65535);
  int ringSize = arguments.Int(options.Get("ringSize"), "ringSize", 32, 65536);
  if (arguments.ok && (ringSize & (ringSize - 1)) != 0) {
    arguments.Refuse("ringSize " + std::to_string(ringSize) + ": must be a power of two");
  }
  std::string zeroCopy = arguments.Text(options.Get("zeroCopy"), "zeroCopy");
  if (arguments.ok && zeroCopy != "auto" && zeroCopy != "on" && zeroCopy != "off") {
    arguments.Refuse("zeroCopy '" + zeroCopy + "': must be 'auto', 'on' or 'off'");
  }
  opening->busyPollBudget =
      arguments.Int(options.Get("busyPollBudget"), "busyPollBudget", 0, 65535);
  size_t rxLength = 0;
  size_t txLength = 0;
  socket->rxWords = static_cast<int32_t*>(
      arguments.Array(options.Get("rx"), "rx", napi_int32_array, 2, &rxLength));
  socket->txWords = static_cast<int32_t*>(
      arguments.Array(options.Get("tx"), "tx", napi_int32_array, 3, &txLength));
  socket->counters = static_cast<double*>(
      arguments.Array(options.Get("counters"), "counters", napi_float64_array, kCounters, nullptr));
  socket->ringSize = static_cast<uint32_t>(ringSize);
  socket->rxMax = static_cast<uint32_t>(rxLength / 2);
  socket->txMax = static_cast<uint32_t>(txLength / 3);
  opening->zeroCopy = zeroCopy == "on"    ? ZeroCopy::kOn
                      : zeroCopy == "off" ? ZeroCopy::kOff
                                          : ZeroCopy::kAuto;
  return arguments.ok;
}

}  // namespace

const char* const* SocketCounterNames() {
  static const char* const names[kCounters + 1] = {
      "rxFrames",          "rxBytes",           "txFrames",
      "txBytes",           "txWakeups",         "txWakeupRetries",
      "txWakeupFailures",  "txRingFull",        "rxWakeups",
      "fillStarved",       "kernelRxDropped",   "kernelRxInvalid",
      "kernelTxInvalid",   "kernelRxRingFull",  "kernelFillRingEmpty",
      "kernelTxRingEmpty", "rxRingLevel",       "txRingLevel",
      "fillRingLevel",     "completionRingLevel", nullptr};
  return names;
}

Napi::Value OpenSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto handle = Unwrap(env, info[0], Kind::kUmem);
  if (handle == nullptr || !handle->open || !info[1].IsObject()) {
    Throw(env, {EINVAL, "openSocket", "", -1, "needs an open UMEM and options"});
    return env.Undefined();
  }
  Napi::Object options = info[1].As<Napi::Object>();
  auto socket = std::make_shared<Socket>(env);
  Opening opening;
  if (!ReadSocketOptions(env, options, socket.get(), &opening)) return env.Undefined();
  socket->umem = std::static_pointer_cast<Umem>(handle);
  if (!Open(socket.get(), &opening)) {
    opening.fault.interface = socket->interface;
    opening.fault.queue = socket->queue;
    Throw(env, opening.fault);
    return env.Undefined();
  }
  for (const char* name : {"rx", "tx", "counters"}) socket->Keep(options.Get(name));
  Napi::Object object = Wrap(env, socket);
  object.Set("fd", socket->fd);
  object.Set("zeroCopy", socket->zeroCopy);
  object.Set("needWakeup", true);
  object.Set("busyPoll", socket->busyPoll);
  object.Set("maxTxSkbBudget", socket->maxTxSkbBudget);
  AddMethod(env, object, "rxBurst", RxBurst, socket.get());
  AddMethod(env, object, "txBurst", TxBurst, socket.get());
  AddMethod(env, object, "statistics", StatisticsMethod, socket.get());
  AddMethod(env, object, "levels", LevelsMethod, socket.get());
  return object;
}

}  // namespace xsk
