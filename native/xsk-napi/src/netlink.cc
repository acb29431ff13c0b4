/* Raw netlink socket (man 7 netlink): messages in and out; what they say is JavaScript's matter. */
#include "system.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace xsk {

namespace {

// A burst of neighbour or route changes must not overrun the socket.
constexpr int kReceiveBufferBytes = 4 << 20;

class Netlink final : public Handle {
 public:
  explicit Netlink(napi_env env) : Handle(env, Kind::kNetlink) {}
  ~Netlink() override { Close(); }
  void OnClose() override {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  int fd = -1;
};

napi_value SendMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* netlink = static_cast<Netlink*>(call.data);
  if (!netlink->open) return ThrowClosed(env, "send");
  Arguments arguments(env, "send");
  size_t length = 0;
  void* bytes =
      arguments.Array(call.argument[0], "message", napi_uint8_array, sizeof(nlmsghdr), &length);
  if (!arguments.ok) return nullptr;
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = sendto(netlink->fd, bytes, length, MSG_DONTWAIT,
                        reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel));
  if (sent < 0) Throw(env, {errno, "sendto(netlink)", "", -1, ""});
  return nullptr;
}

napi_value ReceiveMethod(napi_env env, napi_callback_info info) {
  Call call(env, info);
  auto* netlink = static_cast<Netlink*>(call.data);
  if (!netlink->open) return ThrowClosed(env, "receive");
  Arguments arguments(env, "receive");
  size_t length = 0;
  void* bytes = arguments.Array(call.argument[0], "buffer", napi_uint8_array, 1, &length);
  if (!arguments.ok) return nullptr;
  sockaddr_nl sender;
  ssize_t received;
  do {
    socklen_t senderLength = sizeof(sender);
    received = recvfrom(netlink->fd, bytes, length, MSG_DONTWAIT | MSG_TRUNC,
                        reinterpret_cast<sockaddr*>(&sender), &senderLength);
    // Only the kernel is believed: any process may send to our address.
  } while ((received >= 0 && sender.nl_pid != 0) || (received < 0 && errno == EINTR));
  if (received < 0 && errno != EAGAIN) {
    Throw(env, {errno, "recvfrom(netlink)", "", -1,
                errno == ENOBUFS ? "messages were lost: dump everything anew" : ""});
    return nullptr;
  }
  if (received > static_cast<ssize_t>(length)) {
    Throw(env, {EMSGSIZE, "recvfrom(netlink)", "", -1,
                "message of " + std::to_string(received) + " bytes, buffer has " +
                    std::to_string(length)});
    return nullptr;
  }
  napi_value result;
  napi_create_int32(env, received < 0 ? 0 : static_cast<int32_t>(received), &result);
  return result;
}

// 0, or errno.
int OpenAndJoin(Netlink* netlink, int protocol, const std::vector<int>& groups, const char** call) {
  *call = "socket(AF_NETLINK)";
  netlink->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (netlink->fd < 0) return errno;
  int bytes = kReceiveBufferBytes;
  if (setsockopt(netlink->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    setsockopt(netlink->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  int yes = 1;
  setsockopt(netlink->fd, SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof(yes));
  *call = "bind(netlink)";
  sockaddr_nl self = {};
  self.nl_family = AF_NETLINK;
  if (bind(netlink->fd, reinterpret_cast<sockaddr*>(&self), sizeof(self)) != 0) return errno;
  *call = "setsockopt(NETLINK_ADD_MEMBERSHIP)";
  for (int group : groups) {
    if (setsockopt(netlink->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
      return errno;
    }
  }
  return 0;
}

}  // namespace

Napi::Value OpenNetlink(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "openNetlink");
  int protocol = arguments.Int(info[0], "protocol", 0, 31);
  if (!info[1].IsArray()) arguments.Refuse("groups: must be an array of group numbers");
  std::vector<int> groups;
  if (arguments.ok) {
    Napi::Array list = info[1].As<Napi::Array>();
    for (uint32_t at = 0; at < list.Length(); at++) {
      groups.push_back(arguments.Int(list.Get(at), "group", 1, INT32_MAX));
    }
  }
  if (!arguments.ok) return env.Undefined();
  auto netlink = std::make_shared<Netlink>(env);
  const char* call = "";
  int number = OpenAndJoin(netlink.get(), protocol, groups, &call);
  if (number != 0) {
    Throw(env, {number, call, "", -1, ""});
    return env.Undefined();
  }
  Napi::Object object = Wrap(env, netlink);
  object.Set("fd", netlink->fd);
  AddMethod(env, object, "send", SendMethod, netlink.get());
  AddMethod(env, object, "receive", ReceiveMethod, netlink.get());
  return object;
}

}  // namespace xsk
