# shellcheck shell=bash
# What ./check and ./demo have in common: packages and a private build. Sourced, not run.

# Name and reason of each Debian package that a build needs.
# shellcheck disable=SC2034
build_packages='gcc:C compiler
libc6-dev:C library headers
make:runs the build
autoconf:makes configure
automake:makes Makefile.in
libtool:links the plugin
liblmdb-dev:LMDB itself
libxxhash-dev:checksums of mail bodies
liblz4-dev:compression of mail bodies
dovecot-dev:headers of Dovecot
dovecot-core:the server that loads the plugin
dovecot-imapd:IMAP
dovecot-pop3d:POP3
dovecot-lmtpd:LMTP
python3:client side of the test and the demonstration'

# read_sum [LOG]: the numbers of its last line, if that is "N passed, N failed".
read_sum() { sed -n '$s/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$@"; }

# A program's output without that line, for whoever prints the sum of several.
without_sum() { sed -u '${/^[0-9]* passed, [0-9]* failed$/d}'; }

# install_packages LIST: installs what is missing of the "name:reason" lines, and says so first.
install_packages() {
  local missing=() name reason sudo=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "No apt-get here: I take it that the needed packages (README, Requirements) are installed."
    return 0
  fi
  while IFS=: read -r name reason; do
    if [ -z "$name" ] || [[ " ${missing[*]-} " == *" $name "* ]]; then continue; fi
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" != installed ]; then
      [ ${#missing[@]} -gt 0 ] || echo "These packages are missing and will be installed with apt-get:"
      printf '  %-18s %s\n' "$name" "$reason"
      missing+=("$name")
    fi
  done <<< "$1"
  [ ${#missing[@]} -gt 0 ] || return 0
  case " ${missing[*]} " in
  *' dovecot-core '*)
    echo "Debian may start its Dovecot after the installation. That one isn't used here; to stop it: systemctl disable --now dovecot"
    ;;
  esac
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "Installing needs root. As root: apt-get install ${missing[*]}" >&2
      return 1
    fi
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -q && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# copy_source FROM TO: the source without anything built, so that a build writes nothing into FROM.
copy_source() {
  mkdir -p "$2"
  tar -C "$1" -cf - \
    --exclude=./.git --exclude=./demo-data --exclude='./build' --exclude='./build-[!a]*' \
    --exclude='*.o' --exclude='*.lo' --exclude='*.la' --exclude='.libs' --exclude='.deps' \
    --exclude='__pycache__' --exclude=./autom4te.cache --exclude=./aclocal.m4 --exclude=./configure \
    --exclude=./config.status --exclude=./config.log --exclude=./libtool --exclude='Makefile' \
    --exclude='Makefile.in' --exclude='./dovecot-lmdb-*.tar.*' --exclude=./dummy-config.h --exclude=./lmdb-config.h \
    --exclude='./stamp-h*' --exclude='*.log' --exclude='*.trs' . | tar -C "$2" -xf -
}

# configure_in SOURCE BUILD [OPTION]...: an out-of-tree configure.
configure_in() {
  local source=$1 build=$2
  shift 2
  mkdir -p "$build" && cd "$build" && "$source/configure" -q "$@"
}

# make_configure SOURCE. What dovecot.m4 of Dovecot 2.3 says about obsolete macros is left out.
make_configure() {
  (cd "$1" && WARNINGS=no-obsolete autoreconf -fi)
}
