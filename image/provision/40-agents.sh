#!/usr/bin/env bash
# What watches a node: node_exporter, DCGM's core with its exporter, the CloudWatch agent, each with the project's files.
source "$(dirname "$0")/lib.sh"

install_packages prometheus-node-exporter

if [[ $WITH_GPU == 1 ]]; then
  # The core alone: DCGM's cuda packages bring a cuBLAS of their own. They are its recommendations, so none is taken.
  install_packages "datacenter-gpu-manager-4-core=$DCGM" "datacenter-gpu-manager-exporter=$DCGM_EXPORTER"
  apt-mark hold datacenter-gpu-manager-4-core datacenter-gpu-manager-exporter
  install_file 644 "$IMAGE/files/dcgm-exporter/counters.csv" /etc/dcgm-exporter/counters.csv
  # Ours (image/units) has DCGM inside and these counters; the packages' own would be a second of each.
  systemctl mask nvidia-dcgm.service nvidia-dcgm-exporter.service
fi

if [[ $WITH_CLOUDWATCH == 1 ]]; then
  # AWS publishes a package and no archive of packages, so the builder brings the file; the version is checked here.
  if ! installed "amazon-cloudwatch-agent=$CLOUDWATCH_AGENT"; then
    file=$PACKAGE_SOURCES/amazon-cloudwatch-agent.deb
    # shellcheck disable=SC2016 # dpkg's own variables
    found=$(dpkg-deb --show --showformat '${Package}=${Version}' "$file")
    if [[ $found != "amazon-cloudwatch-agent=$CLOUDWATCH_AGENT" ]]; then
      echo "40-agents.sh: $file holds $found; image/versions.env asks for $CLOUDWATCH_AGENT" >&2
      exit 1
    fi
    apt_get --no-install-recommends install "$file"
  fi
  apt-mark hold amazon-cloudwatch-agent
fi
# With placeholders: at boot fill-config knows the node's names and starts the agent.
install_tree 644 "$IMAGE/files/cloudwatch-agent" "$SHARE/cloudwatch-agent"
