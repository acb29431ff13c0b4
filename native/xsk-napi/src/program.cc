/* Loading, attaching and the maps of an XDP program, through libbpf. See program.h. */
#include "program.h"

#include <bpf/bpf.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace xsk {

namespace {

constexpr char kSocketsMap[] = "sockets";
constexpr size_t kLogMax = 4000;

// libbpf tells what went wrong only through its print callback, which is one per process.
thread_local std::string* activeLog = nullptr;

int Collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG || activeLog == nullptr || activeLog->size() > kLogMax) return 0;
  char line[1024];
  vsnprintf(line, sizeof(line), format, arguments);
  activeLog->append(line);
  return 0;
}

class LogScope {
 public:
  LogScope() {
    libbpf_set_print(Collect);
    activeLog = &text;
  }
  ~LogScope() { activeLog = nullptr; }
  std::string text;
};

// The kernel gives up verifying a program when a signal comes (EAGAIN); a profiler sends hundreds a
// second. Signals to this thread wait until it is loaded.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

int LoadObject(bpf_object* object) {
  SignalsHeld held;
  return bpf_object__load(object);
}

void AddressInAddon() {}

}  // namespace

std::string BesideAddon(const char* name) {
  Dl_info found = {};
  dladdr(reinterpret_cast<void*>(AddressInAddon), &found);
  std::string file = found.dli_fname == nullptr ? "" : found.dli_fname;
  size_t slash = file.rfind('/');
  return (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + name;
}

bool Program::Fail(int number, const char* syscall, const std::string& detail) {
  fault = {number < 0 ? -number : number, syscall, detail};
  return false;
}

void Program::OnClose() {
  for (auto& [name, attachment] : attachments) {
    if (attachment.link >= 0) close(attachment.link);
    if (attachment.object != nullptr) bpf_object__close(attachment.object);
  }
  attachments.clear();
  if (base_ != nullptr) bpf_object__close(base_);
  base_ = nullptr;
}

bool Program::OpenObject(bpf_object** object) {
  LogScope log;
  *object = bpf_object__open_file(path_.c_str(), nullptr);
  if (*object != nullptr) return true;
  int number = errno;
  return Fail(number, "loadProgram", path_ + ": " + strerror(number) + "\n" + log.text);
}

bool Program::Load(const std::string& path) {
  path_ = path;
  if (!OpenObject(&base_)) return false;
  LogScope log;
  if (LoadObject(base_) == 0) return true;
  int number = errno;
  std::string reason = number == EPERM ? "loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
                                       : strerror(number);
  return Fail(number, "bpf(BPF_PROG_LOAD)", path_ + ": " + reason + "\n" + log.text);
}

// An instance whose shared maps are the first one's.
bool Program::LoadInstance(Attachment* attachment) {
  if (!OpenObject(&attachment->object)) return false;
  LogScope log;
  bpf_map* map;
  bpf_object__for_each_map(map, attachment->object) {
    const char* name = bpf_map__name(map);
    if (strcmp(name, kSocketsMap) == 0) continue;
    bpf_map* shared = bpf_object__find_map_by_name(base_, name);
    if (shared == nullptr || bpf_map__reuse_fd(map, bpf_map__fd(shared)) != 0) {
      return Fail(errno, "bpf_map__reuse_fd", std::string("map ") + name + "\n" + log.text);
    }
  }
  if (LoadObject(attachment->object) == 0) return true;
  int number = errno;
  return Fail(number, "bpf(BPF_PROG_LOAD)", std::string(strerror(number)) + "\n" + log.text);
}

bool Program::Link(Attachment* attachment, bool generic) {
  bpf_program* program = bpf_object__find_program_by_name(attachment->object, kind.program);
  if (program == nullptr) return Fail(ENOENT, "attach", std::string("no program ") + kind.program);
  bpf_link_create_opts options = {};
  options.sz = sizeof(options);
  options.flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
  int link = bpf_link_create(bpf_program__fd(program), attachment->index, BPF_XDP, &options);
  if (link >= 0) {
    attachment->link = link;
    attachment->generic = generic;
    return true;
  }
  int number = errno;
  std::string detail;
  if (number == EBUSY || number == EEXIST) {
    detail = "another XDP program is attached to this interface";
  } else if (number == EOPNOTSUPP && !generic) {
    detail = "the driver has no native XDP; mode 'generic' would work";
  } else if (number == ERANGE || number == EINVAL) {
    detail = "the interface does not take an XDP program now (MTU too large for native XDP, "
             "or too few queues)";
  } else if (number == EPERM) {
    detail = "attaching needs CAP_NET_ADMIN and CAP_BPF";
  }
  return Fail(number, "bpf(BPF_LINK_CREATE)", detail);
}

bool Program::Attach(const std::string& interface, const std::string& mode) {
  if (attachments.count(interface) != 0) {
    return Fail(EEXIST, "attach", "this program is attached to it already");
  }
  Attachment attachment;
  attachment.index = static_cast<int>(if_nametoindex(interface.c_str()));
  if (attachment.index == 0) return Fail(ENODEV, "attach", "no interface has this name");
  bool done = LoadInstance(&attachment);
  if (done && mode != "generic") {
    done = Link(&attachment, false);
    // Another program there does not go away by asking again.
    if (!done && mode == "auto" && fault.number != EBUSY && fault.number != EEXIST &&
        fault.number != EPERM) {
      done = Link(&attachment, true);
    }
  } else if (done) {
    done = Link(&attachment, true);
  }
  if (!done) {
    if (attachment.object != nullptr) bpf_object__close(attachment.object);
    return false;
  }
  attachments[interface] = attachment;
  return true;
}

void Program::Detach(const std::string& interface) {
  auto found = attachments.find(interface);
  if (found == attachments.end()) return;
  close(found->second.link);
  bpf_object__close(found->second.object);
  attachments.erase(found);
}

int Program::SocketsMap(const std::string& interface) {
  auto found = attachments.find(interface);
  if (found == attachments.end()) {
    Fail(ENOENT, "setSocket", "the program is not attached to this interface");
    return -1;
  }
  return bpf_object__find_map_fd_by_name(found->second.object, kSocketsMap);
}

bool Program::SetSocket(const std::string& interface, uint32_t queue, int socketFd) {
  int map = SocketsMap(interface);
  if (map < 0) return false;
  if (bpf_map_update_elem(map, &queue, &socketFd, BPF_ANY) == 0) return true;
  return Fail(errno, "bpf(BPF_MAP_UPDATE_ELEM)",
              errno == E2BIG ? "queue number must be below 256"
                             : "fd " + std::to_string(socketFd) + ": " + strerror(errno));
}

bool Program::ClearSocket(const std::string& interface, uint32_t queue) {
  int map = SocketsMap(interface);
  if (map < 0) return false;
  if (bpf_map_delete_elem(map, &queue) == 0 || errno == ENOENT || errno == EINVAL) return true;
  return Fail(errno, "bpf(BPF_MAP_DELETE_ELEM)");
}

bool Program::TestRun(const std::string& interface, const uint8_t* frame, uint32_t length,
                      uint32_t runs, uint32_t* action, uint32_t* nanoseconds) {
  auto found = attachments.find(interface);
  if (found == attachments.end()) {
    return Fail(ENOENT, "testRun", "the program is not attached to this interface");
  }
  bpf_program* program = bpf_object__find_program_by_name(found->second.object, kind.program);
  xdp_md context = {};
  context.data_end = length;
  context.ingress_ifindex = static_cast<uint32_t>(found->second.index);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = frame;
  options.data_size_in = length;
  options.ctx_in = &context;
  options.ctx_size_in = sizeof(context);
  options.repeat = static_cast<int>(runs);
  if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) {
    return Fail(errno, "bpf(BPF_PROG_TEST_RUN)");
  }
  *action = options.retval;
  *nanoseconds = options.duration;
  return true;
}

bpf_map* Program::SharedMap(const std::string& name) {
  std::string known;
  bpf_map* map;
  bpf_object__for_each_map(map, base_) {
    const char* one = bpf_map__name(map);
    if (strcmp(one, kSocketsMap) == 0) continue;
    if (name == one) return map;
    if (strcmp(one, "verdicts") != 0) known += (known.empty() ? "" : ", ") + std::string(one);
  }
  Fail(EINVAL, "map", "map '" + name + "': allowed are " + known);
  return nullptr;
}

}  // namespace xsk
