#!/bin/sh
# Everything foils needs, into a virtual environment: sh scripts/install.sh [FOLDER]
# Needs Python >= 3.11 and a package index; takes no model or data hub.
set -eu
venv=${1:-.venv}
python=${PYTHON:-python3}
bin=$venv/bin

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "foils needs Python 3.11 or newer; this is $("$python" --version). Try: make PYTHON=python3.12" >&2; exit 1; }
[ -x "$bin/python" ] || "$python" -m venv "$venv"
"$bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt uv

# PyTorch first. On Linux the package index brings several GB of CUDA libraries; without an NVIDIA GPU the CPU build is
# enough. Its version has a local suffix, so where PyTorch's own index can be reached it wins over the plain one; where
# it can't, pip takes what its configuration offers.
torch=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' constraints.txt)
if ! "$bin/python" -c 'import torch' 2>/dev/null; then
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1; then
        "$bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps \
            --extra-index-url https://download.pytorch.org/whl/cpu "$torch"
    else
        "$bin/python" -m pip install --quiet --disable-pip-version-check "$torch"
    fi
fi

# uv resolves in seconds where pip takes a minute; pip is the fall-back.
"$bin/uv" pip install --quiet --compile-bytecode --python "$bin/python" -c constraints.txt -e '.[dev]' ||
    "$bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
