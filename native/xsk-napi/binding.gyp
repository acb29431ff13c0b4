{
  # libbpf is linked as a shared library: Debian's libbpf.a and libelf.a are not compiled
  # position-independent (R_X86_64_PC32, R_X86_64_TPOFF32), so they cannot go into an addon.
  "targets": [
    {
      "target_name": "xsk",
      "sources": [
        "src/addon.cc",
        "src/common.cc",
        "src/umem.cc",
        "src/socket.cc",
        "src/openSocket.cc",
        "src/poll.cc",
        "src/watcher.cc",
        "src/netlink.cc",
        "src/program.cc",
        "src/programApi.cc",
        "src/programMaps.cc",
        "src/tap.cc",
        "src/affinity.cc",
        "src/prefetch.cc",
        "src/hugePages.cc",
        "src/clock.cc",
        "src/interface.cc",
        "src/probe.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NAPI_DISABLE_CPP_EXCEPTIONS", "_GNU_SOURCE"],
      "cflags": ["-Wall", "-Wextra", "-fvisibility=hidden"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "libraries": ["<!@(pkg-config --libs libbpf)"],
      "configurations": {
        "Release": { "cflags": ["-O3"], "cflags!": ["-O2"] },
        "Debug": { "defines": ["XSK_DEBUG=1"], "cflags": ["-O1", "-g"], "cflags!": ["-O0"] }
      }
    }
  ]
}
