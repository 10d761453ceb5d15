#!/usr/bin/env bash
# The application in an environment of its own, from the locks with their hashes. With a GPU, CUDA comes here and only here.
source "$(dirname "$0")/lib.sh"

source_tree=$(dirname "$IMAGE")
locks=(base)
[[ $WITH_GPU == 0 ]] || locks+=(chatterbox gpu)
if [[ -f $PACKAGE_SOURCES/pip.conf ]]; then
  export PIP_CONFIG_FILE=$PACKAGE_SOURCES/pip.conf
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

# What the environment is made of, so that the second run sees that there is nothing to do.
files=("${locks[@]/%/.txt}")
made_of=$(cd "$source_tree" && find server pyproject.toml "${files[@]/#/requirements/}" -type f \
  -not -path "*/__pycache__/*" -print0 | sort --zero-terminated | xargs --null sha256sum | sha256sum)
made_of=${made_of%% *}
if [[ $(cat "$APPLICATION/made-of" 2>/dev/null) == "$made_of" ]]; then
  exit 0
fi

rm -rf "$APPLICATION"
python3 -m venv "$APPLICATION"
for lock in "${locks[@]}"; do
  # base is complete in itself; the others are installed as the Makefile does, without what upstream asks for.
  complete=()
  [[ $lock == base ]] || complete=(--no-deps)
  "$APPLICATION/bin/python" -m pip install "${complete[@]}" --require-hashes --requirement "$source_tree/requirements/$lock.txt"
done

# The package is built in a second environment: what builds it has no business on a node.
build=$(mktemp --directory)
trap 'rm -rf "$build"' EXIT
python3 -m venv "$build/environment"
"$build/environment/bin/python" -m pip install --require-hashes --requirement "$source_tree/requirements/bootstrap.txt"
"$build/environment/bin/python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$build" "$source_tree"
"$APPLICATION/bin/python" -m pip install --no-deps --no-index "$build"/voicefleet-*.whl

"$APPLICATION/bin/voicefleet" --help >/dev/null
echo "$made_of" >"$APPLICATION/made-of"
