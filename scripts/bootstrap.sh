#!/bin/sh
# Makes .venv and installs a locked set of packages and this project into it.
# Usage: scripts/bootstrap.sh dev|demo
# PYTHON=/path/to/python3 chooses the interpreter; otherwise the first fitting one (3.11 or newer) is taken.
# A second run with nothing changed ends at once: a stamp in .venv holds the checksum of all that matters.
set -eu
cd "$(dirname "$0")/.."

SET=${1:?usage: scripts/bootstrap.sh dev|demo}
LOCK=requirements/$SET.lock
VENV=.venv

die() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

sudo_prefix() {
    [ "$(id -u)" = 0 ] || printf 'sudo '
}

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Prints the one command that installs a fitting Python on this kind of machine.
python_advice() {
    if [ "$(uname -s)" = Darwin ]; then
        if command -v brew >/dev/null 2>&1; then
            echo "brew install python@3.12"
        else
            echo "open https://www.python.org/downloads/macos/"
        fi
    elif command -v apt-get >/dev/null 2>&1; then
        for minor in 14 13 12 11; do
            if apt-cache show "python3.$minor-venv" >/dev/null 2>&1; then
                echo "$(sudo_prefix)apt-get install -y python3.$minor-venv"
                return
            fi
        done
        echo "$(sudo_prefix)apt-get update && $(sudo_prefix)apt-get install -y python3 python3-venv"
    elif command -v dnf >/dev/null 2>&1; then
        echo "$(sudo_prefix)dnf install -y python3.12"
    elif command -v pacman >/dev/null 2>&1; then
        echo "$(sudo_prefix)pacman -S --noconfirm python"
    elif command -v apk >/dev/null 2>&1; then
        echo "$(sudo_prefix)apk add python3"
    else
        echo "open https://www.python.org/downloads/"
    fi
}

# Prints the one command that gives the found Python its venv module back (Debian ships it apart).
venv_advice() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if command -v apt-get >/dev/null 2>&1; then
        if [ "$("$1" -c 'import sys; print(sys.prefix)')" = /usr ]; then
            echo "$(sudo_prefix)apt-get install -y python$version-venv"
            return
        fi
    fi
    python_advice
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer."
        return
    fi
    for PYTHON in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$PYTHON" >/dev/null 2>&1 && fits "$PYTHON"; then
            return
        fi
    done
    die "Python 3.11 or newer is needed and none was found. This installs it:

    $(python_advice)"
}

# What an installation depends on: the place (scripts hold absolute paths), the packages, the project's metadata.
checksum() {
    { pwd; cat "$1" pyproject.toml scripts/bootstrap.sh; } | cksum
}

fresh() {
    [ -x "$VENV/bin/python" ] && [ -f "$VENV/.stamp-$1" ] &&
        [ "$(cat "$VENV/.stamp-$1")" = "$(checksum "requirements/$1.lock")" ]
}

# The development set holds all of the demo's.
if fresh "$SET" || { [ "$SET" = demo ] && fresh dev; }; then
    exit 0
fi

# A .venv that was moved, copied, or whose Python went away, is made anew.
if [ -e "$VENV" ] && ! { [ "$(cat "$VENV/.place" 2>/dev/null)" = "$(pwd)" ] && fits "$VENV/bin/python"; }; then
    rm -rf "$VENV"
fi

if [ ! -e "$VENV" ]; then
    find_python
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        die "$PYTHON cannot make virtual environments. This mends it:

    $(venv_advice "$PYTHON")"
    echo "Making .venv with $("$PYTHON" --version) ..."
    "$PYTHON" -m venv "$VENV" || {
        rm -rf "$VENV"
        die "Making .venv failed. This usually mends it:

    $(venv_advice "$PYTHON")"
    }
    pwd >"$VENV/.place"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_VIRTUALENV=1
echo "Installing the locked packages ($LOCK) ..."
rm -f "$VENV"/.stamp-*
"$VENV/bin/python" -m pip install --quiet --require-hashes --only-binary :all: -r "$LOCK" ||
    die "Installing failed. If the network is the cause, the same command again goes on from here."
"$VENV/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
checksum "$LOCK" >"$VENV/.stamp-$SET"
