#!/bin/sh
# slim.sh FOLDER: takes out of a Debian what no container reads, and what differs in every build of it.
set -eu
root=$1
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'EOF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
EOF
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -type l ! -name copyright -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* "$root"/usr/share/lintian \
  "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/cache/ldconfig/* \
  "$root"/var/lib/dpkg/*-old "$root"/var/log/* "$root"/run/* "$root"/tmp/* "$root"/debootstrap
find "$root" -name __pycache__ -type d -prune -exec rm -rf {} +
rm -rf "$root"/dev/* "$root"/etc/hostname "$root"/etc/resolv.conf
: >"$root/etc/machine-id"
