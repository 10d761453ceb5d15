#!/usr/bin/env bash
# Leaves only what a node needs, closes SSH, lists what is there and fails if the root is not lean.
source "$(dirname "$0")/lib.sh"

# Whoever needs a shell comes through SSM. Not --now: the build itself came through SSH.
systemctl mask ssh.service ssh.socket

# Nodes must not share an identity, and a new instance has to run its own user data.
if command -v cloud-init >/dev/null; then
  cloud-init clean --logs
fi
truncate --size 0 /etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed

if [[ -n $PACKAGE_SOURCES ]]; then
  for file in "$PACKAGE_SOURCES"/*.sources; do
    rm -f "/etc/apt/sources.list.d/$(basename "$file")" # the next image may come from elsewhere; a node fetches nothing
  done
fi
apt_get autoremove --purge
apt_get clean
rm -rf /var/lib/apt/lists/* /root/.cache
find /var/log -type f -exec truncate --size 0 {} +

install -d "$REPORT"
install_file 644 "$IMAGE/versions.env" "$REPORT/versions.env"
python3 "$IMAGE/checks/sbom.py" dpkg >"$REPORT/sbom-dpkg.cdx.json"
python3 "$IMAGE/checks/sbom.py" python "$APPLICATION"/lib/python3.*/site-packages >"$REPORT/sbom-python.cdx.json"
python3 "$IMAGE/checks/lean_root.py" / | tee "$REPORT/lean-root.txt"
