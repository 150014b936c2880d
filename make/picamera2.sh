#!/bin/sh
# picamera2.sh PYTHON FOLDER: the source of the real picamera2, unpacked in FOLDER, where the
# contract test reads it. It is neither installed nor imported: that needs a Pi's libcamera.
set -eu

python=$1 folder=$2
pin=$(dirname "$0")/picamera2.txt
! cmp -s "$pin" "$folder/pin.txt" || exit 0

rm -rf "$folder" "$folder.new"
mkdir -p "$folder.new"
"$python" -m pip download --no-input --retries 2 --progress-bar off --quiet \
    --no-deps --no-binary picamera2 --require-hashes --requirement "$pin" --dest "$folder.new"
tar -xzf "$folder.new"/picamera2-*.tar.gz -C "$folder.new" --strip-components 1 --no-same-owner
cp "$pin" "$folder.new/pin.txt"
mv "$folder.new" "$folder"
