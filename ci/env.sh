# Sourced by the scripts beside it: leaves an installed .venv in the clone and its
# Python in $PYTHON. A stamp holds the hash of what was installed and is written
# last, so that a re-run is instant and a half-finished install is done again.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"

# LOOPCTL_VERSIONS=oldest: an environment of its own, with the versions in ci/oldest.txt.
versions=${LOOPCTL_VERSIONS-newest}
constraints=()
case $versions in
    newest) venv="$repo/.venv" ;;
    oldest)
        venv="$repo/.venv-oldest"
        constraints=(--constraint "$repo/ci/oldest.txt")
        ;;
    *)
        echo "LOOPCTL_VERSIONS is $versions; it may be oldest or newest" >&2
        exit 2
        ;;
esac
stamp="$venv/.installed"

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3 python; do
        # Run it: a shim on PATH may stand for a version that is not there, and a
        # distribution's Python may come without what makes a virtual environment.
        if "$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "loopctl needs Python 3.11 or newer with its venv module; none was found on PATH." >&2
    echo "On Debian or Ubuntu: apt install python3.11 python3.11-venv" >&2
    return 1
}

# The path belongs to it: a virtual environment does not survive a move.
wanted="$repo $(cat "$repo/pyproject.toml" "$repo/ci/oldest.txt" | cksum)"
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
    python=$(find_python)
    echo "Installing into $(basename "$venv") with $("$python" --version) (some minutes, once)" >&2
    rm -f "$stamp"
    "$python" -m venv "$venv"
    # What an older clone left: its entry point names a plugin of pytest that is no longer there.
    "$venv/bin/python" -m pip uninstall --quiet --quiet --yes loopctl
    install=(
        --quiet ${constraints[@]+"${constraints[@]}"} -e "$repo[test,plot,board,files,experiment]"
    )
    # uv takes a fifth of pip's time, but reads none of pip's settings (another index, a proxy).
    if ! { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv &&
        "$venv/bin/python" -m uv pip install --system-certs --python "$venv/bin/python" "${install[@]}"; }; then
        echo "uv could not install it; pip tries, with its own settings" >&2
        "$venv/bin/python" -m pip install --disable-pip-version-check "${install[@]}"
    fi
    echo "$wanted" >"$stamp"
fi

PYTHON="$venv/bin/python"
# No accelerator and no chatter unless the caller asks for them.
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES--1}"
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL-3}"
