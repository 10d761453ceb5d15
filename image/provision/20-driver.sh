#!/usr/bin/env bash
# The NVIDIA driver: the distribution's signed modules and the programs that go with them, held together with the kernel.
source "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2153 # from versions.env
readonly KERNEL DRIVER
[[ $WITH_GPU == 1 ]] || exit 0

# The modules' package depends on the modules of its newest kernel; asked for together, neither moves alone.
install_packages "linux-$KERNEL" "linux-modules-nvidia-$DRIVER-$KERNEL" \
  "libnvidia-compute-$DRIVER" "nvidia-utils-$DRIVER" "nvidia-compute-utils-$DRIVER" nvidia-modprobe
# Of compute-utils MPS is meant, for nodes that ask for it; its other service would start on every one.
systemctl mask nvidia-persistenced.service

mapfile -t held < <(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' 'linux-*' '*nvidia*' |
  sed -n -E 's/^installed ((linux-(aws|image|headers|modules|objects|signatures)|(lib)?nvidia-).*)$/\1/p')
apt-mark hold "${held[@]}"

# What a mismatch looks like on a node: "Driver/library version mismatch", and no call is answered.
kernel=$(linux-version list | linux-version sort | tail -1) # the one that is booted
module=$(modinfo --set-version "$kernel" --field version nvidia)
programs=$(dpkg-query --show --showformat '${source:Upstream-Version}' "nvidia-utils-$DRIVER")
if [[ $module != "$programs" ]]; then
  echo "20-driver.sh: the module of kernel $kernel is $module, the programs are $programs" >&2
  exit 1
fi
