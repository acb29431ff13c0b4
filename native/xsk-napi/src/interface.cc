/*
 * What is known of an interface: ioctls of the calling thread's network namespace (man 7
 * netdevice, linux/ethtool.h). Not from /sys, whose content is that of the namespace it was
 * mounted in.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "system.h"

namespace xsk {

namespace {

struct Found {
  int index = 0;
  int mtu = 0;
  char mac[18] = "";
  bool up = false;
  uint32_t rxQueues = 1;
  uint32_t txQueues = 1;
  std::string driver;
};

// Queues in use. A driver that does not tell has one.
void ReadQueues(int control, ifreq* request, Found* found) {
  ethtool_channels channels = {};
  channels.cmd = ETHTOOL_GCHANNELS;
  request->ifr_data = reinterpret_cast<char*>(&channels);
  if (ioctl(control, SIOCETHTOOL, request) == 0) {
    found->rxQueues = channels.rx_count + channels.combined_count;
    found->txQueues = channels.tx_count + channels.combined_count;
  } else {
    ethtool_rxnfc rings = {};
    rings.cmd = ETHTOOL_GRXRINGS;
    request->ifr_data = reinterpret_cast<char*>(&rings);
    if (ioctl(control, SIOCETHTOOL, request) == 0) {
      found->rxQueues = static_cast<uint32_t>(rings.data);
      found->txQueues = found->rxQueues;
    }
  }
  if (found->rxQueues == 0) found->rxQueues = 1;
  if (found->txQueues == 0) found->txQueues = 1;
}

void ReadDriver(int control, ifreq* request, Found* found) {
  ethtool_drvinfo driver = {};
  driver.cmd = ETHTOOL_GDRVINFO;
  request->ifr_data = reinterpret_cast<char*>(&driver);
  if (ioctl(control, SIOCETHTOOL, request) == 0) found->driver = driver.driver;
}

// 0, or errno.
int Read(int control, ifreq* request, Found* found) {
  if (ioctl(control, SIOCGIFINDEX, request) != 0) return errno;
  found->index = request->ifr_ifindex;
  if (ioctl(control, SIOCGIFMTU, request) != 0) return errno;
  found->mtu = request->ifr_mtu;
  if (ioctl(control, SIOCGIFFLAGS, request) != 0) return errno;
  found->up = request->ifr_flags & IFF_UP;
  if (ioctl(control, SIOCGIFHWADDR, request) != 0) return errno;
  auto* mac = reinterpret_cast<unsigned char*>(request->ifr_hwaddr.sa_data);
  snprintf(found->mac, sizeof(found->mac), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
           mac[3], mac[4], mac[5]);
  ReadQueues(control, request, found);
  ReadDriver(control, request, found);
  return 0;
}

}  // namespace

Napi::Value InterfaceInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments arguments(env, "interfaceInfo");
  std::string name = arguments.Text(info[0], "name");
  if (arguments.ok && (name.empty() || name.size() >= IFNAMSIZ)) {
    arguments.Refuse("name '" + name + "': must have 1 to 15 characters");
  }
  if (!arguments.ok) return env.Undefined();
  Found found;
  ifreq request = {};
  strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int number = control < 0 ? errno : Read(control, &request, &found);
  if (control >= 0) close(control);
  if (number != 0) {
    Throw(env, {number, "interfaceInfo", name, -1,
                number == ENODEV ? "no interface has this name" : ""});
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", name);
  object.Set("index", found.index);
  object.Set("mtu", found.mtu);
  object.Set("mac", std::string(found.mac));
  object.Set("up", found.up);
  object.Set("rxQueues", found.rxQueues);
  object.Set("txQueues", found.txQueues);
  object.Set("driver", found.driver);
  return object;
}

}  // namespace xsk
