#!/usr/bin/env bash
# The system below everything else: its packages, clock, logs, limits and the settings of files/.
source "$(dirname "$0")/lib.sh"

# Where packages come from that the distribution lacks: the builder's own choice.
if [[ -n $PACKAGE_SOURCES ]]; then
  shopt -s nullglob
  for file in "$PACKAGE_SOURCES"/*.sources; do
    install_file 644 "$file" "/etc/apt/sources.list.d/$(basename "$file")"
  done
  for file in "$PACKAGE_SOURCES"/*.asc "$PACKAGE_SOURCES"/*.gpg; do
    install_file 644 "$file" "/etc/apt/keyrings/$(basename "$file")"
  done
fi

# First, so that no driver is upgraded behind the build's back.
install_tree 644 "$PROVISION/files" ""

apt_get update
# libgomp1: the embedded language model's library asks for it and brings none.
install_packages ca-certificates chrony curl libgomp1 logrotate mdadm python3 python3-venv xfsprogs

systemctl enable chrony.service
