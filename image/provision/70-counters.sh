#!/usr/bin/env bash
# Every counter that the agent is to carry is really served on this GPU: one that is missing looks like one at rest.
source "$(dirname "$0")/lib.sh"
[[ $WITH_GPU == 1 ]] || exit 0

systemctl start dcgm-exporter.service
trap 'systemctl stop dcgm-exporter.service' EXIT
python3 "$IMAGE/checks/gpu_counters.py" /etc/dcgm-exporter/counters.csv http://127.0.0.1:9400/metrics
