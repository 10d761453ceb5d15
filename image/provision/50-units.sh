#!/usr/bin/env bash
# The project's own units, their users, and the scripts they run at boot.
source "$(dirname "$0")/lib.sh"

install_tree 755 "$IMAGE/boot" /usr/local/lib/voicefleet
for unit in "$IMAGE"/units/*.{service,target,mount}; do
  install_file 644 "$unit" "/etc/systemd/system/$(basename "$unit")"
done
for changes in "$IMAGE"/units/*.d; do
  install_tree 644 "$changes" "/etc/systemd/system/$(basename "$changes")"
done
install_file 644 "$IMAGE/units/voicefleet.sysusers" /etc/sysusers.d/voicefleet.conf
install_file 644 "$IMAGE/units/voicefleet.tmpfiles" /etc/tmpfiles.d/voicefleet.conf
install_file 644 "$IMAGE/units/voicefleet.logrotate" /etc/logrotate.d/voicefleet

systemd-sysusers /etc/sysusers.d/voicefleet.conf
# The others are started by those that want them.
while IFS= read -r unit; do
  systemctl enable "$(basename "$unit")"
done < <(grep --files-with-matches --line-regexp --fixed-strings --directories=skip '[Install]' "$IMAGE"/units/*)
