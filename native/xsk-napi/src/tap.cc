/*
 * TAP device: how a worker gives frames back to the host's own stack. Every opening is a queue of
 * its own (IFF_MULTI_QUEUE), so that workers do not meet; a virtio_net_hdr before each frame says
 * whether its checksum is still unfinished (linux/virtio_net.h, host byte order).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "system.h"
#include "umem.h"

namespace xsk {

namespace {

constexpr uint32_t kMacBytes = 6;
constexpr uint32_t kEthernetBytes = 14;
constexpr uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM

// struct virtio_net_hdr; declared here, since linux/virtio_net.h does not compile as C++.
struct VirtioHeader {
  uint8_t flags;
  uint8_t segmentation;
  uint16_t headerBytes;
  uint16_t segmentBytes;
  uint16_t checksumStart;
  uint16_t checksumOffset;
};
static_assert(sizeof(VirtioHeader) == 10);

class Tap final : public Handle {
 public:
  explicit Tap(napi_env env) : Handle(env, Kind::kTap) {}
  ~Tap() override { Close(); }
  void OnClose() override {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  bool Write(uint32_t offset, uint32_t length, uint32_t checksum);
  int fd = -1;
  int index = 0;
  uint8_t mac[kMacBytes] = {};
  std::shared_ptr<Umem> umem;
};

// A unicast frame came to the MAC of another interface; the stack takes it as the host's own only
// when it is addressed to this device, so that address goes out instead.
bool Tap::Write(uint32_t offset, uint32_t length, uint32_t checksum) {
  uint8_t* frame = umem->area + offset;
  VirtioHeader header = {};
  if (checksum != 0) {
    header.flags = kNeedsChecksum;
    header.checksumStart = static_cast<uint16_t>(checksum >> 16);
    header.checksumOffset = static_cast<uint16_t>(checksum & 0xffff);
  }
  bool unicast = (frame[0] & 1) == 0;
  iovec parts[3] = {{&header, sizeof(header)},
                    {unicast ? mac : frame, kMacBytes},
                    {frame + kMacBytes, length - kMacBytes}};
  return writev(fd, parts, 3) == static_cast<ssize_t>(length + sizeof(header));
}

napi_value WriteMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* tap = static_cast<Tap*>(call.data);
  if (__builtin_expect(!tap->open || !tap->umem->open, 0)) return ThrowClosed(env, "write");
  int32_t offset = 0;
  int32_t length = 0;
  int32_t checksum = 0;
  napi_get_value_int32(env, call.argument[0], &offset);
  napi_get_value_int32(env, call.argument[1], &length);
  napi_get_value_int32(env, call.argument[2], &checksum);
  if (__builtin_expect(offset < 0 || length < static_cast<int32_t>(kEthernetBytes) ||
                           static_cast<uint64_t>(offset) + static_cast<uint64_t>(length) >
                               tap->umem->areaBytes,
                       0)) {
    Throw(env, {EINVAL, "write", "", -1,
                "frame (offset " + std::to_string(offset) + ", length " + std::to_string(length) +
                    "): must have an Ethernet header and lie in the UMEM"});
    return nullptr;
  }
  bool taken = tap->Write(static_cast<uint32_t>(offset), static_cast<uint32_t>(length),
                          static_cast<uint32_t>(checksum));
  napi_value result;
  napi_get_boolean(env, taken, &result);
  return result;
}

// Writes one of the device's sysctls. A kernel without that protocol has none: no error.
void SetSysctl(const char* family, const std::string& name, const char* key, const char* value) {
  std::string path = std::string("/proc/sys/net/") + family + "/conf/" + name + "/" + key;
  int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t written = write(fd, value, strlen(value));
  (void)written;
  close(fd);
}

// Reads index and MAC, then brings the device up. 0, or errno.
int BringUp(Tap* tap, const std::string& name) {
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) return errno;
  ifreq request = {};
  strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  bool done = ioctl(control, SIOCGIFHWADDR, &request) == 0;
  if (done) memcpy(tap->mac, request.ifr_hwaddr.sa_data, kMacBytes);
  done = done && ioctl(control, SIOCGIFINDEX, &request) == 0;
  if (done) tap->index = request.ifr_ifindex;
  done = done && ioctl(control, SIOCGIFFLAGS, &request) == 0;
  if (done) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_NOARP);
    done = ioctl(control, SIOCSIFFLAGS, &request) == 0;
  }
  int number = done ? 0 : errno;
  close(control);
  return number;
}

int OpenDevice(Tap* tap, const std::string& name, const char** call) {
  *call = "open(/dev/net/tun)";
  tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap->fd < 0) return errno;
  *call = "ioctl(TUNSETIFF)";
  ifreq request = {};
  strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
  if (ioctl(tap->fd, TUNSETIFF, &request) != 0) return errno;
  // Frames come from elsewhere: no link-local address, and no check that their source is here.
  SetSysctl("ipv6", name, "addr_gen_mode", "1");
  SetSysctl("ipv4", name, "rp_filter", "0");
  *call = "ioctl(SIOCSIFFLAGS)";
  return BringUp(tap, name);
}

}  // namespace

Napi::Value OpenTap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "openTap");
  std::string name = arguments.Text(info[0], "name");
  if (arguments.ok && (name.empty() || name.size() >= IFNAMSIZ)) {
    arguments.Refuse("name '" + name + "': must have 1 to 15 characters");
  }
  auto umem = Unwrap(env, info[1], Kind::kUmem);
  if (umem == nullptr || !umem->open) arguments.Refuse("umem: must be an open Umem");
  if (!arguments.ok) return env.Undefined();
  auto tap = std::make_shared<Tap>(env);
  tap->umem = std::static_pointer_cast<Umem>(umem);
  const char* call = "";
  int number = OpenDevice(tap.get(), name, &call);
  if (number != 0) {
    Throw(env, {number, call, name, -1,
                number == EPERM ? "making a TAP device needs CAP_NET_ADMIN" : ""});
    return env.Undefined();
  }
  Napi::Object object = Wrap(env, tap);
  object.Set("name", name);
  object.Set("index", tap->index);
  object.Set("fd", tap->fd);
  AddMethod(env, object, "write", WriteMethod, tap.get());
  return object;
}

}  // namespace xsk
