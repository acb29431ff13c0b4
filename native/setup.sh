#!/usr/bin/env bash
# Set-up behind `npm start` and `npm test`: installs missing Debian packages, runs `npm ci`, builds
# the addon with its XDP program and the TypeScript. Skips what is up to date; run it as often as
# you like. Without root, or without apt, it names what is missing and stops.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# Two set-ups of one tree at the same time would build into each other.
exec 9<package.json
flock 9

# Debian package, how to see that it is there (a command or a file), what it is for.
PACKAGES='
clang          command:clang                      compiles the XDP program
libbpf-dev     file:/usr/include/bpf/libbpf.h     loads the XDP program
libelf-dev     file:/usr/include/libelf.h         libbpf reads the object file with it
zlib1g-dev     file:/usr/include/zlib.h           libbpf too
linux-libc-dev file:/usr/include/linux/if_xdp.h   the kernel interfaces the addon is written for
pkg-config     command:pkg-config                 tells the addon where libbpf is
g++            command:g++                        compiles the addon
gcc            command:gcc                        compiles the C programs of the benches
make           command:make                       node-gyp builds with it
python3        command:python3                    node-gyp is written for it
iproute2       command:ip                         namespaces, cables, addresses of labs and tests
procps         command:sysctl                     kernel parameters of the lab hosts
iputils-ping   command:ping                       tests: the host still answers
ethtool        command:ethtool                    labs: how many queues an interface has
nftables       command:nft                        bench: the kernel path to compare with
bpftool        command:bpftool                    tests: no program or map is left behind
curl           command:curl                       the client of labs and tests
wrk            command:wrk                        tests: many connections at once
nginx          command:nginx                      the real servers of labs and tests
prometheus     command:promtool                   tests: rules, alerts, queries of the dashboard
openssl        command:openssl                    labs: certificates of the real servers
tcpdump        command:tcpdump                    labs: what passes the switch
tshark         command:tshark                     tests: options of TCP in captures
util-linux     command:setpriv                    tests: tools and daemon as another user
iptables       command:iptables                   tests: marks beside rules of the kernel
systemd        command:systemd-analyze            tests: the units are well-formed
man-db         command:man                        tests: the manual pages are well-formed
chromium       command:chromium                   tests: the web page, as a browser has it
'

say() { printf 'setup: %s\n' "$*"; }

# quietly COMMAND...: what it prints is shown only when it fails, and then this script ends.
quietly() {
  local output
  output="$(mktemp)"
  if ! "$@" </dev/null >"$output" 2>&1; then
    cat "$output" >&2
    rm -f "$output"
    say "failed: $*"
    exit 1
  fi
  rm -f "$output"
}

there() {
  case "$1" in
    command:*) command -v "${1#command:}" >/dev/null ;;
    file:*) [ -e "${1#file:}" ] ;;
  esac
}

missing_packages() {
  local package probe
  while read -r package probe _; do
    if [ -n "$package" ] && ! there "$probe"; then echo "$package"; fi
  done <<<"$PACKAGES"
}

# Labs and tests start their own: the service that came with the package stays off.
not_at_boot() {
  if [ -d /run/systemd/system ]; then quietly systemctl disable "$1.service"; fi
}

# Debian starts a service when it installs it: policy-rc.d forbids that while we install.
install_packages() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get update
  quietly apt-get install -y --no-install-recommends "$@"
  local service
  for service in nginx prometheus; do
    if [[ " $* " == *" $service "* ]]; then not_at_boot "$service"; fi
  done
}

packages() {
  local missing
  missing="$(missing_packages | tr '\n' ' ')"
  missing="${missing% }"
  if [ -z "$missing" ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    say "missing, by Debian's names: $missing"
    say "there is no apt-get here: install them with your system's package manager, then run this again"
    exit 1
  fi
  if [ "$(id -u)" != 0 ]; then
    say "missing: $missing"
    say "as root: apt-get install $missing"
    exit 1
  fi
  say "installing $missing"
  # shellcheck disable=SC2086 # one word a package
  install_packages $missing
  missing="$(missing_packages | tr '\n' ' ')"
  if [ -n "$missing" ]; then
    say "installed, but still not found: $missing"
    exit 1
  fi
}

node_modules() {
  if [ package-lock.json -nt node_modules/.package-lock.json ]; then
    say 'npm ci'
    quietly npm ci --no-audit --no-fund
    touch node_modules/.package-lock.json
  fi
}

# up_to_date STAMP PATH...: nothing below the paths changed since the stamp was written, by this
# version of Node. Folders count too: a deleted file changes its folder.
up_to_date() {
  local stamp="$1"
  shift
  [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(node --version)" ] &&
    [ -z "$(find "$@" \( -name node_modules -o -name build \) -prune -o -newer "$stamp" -print -quit)" ]
}

# step NAME SCRIPT STAMP PATH...: runs the npm script unless it is up to date. The time that counts
# is the one before it ran: what changes meanwhile is built next time.
step() {
  local name="$1" script="$2" stamp="$3"
  shift 3
  if up_to_date "$stamp" "$@"; then return; fi
  say "building $name"
  local began
  began="$(date +%s.%N)"
  quietly npm run --silent "$script"
  node --version >"$stamp"
  touch -d "@$began" "$stamp"
}

# Node's headers lie beside most installations of it; else node-gyp downloads them.
node_prefix="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
if [ -e "$node_prefix/include/node/node_api.h" ]; then export npm_config_nodedir="$node_prefix"; fi

packages
node_modules
addon=native/xsk-napi
step 'the addon and the XDP program' build:native $addon/build/setup.stamp \
  $addon/src $addon/bpf $addon/binding.gyp $addon/build.js $addon/package.json
step 'the TypeScript' build dist/setup.stamp \
  src test bench tsconfig.base.json tsconfig.json package.json package-lock.json \
  $addon/index.d.ts
say 'up to date'
