# shellcheck shell=bash
# A root directory with another release of Debian, for ./check --debian. Sourced, not run.

# All mounts and processes are in namespaces of their own: they end with the command, however that ends.
apart() { unshare --mount --pid --fork --kill-child -- "$@"; }

# debian_name NUMBER: the name that debootstrap knows.
debian_name() {
  case $1 in
  13) echo trixie ;;
  *) return 1 ;;
  esac
}

# Where apt-get of this machine gets Debian from; nothing if it is another system.
debian_mirror() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sed -n '1s,/*$,,p'
}

# make_root NUMBER ROOT PACKAGES: PACKAGES are separated by spaces. debootstrap knows a mirror if apt-get doesn't.
make_root() {
  local mirror
  mirror=$(debian_mirror)
  apart debootstrap --variant=minbase --include="${3// /,}" "$(debian_name "$1")" "$2" ${mirror:+"$mirror"}
}

# in_root ROOT COMMAND... The root is a mount point there, so that tests may have mounts of their own.
in_root() {
  # shellcheck disable=SC2016
  apart sh -c 'mount --bind "$1" "$1" && mount -t proc proc "$1/proc" &&
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts" &&
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot "$@"' sh "$@"
}
