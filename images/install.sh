#!/bin/sh
# install.sh sync LOCK | install.sh add FOLDER
# What a lock pins, or a package of ours, into /opt/venv. uv itself is in no layer, nor are its downloads, unless
# UV_NO_CACHE=false says that the builder mounts a cache. No pod can write bytecode beside its packages: without
# it, each would compile torch anew, for seconds.
set -eu
here=$(dirname "$0")
python3 -m venv /tmp/uv
/tmp/uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r "$here/uv.txt"
export UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE="${UV_NO_CACHE:-1}"
uv=/tmp/uv/bin/uv
[ -d /opt/venv ] || $uv venv --quiet --python python3 /opt/venv
case "$1" in
  sync) $uv pip sync --require-hashes --python /opt/venv/bin/python "$2" ;;
  add) $uv pip install --no-deps --python /opt/venv/bin/python "$2" ;;
esac
rm -rf /tmp/uv "${HOME:-/root}/.cache/pip"
