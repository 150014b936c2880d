#!/bin/sh
# Makes what `make run` (setup.sh run), `make test` (… test) or `make bench` (… bench) needs: Debian
# packages, .venv and the pages' JavaScript. When all of it is fresh it does nothing and touches no
# network.
set -eu

cd "$(dirname "$0")/.."
level=${1:-run}
log=build/setup.log
started=$(date +%s)
beat=

case $level in
run) extras=capture ;;
test | bench) extras=capture,webrtc,dev ;;
*)
    echo "usage: make/setup.sh run|test|bench" >&2
    exit 64
    ;;
esac

# What the tests call: encoders and players, a browser, a web server, systemd's verifier, and what
# opens and looks into the ARM packages.
test_packages="ffmpeg chromium chromium-driver gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-rtsp
    gir1.2-gst-rtsp-server-1.0 python3-gi nginx-light imagemagick
    gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0
    systemd zstd fakeroot procps iproute2 rtmpdump libnginx-mod-rtmp curl openssl vlc-bin
    vlc-plugin-base"
bench_packages="libnginx-mod-rtmp gcc libc6-dev" # the peers that figures are compared with

# -- telling ---------------------------------------------------------------------------------------

fail() { # LINE…
    printf '\nporthole: %s\n' "$1" >&2
    shift
    for line; do printf '  %s\n' "$line" >&2; done
    exit 69
}

stop_beat() {
    [ -z "$beat" ] || kill "$beat" 2>/dev/null || true
    beat=
}
trap stop_beat EXIT
trap 'exit 130' INT # TERM stays untrapped: the new subshell below would lose one sent too early

step() { # LABEL COMMAND… : quiet, with a dot every five seconds; the log keeps what it said
    mkdir -p build
    printf '  %s ' "$1"
    shift
    begun=$(date +%s)
    { while sleep 5 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do printf .; done; } &
    beat=$!
    status=0
    printf '\n$ %s\n' "$*" >>"$log"
    "$@" </dev/null >>"$log" 2>&1 || status=$?
    stop_beat
    if [ "$status" = 0 ]; then
        printf ' %d s\n' $(($(date +%s) - begun))
    else
        printf ' failed\n'
    fi
    return "$status"
}

# What the end of the log means, in a sentence; the log itself if it is nothing we know.
explain() { # WHAT
    if tail -n 60 "$log" | grep -qiE 'no space left on device'; then
        fail "$1 did not fit: the disk is full."
    elif tail -n 60 "$log" | grep -qiE 'name resolution|could not resolve|temporary failure|getaddrinfo|network is unreachable|newconnectionerror|failed to establish|connection refused|connect timeout|timed out|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ENETUNREACH|proxyerror|from versions: none|failed to fetch'; then
        fail "$1 could not be downloaded." \
            "Is there a network, and does it need a proxy (https_proxy=…)?" \
            "Once it is there, run the same command again; what is done already is kept." \
            "All that was said is in $log."
    fi
    tail -n 25 "$log" >&2
    fail "$1 could not be installed; the lines above are the end of $log."
}

# -- Debian packages -------------------------------------------------------------------------------

is_installed() {
    case $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) in installed) ;; *) return 1 ;; esac
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

can_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# Installs packages, or says by what command somebody who may can do it.
install_packages() { # PACKAGE…
    command -v apt-get >/dev/null ||
        fail "this is not Debian; install what its packages $* hold, then run the same command again."
    can_install ||
        fail "some Debian packages are missing and only root may install them. Run" "" \
            "  sudo apt-get update && sudo apt-get install --no-install-recommends $*" "" \
            "then run the same command again."
    install_now "$@" || explain "The Debian packages $*"
}

lists=
install_now() { # PACKAGE…
    [ -n "$lists" ] || step "Debian: package lists" as_root apt-get -q update || return
    lists=fresh
    step "Debian: $*" as_root apt-get -q install -y --no-install-recommends "$@"
}

# -- Python ----------------------------------------------------------------------------------------

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        ! is_new_enough "$python" || return 0
    done
    fail "Python 3.11 or newer is needed; ${PYTHON:-python3} is not it." \
        "Debian 12 and later have it: sudo apt-get install python3 python3-venv" \
        "Or name another one: make PYTHON=/path/to/python3.12 …"
}

# One line per thing a virtual environment depends on; the stamp of a finished one.
python_state() {
    sha256sum pyproject.toml
    "$python" -c 'import sys; print(sys.base_prefix, sys.version)'
    pwd
}

make_environment() {
    find_python
    python_state >build/python-state
    for stamp in ".venv/.setup-$extras" .venv/.setup-capture,webrtc,dev; do
        [ ! -x .venv/bin/porthole ] || ! cmp -s build/python-state "$stamp" || return 0
    done
    say_once
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        install_packages python3-venv
        "$python" -c 'import venv, ensurepip' 2>>"$log" ||
            fail "$python cannot make virtual environments, even with python3-venv installed." \
                "Name another Python: make PYTHON=/usr/bin/python3 …"
    fi
    # An environment of another Python or of another folder cannot be mended, only made again.
    if [ ! -x .venv/bin/python ] || ! tail -n +2 build/python-state | cmp -s - .venv/.made-by; then
        step "Python: virtual environment .venv" "$python" -m venv --clear .venv ||
            explain "The virtual environment .venv"
        tail -n +2 build/python-state >.venv/.made-by
    fi
    step "Python: porthole[$extras] and what it depends on" \
        env PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --no-input \
        --retries 2 --progress-bar off --quiet --editable ".[$extras]" ||
        explain "The Python packages"
    rm -f .venv/.setup-*
    cp build/python-state ".venv/.setup-$extras"
}

# -- what the tests read ---------------------------------------------------------------------------

make_reference() {
    reference=.venv/picamera2-source
    ! cmp -s make/picamera2.txt "$reference/pin.txt" || return 0
    say_once
    step "picamera2: its source, to compare with" \
        env PIP_DISABLE_PIP_VERSION_CHECK=1 make/picamera2.sh .venv/bin/python "$reference" ||
        explain "The source of picamera2"
}

# -- the pages' JavaScript -------------------------------------------------------------------------

# Optional: without it the pages play HLS only where the browser itself can, and show no QR code.
make_vendor() {
    cat appliance/web/package.json appliance/web/package-lock.json appliance/web/vendor.sh |
        sha256sum >build/vendor-state
    [ ! -d appliance/web/vendor ] || ! cmp -s build/vendor-state build/vendor-done || return 0
    say_once
    if ! command -v npm >/dev/null && can_install; then
        install_now npm || true
    fi
    if ! command -v npm >/dev/null; then
        no_vendor "npm is missing (sudo apt-get install --no-install-recommends npm)"
    elif step "npm: the player's JavaScript" appliance/web/vendor.sh build/web; then
        mv build/vendor-state build/vendor-done
    else
        no_vendor "npm could not install it (see $log)"
    fi
}

no_vendor() {
    [ "$level" = run ] || fail "the tests need the pages' JavaScript, and $1."
    cat <<END
  The pages' JavaScript is left out: $1.
  The streams play all the same in Safari and in Chromium, which play HLS by themselves.
END
}

# -- all of it -------------------------------------------------------------------------------------

said=
say_once() {
    [ -n "$said" ] || echo "porthole: setting up (all that is said goes to $log)"
    said=yes
}

mkdir -p build 2>/dev/null && [ -w . ] ||
    fail "$(pwd) cannot be written to; clone the repository as the user who runs it."

wanted=
[ "$level" = run ] || wanted=$test_packages
[ "$level" != bench ] || wanted="$wanted $bench_packages"
if command -v dpkg-query >/dev/null; then
    missing=
    for package in $wanted; do
        is_installed "$package" || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        say_once
        # shellcheck disable=SC2086  # a list of names
        install_packages $missing
    fi
fi
make_environment
make_vendor
[ "$level" != test ] || make_reference
[ -z "$said" ] || printf 'porthole: set up in %d s\n' $(($(date +%s) - started))
