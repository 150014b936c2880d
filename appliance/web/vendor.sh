#!/bin/sh
# Installs the pages' three libraries with npm and leaves them, gzipped, in vendor/ beside this file.
# usage: vendor.sh [BUILD_FOLDER]     (default: build/web in the repository)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build/web}

command -v npm >/dev/null || {
    echo "vendor.sh: npm is missing; on Debian: sudo apt-get install npm" >&2
    exit 69
}

mkdir -p "$build"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$build/"
(cd "$build" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error) || {
    echo "vendor.sh: npm could not install hls.js, mpegts.js and uqr; is there a network?" >&2
    exit 69
}

# A library and its licence; the line that names a source map we do not ship goes.
take() { # FILE LICENCE NAME
    sed '/^\/\/# sourceMappingURL=/d' "$build/node_modules/$1" | gzip -9 -n >"$new/$3.mjs.gz"
    cp "$build/node_modules/$2" "$new/$3.LICENSE"
}

# The same of one that was made for pages without modules, with the licences of what it contains.
take_old() { # FILE LICENCES NAME
    {
        echo 'const module = { exports: {} }, exports = module.exports;'
        sed '/^\/\/# sourceMappingURL=/d' "$build/node_modules/$1"
        echo 'export default module.exports;'
    } | gzip -9 -n >"$new/$3.mjs.gz"
    (cd "$build/node_modules" && cat $2) >"$new/$3.LICENSE"
}

new=$(mktemp -d "$build/vendor.XXXXXX")
take hls.js/dist/hls.light.min.mjs hls.js/LICENSE hls
take_old mpegts.js/dist/mpegts.js "mpegts.js/LICENSE es6-promise/LICENSE events/LICENSE" mpegts
take uqr/dist/index.mjs uqr/LICENSE uqr
chmod 755 "$new"
chmod 644 "$new"/*
rm -rf "$here/vendor"
mv "$new" "$here/vendor"
