#!/bin/sh
# Changes the code of who may do what, one small thing at a time, and counts how many changes the tests notice.
# Usage: scripts/mutants.sh            [tool.mutmut] in pyproject.toml says which code and which tests
#        scripts/mutants.sh --survivors  also lists the changes that nobody has noticed
# Needs the development environment in .venv (`make install`); takes tens of minutes. Ends with 1 below 90 %.
set -eu
cd "$(dirname "$0")/.."
TOOL=build/mutmut
[ -d "$TOOL" ] || .venv/bin/python -m pip install --quiet --target "$TOOL" 'mutmut==3.8.1'
export PYTHONPATH="$PWD/$TOOL:$PWD/src"
.venv/bin/python -m mutmut run --max-children 2 >build/mutmut.log 2>&1 || { tail -30 build/mutmut.log; exit 2; }
.venv/bin/python -m mutmut results --all true >build/mutants.txt
[ "${1:-}" != --survivors ] || grep -v ': killed' build/mutants.txt || true
awk -F': ' '
    / killed$| timeout$/ { caught++ }
    NF > 1 { all++ }
    END { printf "%d of %d changes were noticed: %.1f %%\n", caught, all, 100 * caught / all; exit caught < 0.9 * all }
' build/mutants.txt
