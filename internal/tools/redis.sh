#!/usr/bin/env bash
# Makes sure that a redis-server is on the path, from Debian's packages, without leaving a service running: the package
# would start one, and the embedded engine wants the program only.
set -euo pipefail

command -v redis-server >/dev/null && exit 0
if ! command -v apt-get >/dev/null; then
    echo "redis-server is not on the path and there is no apt-get: the service falls back to an in-process Redis; the tests need a real one" >&2
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi

echo "bringing redis-server from apt (once) …"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null # 101: action forbidden by policy
    "${as_root[@]}" chmod +x "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends redis-server >/dev/null
