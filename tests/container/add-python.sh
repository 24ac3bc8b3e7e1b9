#!/usr/bin/env bash
# add-python.sh ROOTFS PREFIX X.Y: put the CPython of PREFIX at ROOTFS/usr/local, where the official images have it.
set -euo pipefail
root=$1 prefix=$2 version=$3
mkdir -p "$root"/usr/local/{bin,lib}
cp -a "$prefix/bin/python$version" "$root/usr/local/bin/"
ln -sf "python$version" "$root/usr/local/bin/python3"
ln -sf python3 "$root/usr/local/bin/python"
for library in "$prefix"/lib/libpython"$version"*.so*; do
    [ -e "$library" ] && cp -a "$library" "$root/usr/local/lib/"
done
tar -C "$prefix/lib" --exclude=__pycache__ --exclude=test --exclude=tests --exclude=idlelib --exclude=turtledemo \
    --exclude='config-*' --exclude=site-packages -cf - "python$version" | tar -C "$root/usr/local/lib" -xf -
mkdir -p "$root/usr/local/lib/python$version/site-packages"
chown -R 0:0 "$root/usr/local"
chroot "$root" ldconfig
# ensurepip is in the standard library: pip without a network. Its warning about root is for people, not for images.
said=$(chroot "$root" /usr/local/bin/python -m ensurepip --upgrade 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
ln -sf pip3 "$root/usr/local/bin/pip"
