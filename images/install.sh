#!/bin/sh
# install.sh sync LOCK [WITHOUT ...] | install.sh add FOLDER [FLAG ...]
# What a lock pins, or a package of ours, into /opt/venv; then what is there, as an SBOM. uv itself is in no layer, nor
# are its downloads, unless UV_NO_CACHE=false says that the builder mounts a cache. No pod can write bytecode beside its
# packages: without it, each would compile torch anew, for seconds. It names its source by no time, so that what
# is built twice is the same, and no builder that sets the times of files makes it stale.
set -eu
here=$(dirname "$0")
python3 -m venv /tmp/uv
/tmp/uv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r "$here/uv.txt"
export UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH UV_LINK_MODE=copy UV_NO_CACHE="${UV_NO_CACHE:-1}"
uv=/tmp/uv/bin/uv python=/opt/venv/bin/python
if [ ! -d /opt/venv ]; then
  $uv venv --quiet --python python3 /opt/venv
  python3 -m compileall -qf --invalidation-mode unchecked-hash \
    -x '/(ensurepip|idlelib|lib2to3|site-packages|dist-packages|test|turtledemo)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
fi

# What PyPI's torch brings for GPUs and loads on them alone. What it is linked to has to stay.
keep_what_cpus_load() {
  packages=$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  for path in nvidia/cudnn/lib/libcudnn_* nvidia/cu13/lib/libnvrtc.alt* nvidia/cu13/lib/libcusolver* \
      nvidia/cu13/lib/libnvperf* nvidia/nvshmem/lib/*.bc torch/lib/libtorch_cuda_linalg.so; do
    rm -f "$packages"/$path
  done
}

command=$1 what=$2
shift 2
case "$command" in
  sync)
    $uv pip sync --require-hashes --python $python "$what"
    [ $# = 0 ] || $uv pip uninstall --python $python "$@"
    [ "${DEVICE:-}" != cpu ] || keep_what_cpus_load
    find /opt/venv -name '*.a' -delete  # nothing is linked here
    ;;
  add) $uv pip install --no-deps --python $python "$@" "$what" ;;
esac
# When and from where a package came differs in every build, and is nobody's matter.
find /opt -path '*.dist-info/uv_cache.json' -delete
find /opt -path '*.dist-info/RECORD' -exec grep -l '/uv_cache\.json,' {} + | xargs -r sed -i '/\/uv_cache\.json,/d'
# Of Debian's packages what the image will have: all, or what a stage has put aside for it.
status=/var/lib/dpkg/status
[ ! -f /runtime$status ] || status=/runtime$status
mkdir -p /usr/share/sbom
$python "$here/sbom.py" $status /opt/*/lib/python3*/site-packages >/usr/share/sbom/sbom.cdx.json
rm -rf /tmp/uv "${HOME:-/root}/.cache/pip"
