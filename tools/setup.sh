#!/bin/sh
# Makes .venv with the project installed, and sees to it that frames can be drawn: `tools/setup.sh` all that the
# Makefile's verbs need, `tools/setup.sh .` what the package itself needs.
# Assumes nothing but Python 3.11+ with its standard library. System packages are installed only
# where apt-get may run without a question (root, or sudo without a password); otherwise the one
# command that is missing is printed, and the script stops.
#
# PYTHON=/path/to/python picks the interpreter. Where torch has not been installed yet, there is no NVIDIA
# GPU and download.pytorch.org answers, torch comes from its CPU index, which is much smaller.
set -eu
cd "$(dirname "$0")/.."
VENV=.venv
WHAT=${1:-.[dev]}
GL_PACKAGES="libegl1 libgl1-mesa-dri libopengl0"
CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*" >&2; }
stop() { say "setup stopped: $*"; exit 1; }

may_sudo() { command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; }

# Install Debian packages, or say how and stop.
need_packages() {
    if ! command -v apt-get >/dev/null 2>&1; then
        stop "this system lacks what Debian calls $*; install it with your package manager, then run make again"
    elif [ "$(id -u)" = 0 ]; then
        as_root=""
    elif may_sudo; then
        as_root="sudo -n"
    else
        stop "run this, then make again:  sudo apt-get install -y $*"
    fi
    say "installing system packages: $*"
    $as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists that are there"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        stop "apt-get could not install $*"
}

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        recent "$PYTHON" || stop "PYTHON=$PYTHON is not Python 3.11 or later"
        return
    fi
    for PYTHON in python3 python3.13 python3.12 python3.11 python; do
        if recent "$PYTHON"; then return; fi
    done
    stop "no Python 3.11 or later found; set PYTHON=/path/to/python"
}

venv_works() { "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && recent "$VENV/bin/python"; }

# Make the environment with what Python has; 1 if that lacks something.
make_venv() {
    say "creating $VENV with $("$PYTHON" --version)"
    if "$PYTHON" -m venv --clear "$VENV" >/dev/null 2>&1 && venv_works; then return; fi
    # Debian packs ensurepip apart (python3-venv). A pip outside can fill the environment as well.
    if "$PYTHON" -m venv --clear --without-pip "$VENV" >/dev/null 2>&1 &&
        "$PYTHON" -m pip --python "$VENV/bin/python" install -q pip >/dev/null 2>&1 && venv_works; then return; fi
    rm -rf "$VENV"
    return 1
}

# Whether MuJoCo will find a library to draw with. Its EGL path needs a GL library beside libEGL.
has_graphics() {
    [ "$(uname -s)" = Linux ] || return 0
    "$PYTHON" - <<'PY'
import ctypes, sys

def loads(*names):
    for name in names:
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            pass
    return False

egl = loads("libEGL.so.1") and loads("libOpenGL.so.0", "libGL.so.1")
sys.exit(not (egl or loads("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")))
PY
}

# Whether the small CPU build of torch is wanted and can be had.
wants_cpu_torch() {
    [ "$(uname -s)" = Linux ] || return 1
    "$VENV/bin/python" -c 'import torch' >/dev/null 2>&1 && return 1
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1 && return 1
    "$VENV/bin/python" -c "import urllib.request as u; u.urlopen('$CPU_INDEX/torch/', timeout=5)" >/dev/null 2>&1
}

install_project() {
    # Not compiled: most modules of these packages are never imported, and those that are get compiled then.
    pip="$VENV/bin/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt"
    say "installing packages into $VENV (a few minutes the first time)"
    if wants_cpu_torch; then
        $pip torch --index-url "$CPU_INDEX" || say "no torch from $CPU_INDEX; taking it from the package index"
    fi
    # pip knows this machine's own indexes, for one of torch too; uv is several times faster where it reaches PyPI.
    $pip torch uv || stop "pip could not install torch and uv"
    "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" -c constraints.txt -e "$WHAT" 2>/dev/null ||
        $pip -e "$WHAT" || stop "pip could not install the project"
}

# Draws one small frame: a library may be there without a driver behind it.
can_draw() {
    MUJOCO_GL=$1 "$VENV/bin/python" -c '
import mujoco
renderer = mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16)
renderer.render()
renderer.close()' >/dev/null 2>&1
}

draws() { [ "$(uname -s)" != Linux ] || can_draw egl || can_draw osmesa; }

# What needs a system package is asked for at once, before the long part.
missing=""
find_python
venv_works || make_venv || missing=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
has_graphics || missing="$missing $GL_PACKAGES"
# Unquoted: a list of words.
[ -z "$missing" ] || need_packages $missing
venv_works || make_venv || stop "'$PYTHON -m venv $VENV' fails; run it by hand to see why"
install_project
draws || need_packages $GL_PACKAGES
draws || stop "MuJoCo draws nothing, neither with MUJOCO_GL=egl nor osmesa; run '$VENV/bin/sfvgen-plan doctor'"
say "ready: $VENV"
