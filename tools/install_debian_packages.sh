#!/bin/sh
# Install the Debian or Ubuntu packages that the plugin tests need: a virtual X server, OpenGL and the libraries of Qt.
# Without root access, print the command to run. On other systems than Linux, do nothing.
set -eu

packages="xvfb xauth libgl1 libgl1-mesa-dri libglx-mesa0 libegl1 libopengl0 libxkbcommon-x11-0 libdbus-1-3
libfontconfig1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
libxcb-render-util0 libxcb-shape0 libxcb-xkb1 libxcb-glx0 libx11-xcb1 fonts-dejavu-core"

[ "$(uname -s)" = Linux ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    command -v xvfb-run >/dev/null && exit 0
    echo "The plugin tests need xvfb-run; install Xvfb with the package manager of your system, then run this again." >&2
    exit 1
fi

# Installed packages and the names they provide (libglib2.0-0t64 provides libglib2.0-0).
installed=$(dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' | sed -n 's/^installed //p' | tr ', ' '\n\n')
missing=""
for package in $packages; do
    printf '%s\n' "$installed" | grep -Fqx "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo env"
else
    echo "The plugin tests need some Debian packages; run this command, then try again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
    command -v xvfb-run >/dev/null || exit 1
    exit 0
fi

echo "Installing Debian packages for the plugin tests:$missing"
$as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
