#!/usr/bin/env bash
# Install the packages named here where that is possible: by root, on Debian or Ubuntu. What stays missing is told, and
# the tests that need it are left out (`make test`) or fail (`.ci/run`).
set -euo pipefail

missing=()
for package in "$@"; do
  dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
((${#missing[@]})) || exit 0

if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
  echo "not installed, as that takes root on Debian or Ubuntu: ${missing[*]}" >&2
  exit 0
fi
apt-get update --quiet >/dev/null || true
for package in "${missing[@]}"; do
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "$package" >/dev/null ||
    echo "can't be installed here: $package" >&2
done
