#!/usr/bin/env bash
# What VOICE_TTS_COMPILED would make each node compile, made once on this GPU: a node has no compiler.
source "$(dirname "$0")/lib.sh"
[[ $WITH_GPU == 1 ]] || exit 0

readonly cache=/var/cache/voicefleet-tts/inductor # voicefleet-tts.service looks there, and gets the folder for its own
made_of="$(cat "$APPLICATION/made-of") $DRIVER"
if [[ $(cat "$cache/made-of" 2>/dev/null) == "$made_of" ]]; then
  exit 0
fi

# Triton has its launcher compiled in C, once; it is kept in the cache with the rest.
compiler=(gcc libc6-dev python3-dev)
install_packages "${compiler[@]}"
rm -rf "$cache"
install -d "$cache"
# A node does without it: it computes those pieces as they are, and says so. So a piece that can't be compiled costs no image.
if TORCHINDUCTOR_CACHE_DIR=$cache VOICE_TTS=chatterbox VOICE_TTS_DEVICE=cuda "$APPLICATION/bin/voicefleet" models compile; then
  echo "$made_of" >"$cache/made-of"
  echo "compiled ahead: $(du -sh "$cache" | cut -f1)"
else
  echo "nothing is compiled ahead: see above. Leave VOICE_TTS_COMPILED off on nodes of this image" >&2
  find "$cache" -mindepth 1 -delete
fi
apt_get purge "${compiler[@]}" # 90-finish.sh removes what came with it
