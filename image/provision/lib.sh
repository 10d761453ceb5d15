# shellcheck shell=bash
# What the numbered scripts share: where things are, what versions they are of, how a package and a file get there.
set -euo pipefail

PROVISION=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
IMAGE=$(dirname "$PROVISION")
PACKAGE_SOURCES=${PACKAGE_SOURCES:-}
WITH_GPU=${WITH_GPU:-1}
WITH_CLOUDWATCH=${WITH_CLOUDWATCH:-1}
# shellcheck disable=SC2034 # of these the scripts use what they need
APPLICATION=/opt/voicefleet SHARE=/usr/local/share/voicefleet REPORT=/usr/local/share/voicefleet/image
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a

# shellcheck source=image/versions.env
source "$IMAGE/versions.env"

# Cloud-init and the daily timers also hold apt's locks while a fresh machine starts.
apt_get() { apt-get -o DPkg::Lock::Timeout=600 --quiet --yes "$@"; }

# installed NAME[=VERSION]
installed() {
  local name=${1%%=*} found
  found=$(dpkg-query --show --showformat '${db:Status-Status} ${Version}' "$name" 2>/dev/null) || return 1
  [[ $found == "installed "* && ($1 != *=* || ${found#installed } == "${1#*=}") ]]
}

# install_packages NAME[=VERSION]...: asks apt only for what is not there, so that held packages stay as they are.
install_packages() {
  local package missing=()
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] || apt_get --no-install-recommends install "${missing[@]}"
}

# install_file MODE FROM TO: leaves a file that is right as it is.
install_file() {
  if [[ ! -e $3 || $(stat --format %a "$3") != "$1" ]] || ! cmp --quiet "$2" "$3"; then
    install -D --mode "$1" "$2" "$3"
  fi
}

# install_tree MODE FROM TO: every file under FROM.
install_tree() {
  local file
  [[ -d $2 ]] || return 0
  while IFS= read -r -d '' file; do
    install_file "$1" "$2/$file" "$3/$file"
  done < <(find "$2" -type f -printf '%P\0' | sort --zero-terminated)
}
