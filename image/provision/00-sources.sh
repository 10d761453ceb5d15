#!/usr/bin/env bash
# What the builder brings, before anything is installed: archives are signed, and the agent's file is the pinned one.
source "$(dirname "$0")/lib.sh"
# shellcheck disable=SC2153 # from versions.env
readonly CLOUDWATCH_AGENT CLOUDWATCH_AGENT_SHA256

refuse() {
  echo "00-sources.sh: $*" >&2
  exit 1
}

if [[ -n $PACKAGE_SOURCES ]]; then
  shopt -s nullglob
  for file in "$PACKAGE_SOURCES"/*.sources; do
    archives=$(grep --ignore-case --count '^uris:' "$file" || true)
    signed=$(grep --ignore-case --count '^signed-by: */etc/apt/keyrings/' "$file" || true)
    ((archives == signed)) || refuse "$file: an archive without Signed-By: /etc/apt/keyrings/..."
    ! grep --ignore-case --quiet --extended-regexp '^(trusted|allow-[a-z-]+) *: *(yes|1|true)' "$file" ||
      refuse "$file: an archive whose signature would not be asked for"
  done
fi

if [[ $WITH_CLOUDWATCH == 1 ]]; then
  # AWS publishes a package and no archive of packages, so nothing but this vouches for the file.
  file=$PACKAGE_SOURCES/amazon-cloudwatch-agent.deb
  [[ $CLOUDWATCH_AGENT_SHA256 =~ ^[0-9a-f]{64}$ ]] ||
    refuse "CLOUDWATCH_AGENT_SHA256 in image/versions.env: got '$CLOUDWATCH_AGENT_SHA256'; takes the SHA-256 of version" \
      "$CLOUDWATCH_AGENT, once AWS's signature of the file has been checked (docs/image.md)"
  found=$(sha256sum "$file")
  [[ ${found%% *} == "$CLOUDWATCH_AGENT_SHA256" ]] ||
    refuse "$file has the SHA-256 ${found%% *}; image/versions.env asks for $CLOUDWATCH_AGENT_SHA256"
fi
