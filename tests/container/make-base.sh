#!/usr/bin/env bash
# make-base.sh ROOTFS: a stand-in for a slim Debian image, copied from the running Debian. No network, no registry.
# It holds Debian's required packages and the libraries that CPython links to.
set -euo pipefail
root=$1
mkdir -p "$root"/usr/{bin,sbin,lib,lib32,lib64,libx32}
for name in bin sbin lib lib32 lib64 libx32; do ln -s "usr/$name" "$root/$name"; done  # merged /usr, as in Debian 12

python_libraries=(ca-certificates netbase tzdata libssl3 libffi8 libsqlite3-0 zlib1g libbz2-1.0 liblzma5
    libreadline8 libncursesw6 libuuid1 libexpat1 openssl gcc-12-base readline-common)
required() {
    dpkg-query -W -f '${binary:Package} ${Priority} ${Essential} ${db:Status-Status}\n' |
        awk '$4 == "installed" && ($2 == "required" || $3 == "yes") { print $1 }'
}
mapfile -t wanted < <({ required; printf '%s\n' "${python_libraries[@]}"; } | sort -u)

architecture=$(dpkg --print-architecture)
mapfile -t closure < <(
    apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "${wanted[@]}" | grep -E '^[a-z0-9]' | sed "s/:$architecture\$//" | grep -v : | sort -u
)
# dpkg-query fails for the virtual packages of that list; what it knows is printed all the same.
mapfile -t packages < <(
    { dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' "${closure[@]}" 2>/dev/null || true; } |
        awk '$2 == "installed" { print $1 }' |
        grep -vE '^(perl|perl-modules.*|libperl.*|libgdbm.*|libdb5.*|python3.*|libpython3.*)$'
)
[ "${#packages[@]}" -gt 40 ] || { echo "make-base.sh: only ${#packages[@]} Debian packages found" >&2; exit 1; }

# Files that a package owns but the machine has removed (manual pages, for instance) are not an error.
dpkg-query -L "${packages[@]}" | sort -u | grep -vE '^/usr/share/(doc|man|locale|info|lintian)/' |
    sed 's#^/##; /^\.$/d; /^$/d' |
    tar -C / --no-recursion --ignore-failed-read -cf - -T - 2>/dev/null |
    tar -C "$root" --keep-directory-symlink -xf -

mkdir -p "$root"/{proc,sys,dev,run,tmp,root,etc/ssl/certs,var/tmp,home}
chmod 1777 "$root/tmp" "$root/var/tmp"
cp /usr/share/base-passwd/passwd.master "$root/etc/passwd"
cp /usr/share/base-passwd/group.master "$root/etc/group"
install -m 640 /dev/null "$root/etc/shadow"
awk '/^[^#!]/ { print "/usr/share/ca-certificates/" $0 }' /etc/ca-certificates.conf |
    xargs -r cat 2>/dev/null > "$root/etc/ssl/certs/ca-certificates.crt" || true
chroot "$root" ldconfig
